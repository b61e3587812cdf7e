"""What a bilevel step of each method costs, against one of DARTS: every yaml of conf/method in both spaces.

A step is both half steps as a search runs them, what is drawn for them included, without the optimisers, halfway through the
run at the schedule's first temperature: all candidates are computed, but where a method draws. So it says nothing of what a
search saves as it sharpens, nor of decisions and measurements between epochs.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas_lightning.app.axes import build_epoch_axes, build_module
from nas_lightning.errors import UserError
from nas_lightning.optimizers.lookahead import SgdLookahead
from nas_lightning.supernet.skipping import step_bound
from speed.half_steps import Size
from speed.loop import CONF, composed
from speed.memory import profile_step
from speed.statistics import interleaved, ratios, spread

BASE = "darts"
METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
_CLASSES = 10


class MethodStep:
    """`step()` is one bilevel step of the method in the space at this size."""

    def __init__(self, method: str, space: str, size: Size) -> None:
        cells = "space.N" if space == "nb201" else "space.num_cells"
        with tempfile.TemporaryDirectory() as scratch:
            config = composed(
                Path(scratch) / "run", f"method={method}", f"space={space}", "dataset=fake", "benchmark=none",
                f"space.C={size.channels}", f"{cells}={size.cells}", "trainer.accelerator=cpu",
            )  # fmt: skip
        torch.manual_seed(config.seed)
        self._module = module = build_module(config, _CLASSES)
        (self._weights, alpha), _ = module.configure_optimizers()
        module.architecture.set_progress(0.5)
        module.architecture.set_temperature(build_epoch_axes(config)["sched"].initial().temperature)
        module.halves.skipping.restart(step_bound(alpha))
        self._generator = torch.Generator().manual_seed(config.seed)
        self._batches = {
            part: (torch.randn(size.batch, 3, size.side, size.side), torch.randint(_CLASSES, (size.batch,)))
            for part in ("train", "valid")
        }

    def step(self) -> None:
        halves, bilevel = self._module.halves, self._module.bilevel
        halves.weight_gradients(self._batches["train"], self._drawn(for_weights=True))
        if bilevel.batches:  # else alpha is not trained
            batches = {part: self._batches[part] for part in bilevel.batches}
            drawn = self._drawn(for_weights=False)
            bilevel.alpha_gradients(halves, batches, drawn, SgdLookahead(lambda: self._weights))
        self._module.supernet.zero_grad()  # so that the next step's peak does not begin with what this one has left

    def _drawn(self, for_weights: bool) -> dict[str, Tensor]:
        halves, images = self._module.halves, len(self._batches["train"][0])
        return halves.draw(self._generator, for_weights) | halves.draw_drop_path(self._generator, images)


def costs(space: str, size: Size, rounds: int, methods: Sequence[str] = METHODS) -> dict[str, Any]:
    """Method -> its step's seconds and MB, and both over DARTS'; what a space refuses has the sentence that says so.

    Each method takes turns with DARTS (A B A B); the row of DARTS is that of DARTS against itself.
    """
    base = MethodStep(BASE, space, size).step
    return {"size": asdict(size), "methods": {name: _costs(name, space, size, rounds, base) for name in methods}}


def _costs(method: str, space: str, size: Size, rounds: int, base: Callable[[], None]) -> dict[str, Any]:
    try:
        step = MethodStep(method, space, size).step
    except UserError as error:
        return {"refused": str(error)}
    times = interleaved({"method": step, BASE: base}, rounds)
    allocated, its = (profile_step(each).allocated_mb for each in (step, base))
    return {
        "seconds": spread(times.wall["method"]),
        "processor_seconds": spread(times.processor["method"]),
        "ratio": ratios(times.wall["method"], times.wall[BASE]),
        "processor_ratio": ratios(times.processor["method"], times.processor[BASE]),
        "allocated_mb": allocated,
        "memory_ratio": allocated / its,
    }


LIMITS: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "gdas": (0.45, ("nb201",)),
    "darts_v2": (3.5, ("nb201", "darts")),
    "sdarts_rs": (1.1, ("nb201", "darts")),
    **dict.fromkeys(("gaea", "beta_darts", "darts_minus", "fair_darts"), (1.05, ("nb201", "darts"))),
}
"""Method -> the most that its step may take of DARTS', and where."""
