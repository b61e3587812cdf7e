"""Where a result comes from."""

import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_lightning import __version__
from nas_lightning.app.configs import INSTALLED

if TYPE_CHECKING:
    import torch


def provenance(device: "torch.device | None" = None, num_devices: int = 1) -> dict[str, Any]:
    """What a reader needs to judge or repeat a result: versions, devices, threads, peak memory, wheel or checkout, commit.

    `finished` is now, in UTC.

    The peak is that of the GPU in this run, None for several, which other processes used; or on a CPU that of the process
    so far, earlier jobs of a sweep included, or the largest of those that it started.

    device: None where PyTorch has computed nothing, and had no threads.
    """
    name, threads = _cpu_name(), None
    peak: int | None = 1024 * max(
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    if device is not None:
        import torch  # not for a look-up

        threads = torch.get_num_threads()
        if device.type == "cuda":
            name = torch.cuda.get_device_name()
            peak = torch.cuda.max_memory_allocated() if num_devices == 1 else None
    packages = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy")
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            "nas-lightning": __version__,
            **{name: version(name) for name in packages},
        },
        "device": name,
        "devices": num_devices,
        "threads": threads,
        "peak_memory_mb": None if peak is None else round(peak / 2**20, 1),
        "command": sys.argv,
        "source": "wheel" if INSTALLED else "checkout",
        **_commit(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> dict[str, Any]:
    """The commit of the checkout this package runs from; null where there is none."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        git("ls-files", "--error-unmatch", __file__)  # else the checkout around an installed package would answer
        return {"commit": git("rev-parse", "HEAD").strip(), "dirty": bool(git("status", "--porcelain", "-uno").strip())}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
