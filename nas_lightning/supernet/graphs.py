"""Half steps captured as CUDA graphs: one launch where an eager step makes thousands."""

import logging
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from nas_lightning.bilevel.base import restored

log = logging.getLogger("nas_lightning")

Outputs = tuple[Tensor | None, ...]
Step = Callable[..., Outputs]
# a step without arguments -> (what runs it again, the tensors that each run fills)
Capture = Callable[[Callable[[], Outputs]], tuple[Callable[[], None], Outputs]]

_WARM_UPS = 3  # as torch.cuda.make_graphed_callables: libraries choose their algorithms before the capture


class StepGraphs:
    """Runs steps by replaying their capture: a step is a function of tensors without side effects but the memory it fills.

    state: the tensors that a step moves besides, a supernet's running statistics: a capture, which runs it, leaves them, and
    the default generators, from which a supernet may draw noise.
    One graph is kept for each name. A new `key`, say another set of computed operations, has it captured anew; another
    shape of the inputs than the first one's runs eagerly, so that the last batch of an epoch costs no capture.
    Parameters and buffers are read at every replay, so they may change in place.
    """

    def __init__(self, capture: Capture, state: Callable[[], Iterable[Tensor]] = tuple) -> None:
        self._capture = capture
        self._state = state
        self._graphs: dict[str, tuple[Hashable, tuple[Tensor, ...], Callable[[], None], Outputs]] = {}
        self._shapes: dict[tuple[str, int], tuple[torch.Size, ...]] = {}

    def run(self, name: str, key: Hashable, step: Step, *inputs: Tensor) -> Outputs:
        """What step(*inputs) returns; of a replay, tensors that the next run of `name` overwrites."""
        shapes = tuple(tensor.shape for tensor in inputs)
        # A step with more inputs, masks from some epoch on, has a first shape of its own.
        if self._shapes.setdefault((name, len(shapes)), shapes) != shapes:
            return uncached(step, inputs)
        if name not in self._graphs or self._graphs[name][0] != key:
            self._graphs.pop(name, None)  # its memory goes to the next one
            places = tuple(tensor.clone() for tensor in inputs)
            device = places[0].device
            with restored(self._state()), torch.random.fork_rng([device] if device.type == "cuda" else []):
                self._graphs[name] = key, places, *self._capture(lambda: uncached(step, places))
        _, places, replay, outputs = self._graphs[name]
        for place, tensor in zip(places, inputs, strict=True):
            place.copy_(tensor)
        replay()
        return outputs


def uncached(step: Step, places: tuple[Tensor, ...]) -> Outputs:
    """step(*places) without autocast's cache, which keeps casts of parameters for the whole training step around this one.

    A capture must hold the cast itself, and the half step that comes second must not see the weights from before the first.
    Lightning 2.6 turns the cache off, versions before and after it do not (its pull requests 20921 and 21616).
    """
    device = places[0].device.type
    enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    autocast: AbstractContextManager[object] = torch.autocast(device, dtype, enabled, cache_enabled=False)
    with autocast:
        return step(*places)


def capture_on_cuda(step: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
    """Capture `step` on the current CUDA device."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = step()
    return graph.replay, outputs


def step_graphs(device: torch.device, state: Callable[[], Iterable[Tensor]]) -> StepGraphs | None:
    """Graphs where `device` has them; else None, after one sentence. state: see `StepGraphs`."""
    if device.type == "cuda":
        return StepGraphs(capture_on_cuda, state)
    log.warning(
        "trainer.graphs=true needs a CUDA device and this run is on %s: it goes on without graphs.", device.type
    )
    return None
