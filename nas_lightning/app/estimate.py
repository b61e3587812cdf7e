"""What a run on a processor takes in memory and time, measured on its own model with a few images before the first step.

A processor's memory ends with the system killing the process without a word. On a GPU nothing is estimated: a step that does
not fit there ends in a sentence at once.
"""

import copy
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import Precision
from rich.filesize import decimal
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from nas_lightning.bilevel.base import Batch
from nas_lightning.data import SearchData
from nas_lightning.errors import UserError
from nas_lightning.optimizers.lookahead import SgdLookahead
from nas_lightning.supernet.module import SupernetModule
from nas_lightning.supernet.skipping import step_bound
from nas_lightning.training.module import NetworkModule

log = logging.getLogger("nas_lightning")

_FEW, _MORE = 2, 8  # images of the steps that memory is measured on; batch statistics need two
_PATIENCE = 1.0  # seconds: a step that takes less than this is measured on more images
_OVERHEAD = 1.4
"""A step's rise of the resident memory over the tensors that autograd keeps for it, which misses gradients in flight, the
libraries' scratch and fragmentation. Measured 1.1 to 1.4 for both spaces and stems, 1.7 and 1.9 for SDARTS-ADV and DARTS V2."""
_OPTIMIZER = 2  # gradient and momentum, times the weights
_FORWARD = 1 / 3  # of a half step, whose backward pass takes about two forward passes


@dataclass(frozen=True)
class Estimate:
    """fixed, an_image: bytes that a step takes beyond what the process held before it, and in addition for each image of the
    batch. seconds: of a bilevel step of the batch size; forward: of an image of the validation."""

    fixed: float
    an_image: float
    seconds: float
    forward: float

    def size(self, batch_size: int) -> float:
        return self.fixed + self.an_image * batch_size


def check_resources(trainer: pl.Trainer, module: SupernetModule, data: SearchData) -> None:
    """Say what the search will take; UserError where its steps cannot have the memory. Loads the images.

    Nothing of `module` and no random state changes.
    """
    if not _is_asked(trainer):
        return
    growth, (train, valid) = data.batch_growth, data.parts
    batch_size = data.batch_size + (0 if growth is None else growth.images * growth.times)
    batch_size = min(batch_size, len(train))
    estimate = estimate_search(module, data.image_size, batch_size, trainer.precision_plugin)
    stem = "" if getattr(module.space, "stem", "imagenet") == "imagenet" else "space.stem=imagenet, "
    size = _checked("this search", estimate, trainer.num_devices, batch_size, data.image_size, stem)
    images = len(train), min(data.discrete_images, len(valid))
    _say(trainer, "A step", size, _epoch(trainer, estimate, data.batch_size, images) / trainer.num_devices)


def check_training(
    trainer: pl.Trainer, module: NetworkModule, name: str, side: int, batch_size: int, images: tuple[int, int]
) -> None:
    """The same of the training of network `name`; images: how many are trained on and how many tested in an epoch."""
    if not _is_asked(trainer):
        return
    batch_size = min(batch_size, images[0])
    estimate = estimate_training(module, side, batch_size, trainer.precision_plugin)
    size = _checked(f"the training of {name}", estimate, 1, batch_size, side, "")
    _say(trainer, f"{name}: a step", size, _epoch(trainer, estimate, batch_size, images))


def _epoch(trainer: pl.Trainer, estimate: Estimate, batch_size: int, images: tuple[int, int]) -> float:
    """Seconds, of as many batches as the trainer's limits leave. images: trained on, and tested."""
    trained, tested = (-(-count // batch_size) for count in images)
    steps = _limited(trained, trainer.limit_train_batches)
    tested = min(images[1], batch_size * _limited(tested, trainer.limit_val_batches))
    return steps * estimate.seconds + tested * estimate.forward


def _limited(batches: int, limit: int | float | None) -> int:
    """As Lightning reads its limits: a whole number of batches, or a share of them."""
    if limit is None:
        return batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def _is_asked(trainer: pl.Trainer) -> bool:
    return trainer.strategy.root_device.type == "cpu" and trainer.is_global_zero


def _checked(what: str, estimate: Estimate, devices: int, batch_size: int, side: int, stem: str) -> float:
    """Bytes of a step on all devices; UserError where they are not free."""
    size, free = estimate.size(batch_size) * devices, _free_memory()
    if free is not None and size > free:
        fits = int((free / devices - estimate.fixed) / estimate.an_image)
        smaller = f"data.batch_size={fits} or fewer, " if fits >= _FEW else ""
        raise UserError(
            f"a step of {what} takes about {decimal(int(size))} of memory, for {batch_size} images of {side} pixels, and "
            f"{decimal(int(free))} are free; set {smaller}{stem}or a smaller dataset.image_size or space.C."
        )
    return size


def _say(trainer: pl.Trainer, what: str, size: float, epoch: float) -> None:
    assert trainer.max_epochs is not None
    log.info(
        "%s takes about %s of memory, an epoch about %s on this processor, %d of them %s.",
        what, decimal(int(size)), *(_clock(epoch), trainer.max_epochs, _clock(epoch * trainer.max_epochs)),
    )  # fmt: skip


def estimate_search(module: SupernetModule, side: int, batch_size: int, precision: Precision) -> Estimate:
    """Of a bilevel step with all of beta computed, on images [B, 3, side, side]; time and memory are linear in B."""
    module = copy.deepcopy(module)
    halves, bilevel = module.halves, module.bilevel
    (weights, arch), _ = module.configure_optimizers()
    halves.skipping.restart(step_bound(arch))

    def drawn(batch: Batch, for_weights: bool) -> dict[str, Tensor]:
        generators = [torch.Generator().manual_seed(0) for _ in range(2)]
        return halves.draw(generators[0], for_weights) | halves.draw_drop_path(generators[1], len(batch[0]))

    def weight_step(batch: Batch) -> None:
        halves.weight_gradients(batch, drawn(batch, True), module.joint_clip is not None)

    def alpha_step(batch: Batch) -> None:
        batches = {"train": batch, "valid": batch}
        bilevel.alpha_gradients(halves, batches, drawn(batch, False), SgdLookahead(lambda: weights))

    parts = [weight_step, alpha_step] if bilevel.batches else [weight_step]
    return _estimate(parts, module.supernet, side, batch_size, precision)


def estimate_training(module: NetworkModule, side: int, batch_size: int, precision: Precision) -> Estimate:
    """Of a training step on images [B, 3, side, side]."""
    module = copy.deepcopy(module).train()
    return _estimate([lambda batch: module.loss(batch)[0].backward()], module, side, batch_size, precision)


def _estimate(
    parts: Sequence[Callable[[Batch], None]], model: nn.Module, side: int, batch_size: int, precision: Precision
) -> Estimate:
    """Of a step of these parts, one after another, each with backward passes through `model`."""

    def images(count: int) -> Batch:
        return torch.randn(count, 3, side, side, dtype=dtype), torch.zeros(count, dtype=torch.int64)

    dtype = next(model.parameters()).dtype
    with torch.random.fork_rng(devices=[]), precision.forward_context():
        measured = [_estimate_part(part, images, batch_size) for part in parts]
    largest = max(measured, key=lambda part: part.size(batch_size))
    kept = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return Estimate(
        _OVERHEAD * largest.fixed + _OPTIMIZER * kept,
        _OVERHEAD * largest.an_image,
        sum(part.seconds for part in measured),
        measured[0].forward,
    )


def _estimate_part(part: Callable[[Batch], None], images: Callable[[int], Batch], batch_size: int) -> Estimate:
    """Of one of a step's parts; memory is what autograd keeps."""
    few, more = min(_FEW, batch_size), min(_MORE, batch_size)
    part(images(few))  # the first one also loads what the libraries load once
    (least, short), (most, long) = (_measured(part, images(count)) for count in (few, more))
    an_image = max(0, most - least) / (more - few) if more > few else least / few
    fixed = max(0.0, least - an_image * few)
    slope = max(long - short, long / 4) / (more - few) if more > few else long / more
    # Few images take little longer than none: the more are measured, the nearer is what one of the batch takes.
    free = _free_memory()
    most_images = (
        batch_size if free is None else min(batch_size, int((free / (2 * _OVERHEAD) - fixed) / max(an_image, 1)))
    )
    while long < _PATIENCE and more < most_images:
        many = min(most_images, max(4 * more, more + int((_PATIENCE - long) / slope)))
        _, longer = _measured(part, images(many))
        slope, more, long = max(longer - long, longer / 4) / (many - more), many, longer
    return Estimate(fixed, an_image, long + slope * (batch_size - more), _FORWARD * slope)


def _measured(half: Callable[[Batch], None], batch: Batch) -> tuple[int, float]:
    """The most bytes that autograd keeps at once for the backward passes of a half step, and its seconds: of two runs the
    shorter's, for the counting of bytes and other work on the machine only lengthen them."""
    kept = _Kept()
    start = time.perf_counter()
    with saved_tensors_hooks(lambda tensor: _Saved(kept, tensor), lambda saved: saved.tensor):
        half(batch)
    counted = time.perf_counter()
    half(batch)
    return kept.most, min(counted - start, time.perf_counter() - counted)


class _Kept:
    """Storages that autograd keeps now: how often, by their address; and the most bytes that they had at once."""

    def __init__(self) -> None:
        self.times: dict[int, int] = {}
        self.now = self.most = 0


class _Saved:
    """A tensor for as long as autograd keeps it."""

    def __init__(self, kept: _Kept, tensor: Tensor) -> None:
        self.kept, self.tensor = kept, tensor
        storage = tensor.untyped_storage()
        self.address, self.size = storage.data_ptr(), storage.nbytes()
        times = kept.times[self.address] = kept.times.get(self.address, 0) + 1
        if times == 1:
            kept.now += self.size
            kept.most = max(kept.most, kept.now)

    def __del__(self) -> None:
        self.kept.times[self.address] -= 1
        if not self.kept.times[self.address]:
            self.kept.now -= self.size


def _free_memory() -> int | None:
    """Bytes that the system, or the control group of this process, would still give; None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None
    try:
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no control group of its own, or one without a limit
        return free
    return min(free, limit - used)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
