"""speed/results/<hardware>.json: one record of everything measured on one machine, and where it came from."""

import datetime
import json
import os
import re
from pathlib import Path
from typing import Any

import torch

from nas_lightning.app.provenance import provenance
from nas_lightning.records.files import write_text_atomically

RESULTS = Path(__file__).parent / "results"
PUBLISHED = RESULTS / "published.json"
Record = dict[str, Any]


def hardware_slug(device_name: str, cores: int | None) -> str:
    """A file name: "AMD EPYC" with 2 cores is amd-epyc-2-cores; a GPU is known by its name alone.

    >>> hardware_slug("AMD EPYC", 2), hardware_slug("NVIDIA H100 80GB HBM3", None)
    ('amd-epyc-2-cores', 'nvidia-h100-80gb-hbm3')
    """
    name = device_name if cores is None else f"{device_name} {cores} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def load_average() -> list[float]:
    """Processes that wanted to run in the last 1, 5 and 15 minutes; this one's threads count too."""
    return [round(load, 2) for load in os.getloadavg()]


def heading(device: torch.device) -> Record:
    """Machine, versions, commit and the time of the start."""
    origin = provenance(device)
    cores = None if device.type == "cuda" else os.cpu_count()
    return {
        "schema": 1,
        "hardware": hardware_slug(origin["device"], cores),
        "device": origin["device"],
        "cores": os.cpu_count(),
        "threads": origin["threads"],
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "versions": origin["versions"],
        "commit": origin["commit"],
        "dirty": origin["dirty"],
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "load_at_start": load_average(),
    }


def write(record: Record, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, json.dumps(_rounded(record), indent=1) + "\n")


def read(path: Path) -> Record:
    record: Record = json.loads(path.read_text())
    return record


def _rounded(value: Any) -> Any:
    """Five digits: more would be noise."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
