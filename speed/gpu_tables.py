"""A GPU's record as tables: on the terminal, and in docs/performance.md as Markdown."""

import json
from pathlib import Path

from speed.record import RESULTS, Record, read
from speed.tables import Table, between, number

HALVES = ("weights", "alpha")


def newest(folder: Path = RESULTS) -> Record:
    """The latest record of a GPU; an empty one where there is none."""
    records = [read(path) for path in folder.glob("*.json") if path.stem not in ("published",)]
    return max((each for each in records if "gradients" in each), key=lambda each: str(each["date"]), default={})


def tables(record: Record) -> list[Table]:
    rows = [
        (f"{setting}, {mode}", *_cells(found))
        for part in ("half_steps", "compiled")
        for setting, modes in record.get(part, {}).items()
        if setting != "failed"
        for mode, found in modes.items()
    ]
    columns = ("", "weight step, ms", "architecture step, ms", "reserved MB", "launches of each")
    return [Table("gpu", "Half steps", columns, rows), Table("gpu-facts", "The rest", ("", ""), _facts(record))]


def _cells(found: Record) -> tuple[str, ...]:
    if "failed" in found:
        return found["failed"], "", "", ""
    seconds = [between(found[half]["seconds"], 1e3) for half in HALVES]
    launches = " / ".join(number(found[half]["launches"]) for half in HALVES)
    return *seconds, number(found["reserved_mb"]), launches


def _facts(record: Record) -> list[tuple[str, ...]]:
    facts = []
    for name, value in record.get("gradients", {}).items():
        words = f"{value['difference']:.2g} (two eager runs: {value['noise']:.2g})" if "noise" in value else str(value)
        facts.append((f"graphed gradient against the eager one, {name}", words))
    for mode, value in record.get("synchronisations", {}).items():
        words = ", ".join(value["places"]) or f"none in {value['batches']} batches" if "places" in value else str(value)
        facts.append((f"where the host waits for the GPU, {mode}", words))
    resumed = record.get("resumption", {})
    facts.append(("tensors that differ after resuming", str(resumed.get("tensors_that_differ", resumed) or "none")))
    for mode, value in record.get("overhead", {}).items():
        words = between(value["share"], 100) if mode != "failed" else str(value)
        facts.append((f"Lightning, callbacks, logging over the bare loop, {mode}, %", words))
    for name, value in record.items():
        if name.startswith("search,"):
            keys = ("failed", "epochs", "seconds", "peak_mb", "still_graphed", "captures", "architecture", "scores")
            facts.append((name, ", ".join(f"{key} {value[key]}" for key in keys if key in value)))
    for name in ("side_by_side", "searches"):
        facts += [(f"{name}, {key}", json.dumps(value)[:160]) for key, value in record.get(name, {}).items()]
    return facts


def sentence(record: Record) -> str:
    """Where a GPU's record comes from."""
    versions = record["versions"]
    return (
        f"1x {record['device']}, torch {versions['torch']}, Lightning {versions['pytorch-lightning']}, commit "
        f"{record['commit'][:10]}, {record['date'][:10]}. {record.get('note', '')}".strip()
    )


def contents(record: Record) -> dict[str, str]:
    """What a document's marked places are filled with; nothing where there is no record."""
    if not record:
        return {}
    return {table.name: table.markdown() for table in tables(record)} | {"gpu-origin": sentence(record)}
