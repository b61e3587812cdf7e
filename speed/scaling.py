"""What a second process brings on this machine: python -m speed.scaling measures and writes docs/scaling.md's tables.

Searches are run as a user runs them. An epoch's cost is the difference of a run with five epochs and one with one, over
four, so that the start of the processes drops out; seconds of the wall are those of metrics.csv, the quickest epoch.
"""

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from speed import record
from speed.tables import Table, number, write_document

ROOT = Path(__file__).parent.parent
RECORD = record.RESULTS / "scaling" / "cpu.json"
DOCUMENT = ROOT / "docs" / "scaling.md"
IMAGES = 256  # of each half
SEARCH = (
    "space=nb201", "space.C=16", "space.N=1", "dataset=fake", "dataset.train_images=512", f"data.train_images={IMAGES}",
    f"data.valid_images={IMAGES}", "data.discrete_images=4", "benchmark=none", "method=darts", "trainer.accelerator=cpu",
)  # fmt: skip
# name -> (threads of a process, overrides)
DEVICES = {
    "1 process, 1 thread": (1, ("data.batch_size=64",)),
    "1 process, 2 threads": (2, ("data.batch_size=64",)),
    "2 processes, 1 thread each": (1, ("data.batch_size=32", "trainer=ddp")),
}
SWEEPS = {"one after the other": (), "two at a time": ("hydra/launcher=joblib",)}


def run(threads: int, *arguments: str) -> tuple[float, float, list[float]]:
    """(seconds of the wall, processor seconds of all processes, the epochs' seconds) of one launch of train.py"""
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *arguments], cwd=place, stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        wall = time.perf_counter() - start
        epochs = []
        for file in Path(place).rglob("metrics.csv"):
            with file.open() as text:
                epochs += [float(row["seconds"]) for row in csv.DictReader(text)]
    return wall, usage.ru_utime + usage.ru_stime, epochs


def measure() -> record.Record:
    found: record.Record = {**record.heading(torch.device("cpu")), "devices": {}, "sweeps": {}}
    for name, (threads, overrides) in DEVICES.items():
        _, short, _ = run(threads, *SEARCH, *overrides, "trainer.max_epochs=1")
        _, whole, epochs = run(threads, *SEARCH, *overrides, "trainer.max_epochs=5")
        found["devices"][name] = {
            "start": short - (whole - short) / 4,
            "epoch": (whole - short) / 4,
            "wall": min(epochs),
        }
    for name, overrides in SWEEPS.items():
        jobs = (*SEARCH, "data.batch_size=64", "seed=0,1", "trainer.max_epochs=3")
        wall, processor, _ = run(1, "-m", *jobs, *overrides)
        found["sweeps"][name] = {"wall": wall, "processor": processor}
    return found | {"load_at_end": record.load_average()}


def contents(kept: record.Record) -> dict[str, str]:
    """What stands between the markers of docs/scaling.md."""
    devices = [
        (
            name,
            *(
                number(value)
                for value in (row["epoch"], 2 * IMAGES / row["epoch"], 2 * IMAGES / row["wall"], row["start"])
            ),
        )
        for name, row in kept["devices"].items()
    ]
    columns = (
        "",
        "processor s an epoch",
        "images a processor s",
        "images a second, quickest epoch",
        "processor s to start",
    )
    sweeps = [(name, number(row["wall"]), number(row["processor"])) for name, row in kept["sweeps"].items()]
    load = f"load average {kept['load_at_start'][0]} at the start and {kept['load_at_end'][0]} at the end"
    return {
        "scaling-devices": Table("", "", columns, devices).markdown(),
        "scaling-sweeps": Table("", "", ("2 searches", "wall s", "processor s"), sweeps).markdown(),
        "scaling-origin": f"{kept['device']}, {kept['cores']} cores, torch {kept['versions']['torch']}, "
        f"commit {kept['commit'][:10]}, {load}.",
    }


if __name__ == "__main__":
    record.write(measure(), RECORD)
    write_document(DOCUMENT, contents(record.read(RECORD)))
