"""The loop around the half steps: Lightning, callbacks and loggers; the discretised validation; drift; EDD's sharpening.

A search is built as train.py builds it, with TensorBoard beside metrics.csv, on made-up images.
"""

import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import nn

from nas_lightning.app.axes import build_module
from nas_lightning.app.checkpoints import Checkpoints
from nas_lightning.app.fit import fit, make_trainer
from nas_lightning.app.loggers import LoggedRun
from nas_lightning.bilevel.base import Batch
from nas_lightning.build import build
from nas_lightning.callbacks import ArchitectureLog, TemperatureUpdate
from nas_lightning.data import SearchData
from nas_lightning.records.epochs import Row
from nas_lightning.records.folder import RunFolder, folder_name
from nas_lightning.supernet.module import SupernetModule
from nas_lightning.supernet.skipping import step_bound
from speed.half_steps import ARCHITECTURE, MeasuredSteps, Size
from speed.statistics import Numbers, interleaved, spread

CONF = Path(__file__).parent.parent / "conf"
_EPOCH_IMAGES, _DISCRETE_IMAGES, _VALID_BATCH = 25_000, 5_000, 250  # a CIFAR-10 search's, and its validation batches


class Search(NamedTuple):
    folder: Path
    config: DictConfig
    module: SupernetModule
    data: SearchData
    trainer: pl.Trainer
    checkpoints: Checkpoints

    def fit(self) -> list[Row]:
        return fit(self.trainer, self.folder, self.checkpoints.newest(), self.module, self.data)


def composed(folder: Path, *overrides: str) -> DictConfig:
    OmegaConf.register_new_resolver("run_folder", folder_name, replace=True)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [*overrides, f"run_dir={folder}"])


def build_search(folder: Path, *overrides: str, callbacks: Sequence[pl.Callback] = ()) -> Search:
    """What `train.py <overrides>` would fit, `callbacks` before its own."""
    config = composed(folder, *overrides)
    torch.manual_seed(config.seed)
    data: SearchData = build(config.data)
    module = build_module(config, data.num_classes)
    record = ArchitectureLog(build(config.benchmark), folder / "architecture.csv")
    own = [TemperatureUpdate(build(config.sched)), record]
    run = LoggedRun.of(folder, OmegaConf.to_container(config, resolve=True), "search", {})  # type: ignore[arg-type]
    checkpoints = Checkpoints.of(RunFolder.of(config, overrides), folder)
    trainer = make_trainer(config, run, checkpoints, [*callbacks, *own])
    for own_callback in trainer.callbacks:  # type: ignore[attr-defined]
        if hasattr(own_callback, "console"):
            own_callback.console.quiet = True  # it does its work but the output is this benchmark's
    return Search(folder, config, module, data, trainer, checkpoints)


def fake_search(size: Size, batches: int, epochs: int) -> list[str]:
    """Overrides of a search on made-up images, its validation as large a part of the epoch as in a CIFAR-10 search."""
    images = size.batch * batches
    return [
        "space=nb201", "dataset=fake", "benchmark=none", "logger=tensorboard",
        f"space.C={size.channels}", f"space.N={size.cells}", f"dataset.image_size={size.side}",
        f"dataset.train_images={2 * images}", f"data.batch_size={size.batch}",
        f"data.discrete_images={max(2, images * _DISCRETE_IMAGES // _EPOCH_IMAGES)}", f"trainer.max_epochs={epochs}",
    ]  # fmt: skip


def quieten() -> None:
    """Lightning's remarks on the searches that are measured."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.profiler")


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class BareModule(SupernetModule):
    """A search whose half steps run without a trainer: no metrics, callbacks, loggers or checkpoints."""

    def prepare(self) -> None:
        (self._weights, self._alpha), _ = self.configure_optimizers()

    def epoch(self, data: SearchData) -> None:
        self.halves.skipping.restart(step_bound(self._alpha))
        for step, (batch, *_) in enumerate(data.train_dataloader()):
            self.weight_step(batch["train"], step)
            self.alpha_step(batch["valid"], step)
        self._validate(data)

    def weight_step(self, batch: Batch, step: int) -> None:
        _, _, *gradients = self.half_step("weights", {"train": batch}, self.draw(step, for_weights=True))
        weights = list(self.supernet.parameters())
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = torch.zeros_like(weight) if gradient is None else gradient
        if self.weight_clip is not None:
            nn.utils.clip_grad_norm_(weights, self.weight_clip)
        self._weights.step()

    def alpha_step(self, batch: Batch, step: int) -> None:
        _, _, *gradients = self.half_step("alpha", {"valid": batch}, self.draw(step, for_weights=False))
        for alpha, gradient in zip(self.halves.alphas(), gradients, strict=True):
            alpha.grad = gradient
        self._alpha.step()
        self.halves.skipping.follow(step_bound(self._alpha))

    @torch.inference_mode()
    def _validate(self, data: SearchData) -> None:
        discrete = self.architecture.one_hot(self.genotype())
        for batch in data.val_dataloader():
            self.halves.loss_at(batch, discrete)


class Clocks(NamedTuple):
    """Seconds on the wall, and of this process's threads on the processors."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> "Clocks":
        return cls(time.perf_counter(), time.process_time())

    def since(self, start: "Clocks") -> "Clocks":
        return Clocks(self.wall - start.wall, self.processor - start.processor)


class _Interleaved(pl.Callback):
    """Runs one bare epoch before each of the trainer's; the first callback, so that all the rest counts as the trainer's."""

    def __init__(self, bare_epoch: Callable[[], None]) -> None:
        self.bare_epoch = bare_epoch
        self.bare: list[Clocks] = []
        self.trainers: list[Clocks] = []
        self._start: Clocks | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        device = trainer.strategy.root_device
        synchronise(device)
        now = Clocks.now()
        if self._start is not None:
            self.trainers.append(now.since(self._start))
        self.bare_epoch()
        synchronise(device)
        self._start = Clocks.now()
        self.bare.append(self._start.since(now))


def lightning_overhead(size: Size, batches: int, epochs: int, *overrides: str) -> dict[str, Any]:
    """Whole epochs of the trainer against whole epochs of a bare loop over the same half steps, optimisers and loaders.

    The epochs alternate, the first pair does not count. `share`: the trainer's time less the bare loop's, over the latter,
    pair by pair; `epoch_ms`: the difference of an epoch in processor time.
    """
    settings = [*fake_search(size, batches, epochs + 2), *overrides]
    with tempfile.TemporaryDirectory() as scratch:
        bare = build_search(Path(scratch) / "bare", *settings, "model._target_=speed.loop.BareModule")
        module = bare.module
        assert isinstance(module, BareModule)
        device = bare.trainer.strategy.root_device
        module.to(device)
        module.prepare()
        bare.data.trainer = bare.trainer  # for its device
        module.on_fit_start()
        turns = _Interleaved(lambda: module.epoch(bare.data))
        build_search(Path(scratch) / "trainer", *settings, callbacks=[turns]).fit()
    # The last epoch has no epoch after it whose start would end its time.
    pairs = list(zip(turns.trainers, turns.bare, strict=False))[1:]
    return {
        "channels": size.channels, "cells": size.cells, "batch": size.batch, "batches": batches, "epochs": len(pairs),
        "trainer_s": spread([trainer.wall for trainer, _ in pairs]), "bare_s": spread([bare.wall for _, bare in pairs]),
        "share": spread([trainer.wall / bare.wall - 1 for trainer, bare in pairs]),
        "processor_share": spread([trainer.processor / bare.processor - 1 for trainer, bare in pairs]),
        "epoch_ms": statistics.median(trainer.processor - bare.processor for trainer, bare in pairs) * 1e3,
    }  # fmt: skip


def validation_share(size: Size, rounds: int) -> dict[str, Any]:
    """The validation's part of an epoch, from the processor seconds of one batch of it and of the half steps."""
    steps = MeasuredSteps("nb201", size, "float32")
    images = min(_VALID_BATCH, size.batch * 4)
    ours = steps.run["ours"]

    def share(weight: float, alpha: float, validation: float) -> float:
        validated = validation / images * _DISCRETE_IMAGES
        return validated / (validated + (weight + alpha) * _EPOCH_IMAGES / size.batch)

    chosen = {name: ours[name] for name in ("weight step, dense beta", "weight step, one-hot beta", ARCHITECTURE)}
    times = interleaved({**chosen, "validation": lambda: steps.validate(images)}, rounds)
    dense, one_hot, alpha, validation = times.processor.values()
    return {
        "images": _DISCRETE_IMAGES,
        "of": _EPOCH_IMAGES,
        "images_per_s": images / statistics.median(times.wall["validation"]),
        "share_dense": spread([share(*row) for row in zip(dense, alpha, validation, strict=True)]),
        "share_one_hot": spread([share(*row) for row in zip(one_hot, alpha, validation, strict=True)]),
    }


class _Epochs(pl.Callback):
    """Of each epoch: wall and processor seconds of the median step, of all, and the resident memory at its end."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.step_cpu: list[float] = []
        self.epoch_cpu: list[float] = []
        self.resident_mb: list[float] = []
        self._row: list[tuple[float, float]] = []
        self._batch = self._epoch = (0.0, 0.0)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        now = time.perf_counter(), time.process_time()
        if trainer.current_epoch:
            self.epoch_cpu.append(now[1] - self._epoch[1])
        self._epoch, self._row = now, []

    def on_train_batch_start(self, *_: object) -> None:
        self._batch = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, *_: object) -> None:
        self._row.append((time.perf_counter() - self._batch[0], time.process_time() - self._batch[1]))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        walls, processors = zip(*self._row, strict=True)
        self.steps.append(statistics.median(walls))
        self.step_cpu.append(statistics.median(processors))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.resident_mb.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def drift(epochs: int, window: int) -> dict[str, Any]:
    """Steps and memory of a tiny search that stays as it is (softmax at t = 1) with W&B offline, after 5 epochs and at the end.

    Both ends are medians over `window` epochs. Processor seconds count what the search's process did, whatever else ran; it
    has a process of its own, for its memory. On one thread: a second would wait most of such small steps, for as long as what
    else runs lets it.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), quieten) as alone:
        record = alone.submit(_drifting, epochs).result()

    def ends(values: Sequence[float], scale: float) -> Numbers:
        first, last = values[5 : 5 + window], values[-window:]
        return {"first": statistics.median(first) * scale, "last": statistics.median(last) * scale}

    return {
        "epochs": epochs,
        "window": window,
        "step_ms": ends(record.steps, 1e3),
        "step_cpu_ms": ends(record.step_cpu, 1e3),
        "epoch_cpu_ms": ends(record.epoch_cpu, 1e3),
        "resident_mb": ends(record.resident_mb, 1.0),
    }


def _drifting(epochs: int) -> _Epochs:
    torch.set_num_threads(1)
    os.environ["WANDB_MODE"] = "offline"
    record = _Epochs()
    settings = (*fake_search(Size(4, 1, 16, 8), 3, epochs), "sched=constant", "relaxation=softmax", "logger=wandb")
    with tempfile.TemporaryDirectory() as scratch:
        build_search(Path(scratch) / "run", *settings, callbacks=[record]).fit()
    return record


def sharpening(epochs: int, *overrides: str) -> dict[str, Any]:
    """Operations computed and seconds of an epoch of EDD on handwritten digits: before the first update, and at the end."""
    settings = ("experiment=quickstart", "benchmark=none", f"trainer.max_epochs={epochs}", *overrides)
    with tempfile.TemporaryDirectory() as scratch:
        search = build_search(Path(scratch) / "run", *settings)
        rows = search.fit()
    dense = [row for row in rows if row["operations_computed"] == rows[0]["operations_computed"]]

    def part(chosen: Sequence[Row]) -> Numbers:
        names = ("operations_computed", "seconds", "entropy")
        return {name: statistics.median(float(row[name]) for row in chosen) for name in names}

    late = rows[-max(1, epochs // 4) :]
    return {
        "epochs": epochs, "channels": search.config.space.C, "cells": search.config.space.N,
        "batch": search.config.data.batch_size, "side": search.data.image_size, "dense_epochs": len(dense),
        "start": part(dense[1:] or dense), "end": part(late),
        "rows": [{name: float(row[name]) for name in ("epoch", "operations_computed", "seconds")} for row in rows],
    }  # fmt: skip
