"""A record as tables: on the terminal with rich, in docs/performance.md as Markdown. The same rows in both."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from speed.half_steps import ARCHITECTURE, PRECISIONS, WEIGHT_STEPS
from speed.methods import LIMITS
from speed.record import Record

DENSE, HALF, ONE_HOT = WEIGHT_STEPS


@dataclass(frozen=True)
class Table:
    """name: its marker in the document."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def markdown(self) -> str:
        lines = [self.columns, ("---", *["---:"] * (len(self.columns) - 1)), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def show(self, console: Console) -> None:
        table = RichTable(title=self.title, title_justify="left")
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="right" if index else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, plain: 0.0123, 4.56, 78.9, 1,230."""
    if value is None:
        return "-"
    if abs(value) >= 10**digits:
        return f"{float(f'{value:.{digits}g}'):,.0f}"
    text = f"{value:#.{digits}g}"
    return f"{value:.2g}" if "e" in text else text.rstrip(".")


def between(spread: dict[str, float], scale: float = 1.0) -> str:
    """Median (quartiles)."""
    median, q1, q3 = (number(spread[key] * scale) for key in ("median", "q1", "q3"))
    return f"{median} ({q1} - {q3})"


def _half_steps(record: Record) -> Iterable[Table]:
    for space, measured in record["half_steps"].items():
        for precision in _precisions(measured):
            rows = [
                (
                    name, between(row["ours"]["processor_seconds"]), between(row["reference"]["processor_seconds"]),
                    between(row["processor_ratio"]), between(row["ratio"]),
                )
                for name, row in measured[precision].items()
            ]  # fmt: skip
            size = measured["size"]
            title = (
                f"{space}, C={size['channels']}, N={size['cells']}, batch {size['batch']}, {precision}: "
                "processor seconds, median (quartiles)"
            )
            columns = ("", "ours", "per edge", "per edge / ours", "the same, on the wall")
            yield Table(f"{space}-{precision}", title, columns, rows)
        yield _memory(space, measured)


def _precisions(measured: dict[str, Any]) -> list[str]:
    return [precision for precision in PRECISIONS if precision in measured]


def _memory(space: str, measured: dict[str, Any]) -> Table:
    rows = []
    for precision in _precisions(measured):
        for name in (*WEIGHT_STEPS, ARCHITECTURE):
            ours, theirs = (measured[precision][name][side] for side in ("ours", "reference"))
            calls = [" / ".join(str(count) for count in side["calls"].values()) for side in (ours, theirs)]
            cells = [number(side[key]) for key in ("allocated_mb", "resident_mb") for side in (ours, theirs)]
            rows.append((f"{name}, {precision}", *cells, *calls))
    columns = (
        "", "tensors, ours", "per edge", "resident, ours", "per edge", "conv / backward / BN / backward, ours", "per edge"
    )  # fmt: skip
    return Table(f"{space}-memory", f"{space}: peak MB of a half step, and its calls", columns, rows)


def _growth(record: Record) -> Iterable[Table]:
    for space, measured in record["growth"].items():
        rows = []
        for axis, curve in measured["axes"].items():
            for value, point in zip(curve["values"], curve["points"], strict=True):
                label = {"channels": "C", "cells": "N", "batch": "batch"}[axis]
                seconds, memory = number(point["ours"]["processor_seconds"]["median"]), number(point["allocated_mb"])
                rows.append((f"{label}={value}", seconds, memory, between(point["processor_ratio"])))
            exponents = [f"{curve[f'exponent_{kind}']:.2f}" for kind in ("seconds", "memory")]
            rows.append((f"*exponent over {label}*", *exponents, ""))
        base = measured["from"]
        title = f"{space}: bilevel step, dense, float32, about C={base['channels']}, N={base['cells']}, batch {base['batch']}"
        yield Table(f"{space}-growth", title, ("", "processor s", "MB", "per edge / ours"), rows)


def _bfloat16(record: Record) -> Iterable[Table]:
    row = record["bfloat16"]
    rows = [
        (clock, *(between(row[p][f"{prefix}seconds"]) for p in ("float32", "bfloat16")), between(row[f"{prefix}ratio"]))
        for clock, prefix in (("processor s", "processor_"), ("wall s", ""))
    ]
    yield Table("bfloat16", "Our bilevel step, dense", ("", "float32", "bf16", "float32 / bf16"), rows)


def _overhead(record: Record) -> Iterable[Table]:
    rows = [
        (
            f"C={row['channels']}, N={row['cells']}, batch {row['batch']}, {row['batches']} batches an epoch",
            between(row["trainer_s"]), between(row["bare_s"]), between(row["share"], 100),
            between(row["processor_share"], 100), number(row["epoch_ms"]),
        )
        for row in record["overhead"]
    ]  # fmt: skip
    columns = ("whole epochs", "Lightning s", "bare loop s", "overhead %", "of processor time %", "ms an epoch")
    yield Table("overhead", "Lightning, callbacks, loggers, checkpoints over the bare loop", columns, rows)


def _validation(record: Record) -> Iterable[Table]:
    validation = record["validation"]
    rows = [
        ("all of beta computed", between(validation["share_dense"], 100)),
        ("one-hot beta", between(validation["share_one_hot"], 100)),
    ]
    title = f"The discretised validation ({validation['images']:,} images after {validation['of']:,})"
    yield Table("validation", title, ("", "% of the epoch"), rows)


def _drift(record: Record) -> Iterable[Table]:
    drift = record["drift"]
    names = {
        "step_ms": "step, wall ms", "step_cpu_ms": "step, processor ms", "epoch_cpu_ms": "epoch, processor ms",
        "resident_mb": "resident MB",
    }  # fmt: skip
    rows = [(label, *(number(drift[key][end]) for end in ("first", "last"))) for key, label in names.items()]
    title = f"A tiny search over {drift['epochs']} epochs (medians over {drift['window']}, one thread)"
    yield Table("drift", title, ("", "from epoch 5", f"to epoch {drift['epochs']}"), rows)


def _sharpening(record: Record) -> Iterable[Table]:
    sharpening = record["sharpening"]
    rows = [
        (label, *(number(sharpening[end][key]) for end in ("start", "end")))
        for key, label in (
            ("operations_computed", "operations computed"),
            ("seconds", "seconds an epoch"),
            ("entropy", "nats"),
        )
    ]
    title = f"An EDD search on digits as it sharpens (C={sharpening['channels']}, N={sharpening['cells']})"
    yield Table("sharpening", title, ("", f"first {sharpening['dense_epochs']} epochs", "last quarter"), rows)


def _data(record: Record) -> Iterable[Table]:
    rows = [(name.replace("_", " "), number(value)) for name, value in record["data"].items()]
    yield Table("data", "Data path and table", ("", "value"), rows)


def _methods(record: Record) -> Iterable[Table]:
    for space, measured in record["methods"].items():
        size = measured["size"]
        rows = [
            (f"`{name}`", *(("refused", "-", "-", "-") if "refused" in row else _cost(row)))
            for name, row in measured["methods"].items()
        ]
        title = (
            f"{space}, C={size['channels']}, N={size['cells']}, batch {size['batch']}: a bilevel step against DARTS'"
        )
        columns = ("", "processor time / darts", "the same, on the wall", "peak MB", "peak / darts")
        yield Table(f"methods-{space}", title, columns, rows)


def _cost(row: Record) -> tuple[str, ...]:
    times = between(row["processor_ratio"]), between(row["ratio"])
    return *times, number(row["allocated_mb"]), number(row["memory_ratio"])


def method_costs(record: Record) -> dict[str, str]:
    """cost-<method> -> the table of its card; none where the record has no methods."""
    spaces = record.get("methods", {})
    contents = {}
    for method in sorted({name for measured in spaces.values() for name in measured["methods"]}):
        rows = []
        for space, measured in spaces.items():
            row = measured["methods"].get(method, {"refused": ""})
            time, _, _, memory = ("-",) * 4 if "refused" in row else _cost(row)
            rows.append((space, time, memory))
        columns = ("a bilevel step", "processor time / darts", "peak memory / darts")
        contents[f"cost-{method}"] = Table(method, method, columns, rows).markdown()
    return contents


def published(record: Record) -> Iterable[Table]:
    for space, measured in record["spaces"].items():
        rows = []
        for name, row in measured["results"].items():
            step, ratio = row["step_s"], row["ratio_to_ours"]
            rows.append(
                (
                    name, f"{number(step['median'])} ({number(step['low'])} - {number(step['high'])})",
                    number(row["peak_mb"]), number(ratio["median"]), number(row["memory_ratio_to_ours"]),
                )
            )  # fmt: skip
        title = f"{space}: published programs, C={measured['channels']}, {measured['cells']} cells, batch {measured['batch']}"
        columns = ("", "bilevel step s", "peak MB", "time / ours", "memory / ours")
        yield Table(f"published-{space}", title, columns, rows)


def _goal(text: str, goal: str, value: float, is_met: bool, unit: str = "") -> tuple[str, ...]:
    return text, goal, number(value) + unit, "met" if is_met else "**not met**"


def _step_goals(others: Record) -> Iterable[tuple[str, ...]]:
    for space, wanted in (
        ("nb201", {"D-X-Y/AutoDL-Projects": 3.0, "xiangning-chen/DrNAS": 2.5, "automl/confopt": 2.5}),
        ("darts", {"quark0/darts": 4.0, "xiangning-chen/DrNAS": 3.5, "automl/confopt": 3.5}),
    ):
        results = others["spaces"][space]["results"]
        for name, factor in wanted.items():
            ratio = results[name]["ratio_to_ours"]["median"]
            yield _goal(f"{space} step, time of {name} / ours", f">= {factor}", ratio, ratio >= factor)
        if space == "nb201":
            memory = min(results[name]["memory_ratio_to_ours"] for name in wanted)
            yield _goal("nb201 step, peak of the leanest of them / ours", ">= 2", memory, memory >= 2)


def _growth_goals(record: Record) -> Iterable[tuple[str, ...]]:
    for axis, most in (("cells", 1), ("batch", 1), ("channels", 2)):
        for kind in ("seconds", "memory"):
            power = record["growth"]["nb201"]["axes"][axis][f"exponent_{kind}"]
            yield _goal(f"growth of {kind} with {axis}, exponent", f"<= {most} (+ 0.1)", power, power <= most + 0.1)


def _sparse_goal(record: Record) -> Iterable[tuple[str, ...]]:
    exact = record["half_steps"]["nb201"]["float32"]
    dense, late = (exact[name]["ours"]["processor_seconds"]["median"] for name in (DENSE, ONE_HOT))
    yield _goal("weight step, dense / one-hot beta", ">= 1.5", dense / late, dense / late >= 1.5)


def _overhead_goal(record: Record) -> Iterable[tuple[str, ...]]:
    share = record["overhead"][0]["processor_share"]["median"] * 100
    yield _goal("Lightning, callbacks, logging over the bare loop", "<= 3 %", share, share <= 3, " %")


def _validation_goals(record: Record) -> Iterable[tuple[str, ...]]:
    for key, text in (
        ("share_dense", "discretised validation in an epoch"),
        ("share_one_hot", "the same, late in EDD"),
    ):
        share = record["validation"][key]["median"] * 100
        yield _goal(text, "< 5 %", share, share < 5, " %")


def _drift_goal(record: Record) -> Iterable[tuple[str, ...]]:
    steps = record["drift"]["step_cpu_ms"]
    change = (steps["last"] / steps["first"] - 1) * 100
    text = f"step at epoch {record['drift']['epochs']} against epoch 5, processor time"
    yield _goal(text, "<= 0 % (+ 5)", change, change <= 5, " %")
    resident = record["drift"]["resident_mb"]
    growth = (resident["last"] / resident["first"] - 1) * 100
    text = f"resident memory at epoch {record['drift']['epochs']} against epoch 5, W&B offline"
    yield _goal(text, "< 2 %", growth, growth < 2, " %")


def _data_goal(record: Record) -> Iterable[tuple[str, ...]]:
    rate = record["data"]["search_loader_images_per_s"]
    yield _goal("CIFAR-10 loader in memory, images/s", ">= 20,000", rate, rate >= 20_000)


def _method_goals(record: Record) -> Iterable[tuple[str, ...]]:
    for method, (most, spaces) in LIMITS.items():
        for space in spaces:
            row = record["methods"][space]["methods"].get(method, {"refused": ""})
            if "refused" not in row:
                ratio = row["processor_ratio"]["median"]
                yield _goal(f"{space} step of `{method}` over `darts`", f"<= {most}", ratio, ratio <= most)


_GOALS: dict[str, Callable[[Record], Iterable[tuple[str, ...]]]] = {
    "half_steps": _sparse_goal, "overhead": _overhead_goal, "validation": _validation_goals, "growth": _growth_goals,
    "drift": _drift_goal, "data": _data_goal, "methods": _method_goals,
}  # fmt: skip


def goals(record: Record, others: Record) -> Table:
    """Every goal that a CPU can answer, with what was measured; a part that the record lacks is said to be open."""
    rows = list(_step_goals(others))
    for part, make in _GOALS.items():
        rows += list(make(record)) if part in record else [(f"goals of the part `{part}`", "", "", "not measured yet")]
    return Table("goals", "Goals", ("", "goal", "measured", ""), rows)


_PARTS: dict[str, Callable[[Record], Iterable[Table]]] = {
    "half_steps": _half_steps, "bfloat16": _bfloat16, "growth": _growth, "overhead": _overhead,
    "validation": _validation, "drift": _drift, "sharpening": _sharpening, "data": _data, "methods": _methods,
}  # fmt: skip


def tables(record: Record) -> list[Table]:
    """Of every part that the record holds."""
    return [table for part, make in _PARTS.items() if part in record for table in make(record)]


def origin(record: Record) -> str:
    """The sentence that says where a record's numbers come from."""
    loads = " to ".join(str(record[key][0]) for key in ("load_at_start", "load_at_end"))
    dirty = " with local changes" if record["dirty"] else ""
    return (
        f"{record['device']}, {record['cores']} cores, {record['threads']} threads, {record['capability']}, "
        f"torch {record['versions']['torch']}, Lightning {record['versions']['pytorch-lightning']}, "
        f"commit {(record['commit'] or 'unknown')[:10]}{dirty}, {record['date'][:10]}, load average {loads}."
    )


def fill(document: str, contents: dict[str, str]) -> str:
    """`document` with the text between each `<!-- begin NAME -->` and `<!-- end NAME -->` replaced by contents[NAME]."""

    def put(match: re.Match[str]) -> str:
        content = contents.get(match[1], "Not measured yet.")
        return f"<!-- begin {match[1]} -->\n{content}\n<!-- end {match[1]} -->"

    return re.sub(r"<!-- begin (\S+) -->\n.*?<!-- end \1 -->", put, document, flags=re.DOTALL)


def document_contents(record: Record, others: Record) -> dict[str, str]:
    made = [*tables(record), *published(others), goals(record, others)]
    contents = {table.name: table.markdown() for table in made} | {"origin": origin(record)} | method_costs(record)
    if "methods" in record:  # measured with the rest, or later
        contents["origin-methods"] = origin(record.get("later", {}).get("methods", record))
    return contents


def write_document(path: Path, contents: dict[str, str]) -> None:
    path.write_text(fill(path.read_text(), contents))
