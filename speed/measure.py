"""All of `make bench`, part by part, at full size, quickly, or tiny for the tests."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from speed import data, loop, methods
from speed.half_steps import ARCHITECTURE, PRECISIONS, SIDES, WEIGHT_STEPS, MeasuredSteps, Size
from speed.memory import profile_step, resident
from speed.record import Record, heading, load_average, read, write
from speed.statistics import Times, exponent, interleaved, ratios, spread


@dataclass(frozen=True)
class Scale:
    """How much is measured; `size` of NAS-Bench-201. `growth`: what is varied -> its values, about the size `growth_from`."""

    name: str
    size: Size
    darts: Size
    rounds: int
    growth_from: Size
    growth: Mapping[str, tuple[int, ...]]
    growth_rounds: int
    overhead: tuple[tuple[Size, int, int], ...]  # size, batches an epoch, epochs
    drift_epochs: int
    sharpening_epochs: int
    sharpening: tuple[str, ...]
    images: int
    methods: tuple[str, ...] = tuple(methods.METHODS)
    subprocesses: bool = True


_GROWTH = {"channels": (8, 16, 32), "cells": (1, 3, 5), "batch": (16, 64, 128)}
FULL = Scale(
    "full", Size(), Size(cells=8, batch=16), 4, Size(cells=1), _GROWTH, 2,
    ((Size(), 3, 4), (Size(8, 1, 32, 16), 24, 6)), 505, 12, ("space.C=16",), 10_000,
)  # fmt: skip
QUICK = Scale(
    "quick", Size(8, 1, 16), Size(8, 3, 8, 16), 3, Size(8, 1, 16), {"channels": (4, 8), "cells": (1, 2), "batch": (8, 16)}, 1,
    ((Size(8, 1, 16, 16), 4, 3),), 40, 6, ("space.C=4", "data.train_images=128"), 2000,
)  # fmt: skip
TINY = Scale(
    "tiny", Size(4, 1, 4, 8), Size(8, 3, 4, 8), 1, Size(4, 1, 4, 8), {"channels": (4, 8), "cells": (1, 2), "batch": (2, 4)}, 1,
    ((Size(4, 1, 4, 8), 1, 1),), 12, 4, ("space.C=4", "dataset.image_size=8", "data.train_images=32"), 200,
    ("darts", "gdas", "fair_darts"), False,
)  # fmt: skip


def compare(space: str, size: Size, precisions: Iterable[str], scale: Scale) -> dict[str, Any]:
    """precision -> half step -> seconds, ratio, memory and calls of both sides; and the bilevel steps they add up to."""
    rows = {precision: _compare(space, size, precision, scale.rounds, scale.subprocesses) for precision in precisions}
    return {"size": asdict(size), **rows}


def _compare(space: str, size: Size, precision: str, rounds: int, in_processes: bool) -> dict[str, Any]:
    steps = MeasuredSteps(space, size, precision).run
    names = list(steps["ours"])
    times = interleaved({f"{side}/{name}": steps[side][name] for name in names for side in SIDES}, rounds)
    rises = {side: resident(space, size, precision, side) if in_processes else {} for side in SIDES}
    rows: dict[str, Any] = {}
    for name in names:
        rows[name] = _row(times, *([f"{side}/{name}"] for side in SIDES))
        for side in SIDES:
            allocated, calls = profile_step(steps[side][name])
            rows[name][side] |= {"allocated_mb": allocated, "resident_mb": rises[side].get(name), "calls": calls}
    for name, kind in WEIGHT_STEPS.items():
        halves = ([f"{side}/{name}", f"{side}/{ARCHITECTURE}"] for side in SIDES)
        rows[f"bilevel step, {kind}"] = _row(times, *halves)
    return rows


def _row(times: Times, ours: list[str], theirs: list[str]) -> dict[str, Any]:
    """Of the steps `ours` added up against `theirs`: seconds and ratio, on the wall and of the processors."""
    row: dict[str, Any] = {"ours": {}, "reference": {}}
    for prefix, each in (("", times.wall), ("processor_", times.processor)):
        fast, slow = ([sum(parts) for parts in zip(*(each[n] for n in names), strict=True)] for names in (ours, theirs))
        row["ours"][f"{prefix}seconds"], row["reference"][f"{prefix}seconds"] = spread(fast), spread(slow)
        row[f"{prefix}ratio"] = ratios(slow, fast)
    return row


def growth(space: str, scale: Scale) -> dict[str, Any]:
    """Bilevel step (dense beta, float32) over each of C, N and batch: seconds, MB, ratio, and exponents fitted to them."""
    axes: dict[str, Any] = {}
    for axis, values in scale.growth.items():
        points = [_point(space, replace(scale.growth_from, **{axis: value}), scale.growth_rounds) for value in values]
        axes[axis] = {
            "values": list(values),
            "points": points,
            "exponent_seconds": exponent(values, [point["ours"]["processor_seconds"]["median"] for point in points]),
            "exponent_memory": exponent(values, [point["allocated_mb"] for point in points]),
        }
    return {"from": asdict(scale.growth_from), "axes": axes}


def _point(space: str, size: Size, rounds: int) -> dict[str, Any]:
    steps = MeasuredSteps(space, size, "float32").run
    dense = next(iter(WEIGHT_STEPS))

    def bilevel(side: str) -> None:
        steps[side][dense]()
        steps[side][ARCHITECTURE]()

    times = interleaved({side: lambda side=side: bilevel(side) for side in SIDES}, rounds)  # type: ignore[misc]
    peak = max(profile_step(steps["ours"][name]).allocated_mb for name in (dense, ARCHITECTURE))
    return _row(times, ["ours"], ["reference"]) | {"allocated_mb": peak}


def bfloat16_gain(size: Size, rounds: int) -> dict[str, Any]:
    """Our bilevel step in float32 and under bf16 autocast, interleaved."""
    sides = {precision: MeasuredSteps("nb201", size, precision).run["ours"] for precision in PRECISIONS}
    dense = next(iter(WEIGHT_STEPS))
    steps = {f"{p}/{name}": sides[p][name] for name in (dense, ARCHITECTURE) for p in PRECISIONS}
    times = interleaved(steps, rounds)
    wide, narrow = ([f"{p}/{dense}", f"{p}/{ARCHITECTURE}"] for p in PRECISIONS)
    row = _row(times, narrow, wide)
    return {"float32": row.pop("reference"), "bfloat16": row.pop("ours"), **row}


def parts(scale: Scale) -> dict[str, Callable[[], Any]]:
    """Name in the record -> what measures it."""
    return {
        "half_steps": lambda: {
            "nb201": compare("nb201", scale.size, PRECISIONS, scale),
            **{space: compare(space, scale.darts, ["float32"], scale) for space in ("darts", "pc_darts")},
        },
        "bfloat16": lambda: bfloat16_gain(scale.size, scale.rounds),
        "validation": lambda: loop.validation_share(scale.size, scale.rounds),
        "overhead": lambda: [
            loop.lightning_overhead(size, batches, epochs, "trainer.accelerator=cpu")
            for size, batches, epochs in scale.overhead
        ],
        "growth": lambda: {"nb201": growth("nb201", scale)},
        "sharpening": lambda: loop.sharpening(scale.sharpening_epochs, "trainer.accelerator=cpu", *scale.sharpening),
        "data": lambda: data.measure(images=scale.images, workers=2, passes=2, large_images=scale.images // 40),
        "methods": lambda: {
            space: methods.costs(space, size, scale.rounds, scale.methods)
            for space, size in (("nb201", scale.size), ("darts", scale.darts))
        },
        "drift": lambda: loop.drift(scale.drift_epochs, max(2, scale.drift_epochs // 10)),
    }  # fmt: skip


def run(
    scale: Scale, only: list[str] | None = None, say: Callable[[str], None] = print, out: Path | None = None
) -> Record:
    """Measure; each part's seconds and the machine's load beside it. What is measured so far is written after each part.

    Parts chosen by `only` are put into the record in `out` where there is one, and where they come from into its `later`.
    """
    now = heading(torch.device("cpu")) | {"scale": scale.name}
    kept = read(out) if only and out is not None and out.exists() else None
    if kept is not None and any(kept[key] != now[key] for key in ("hardware", "scale")):
        raise SystemExit(f"{out} is of {kept['hardware']} at scale {kept['scale']}; give another --out.")
    record: Record = {**now, "seconds": {}} if kept is None else kept
    for name, measure in parts(scale).items():
        if only and name not in only:
            continue
        start = time.perf_counter()
        record[name] = measure()
        record["seconds"][name] = time.perf_counter() - start
        ends = {"load_at_end": load_average()}
        if kept is None:
            record |= ends
        else:
            record.setdefault("later", {})[name] = now | ends
        if out is not None:
            write(record, out)
        say(f"{name}: {record['seconds'][name]:.0f} s, load {load_average()[0]}")
    return record
