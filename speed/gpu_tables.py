"""A GPU's record as tables: on the terminal, and in docs/performance.md as Markdown."""

import json
from pathlib import Path

from speed.record import RESULTS, Record, read
from speed.tables import Table, between, number

HALVES = ("weights", "alpha")


def newest(folder: Path = RESULTS) -> Record:
    """The latest record of an NVIDIA GPU; an empty one where there is none."""
    return max(map(read, folder.glob("nvidia-*.json")), key=lambda each: str(each["date"]), default={})


def tables(record: Record) -> list[Table]:
    rows = [
        (f"{setting}, {mode}", *_cells(found))
        for part in ("half_steps", "compiled")
        for setting, modes in _measured(record, part).items()
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


def _measured(record: Record, part: str) -> Record:
    """A part of the record; empty where it was not tried or failed as a whole."""
    found: Record = record.get(part, {})
    return {} if isinstance(found.get("failed"), str) else found


def _facts(record: Record) -> list[tuple[str, ...]]:
    parts = {name: value for name, value in record.items() if isinstance(value, dict)}
    facts = [(name, value["failed"]) for name, value in parts.items() if isinstance(value.get("failed"), str)]
    for name, value in _measured(record, "gradients").items():
        words = f"{value['difference']:.2g} (two eager runs: {value['noise']:.2g})"
        facts.append((f"graphed gradient against the eager one, {name}", words))
    for mode, value in _measured(record, "synchronisations").items():
        words = ", ".join(value["places"]) or f"none in {value['batches']} batches"
        facts.append((f"where the host waits for the GPU, {mode}", words))
    if resumed := _measured(record, "resumption"):
        facts.append(("tensors that differ after resuming", ", ".join(resumed["tensors_that_differ"]) or "none"))
    for mode, value in _measured(record, "overhead").items():
        facts.append((f"Lightning, callbacks, logging over the bare loop, {mode}, %", between(value["share"], 100)))
    for name, value in record.items():
        if name.startswith("search,") and "failed" not in value:
            keys = ("epochs", "seconds", "peak_mb", "still_graphed", "captures", "architecture", "scores")
            facts.append((name, ", ".join(f"{key} {value[key]}" for key in keys if key in value)))
    for name in ("side_by_side", "searches"):
        facts += [(f"{name}, {key}", json.dumps(value)[:160]) for key, value in _measured(record, name).items()]
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
