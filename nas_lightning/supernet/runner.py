"""How a half step is run: compiled, as a CUDA graph, or as it stands."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nas_lightning.bilevel.base import Batch
from nas_lightning.supernet.graphs import Outputs, StepGraphs, step_graphs, uncached
from nas_lightning.supernet.halves import HalfSteps

log = logging.getLogger("nas_lightning")

Gradients = Callable[[dict[str, Batch], dict[str, Tensor]], Outputs]
"""(the parts of a batch by name, what was drawn) -> a half step's outputs"""


class StepRunner:
    """Runs half steps with compiled cells or as graphs where asked for; eagerly from the first failure of either on.

    halves: whose steps run; all candidates are computed where cells are compiled, for each set would be compiled anew.
    """

    def __init__(self, halves: HalfSteps, graphs: bool, compiled: bool) -> None:
        self._halves = halves
        self._wants_graphs, self.compiled = graphs, compiled
        self.graphs: StepGraphs | None = None
        self._dense = halves.skipping.dense
        halves.skipping.dense |= compiled

    def start(self, device: torch.device) -> None:
        """Before the first step on `device`."""
        self.graphs = step_graphs(device, self._halves.supernet.buffers) if self._wants_graphs else None
        if self.compiled:
            log.info(
                "Compiling the cells (trainer.compile=true): on a processor that takes minutes before the first step."
            )
            torch._dynamo.config.cache_size_limit = (
                64  # every stage in both half steps; the default 8 leaves some eager
            )
            for cell in self._halves.supernet.cells():  # type: ignore[operator]
                cell.compile(dynamic=False)

    def run(self, half: str, gradients: Gradients, batches: Mapping[str, Batch], drawn: Mapping[str, Tensor]) -> Any:
        """gradients(batches, drawn); `half`, "weights" or "alpha", is what its graph is kept under."""
        images = [tensor for batch in batches.values() for tensor in batch]

        def step(*inputs: Tensor) -> Outputs:
            own = {part: (inputs[2 * i], inputs[2 * i + 1]) for i, part in enumerate(batches)}
            return gradients(own, dict(zip(drawn, inputs[len(images) :], strict=True)))

        inputs = (*images, *drawn.values())
        # A capture leaves them by itself.
        before = [(statistic, statistic.clone()) for statistic in self._halves.statistics()] if self.compiled else []
        try:
            if self.graphs is None:
                return uncached(step, inputs)
            skipping, architecture = self._halves.skipping, self._halves.architecture
            return self.graphs.run(half, skipping.key if half == "weights" else architecture.version, step, *inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if self.graphs is None and not self.compiled:
                raise
            self._fall_back(error)
            for statistic, bits in before:
                statistic.copy_(bits)
            return self.run(half, gradients, batches, drawn)

    def _fall_back(self, error: Exception) -> None:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        wanted = "trainer.graphs=true" if self.graphs is not None else "trainer.compile=true"
        log.warning("%s failed (%s): the run goes on without.", wanted, reason)
        if self.graphs is not None:
            self.graphs = None
            return
        self.compiled, self._halves.skipping.dense = False, self._dense
        for cell in self._halves.supernet.cells():  # type: ignore[operator]
            cell._compiled_call_impl = None  # nn.Module.compile has no other way back
