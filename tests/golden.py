"""What every method's search does, number by number: python -m tests.golden writes tests/golden_trajectories.json.

Searches of two epochs on synthetic batches in float64; test_golden.py compares them with the file. To be run again on purpose
only: after a change that is meant to move a search, or for a new method.

Letters: E edges, O operations.
"""

import json
import logging
import sys
import warnings

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nas_lightning.app.axes import build_epoch_axes, build_module, decisions
from nas_lightning.callbacks import TemperatureUpdate
from nas_lightning.records.folder import folder_name
from tests.axes import options
from tests.conftest import ROOT

FILE = ROOT / "tests" / "golden_trajectories.json"
DIGITS = 10

# What two epochs need of a choice that is made for fifty, and what saves time.
SCALE = {
    "perturbation=adversarial_ball": {"perturbation.steps": 2},
    "decision=edge_confidence": {"decision.start": 0, "decision.interval": 1},
    "stages=darts_pt": {"stages.stages.search.epochs": 1, "stages.stages.projection.epochs": 1},
}
SIZES = {"nb201": ("space.C=4", "space.N=1"), "darts": ("space.C=4", "space.num_cells=3")}
EPOCHS, STEPS, BATCH = 2, 3, 4
OTHERS = {
    "edd/s1": ("method=edd", "space=s1"),
    "edd/s4": ("method=edd", "space=s4"),
    "edd/nb201/partial": ("method=edd", "space=nb201", "space.partial=2", "space.edge_weights=true"),
    "edd/darts/partial": ("method=edd", "space=darts", "space.partial=2", "space.edge_weights=true"),
}
"""Beside every method of conf/method in NAS-Bench-201 and the DARTS space."""

OmegaConf.register_new_resolver("run_folder", folder_name, replace=True)


def searches():
    """Name of each search -> its overrides."""
    own = {
        f"{method}/{space}": (f"method={method}", f"space={space}")
        for method in options("method")
        for space in ("nb201", "darts")
    }
    return own | OTHERS


def _config(overrides):
    space = next(override for override in overrides if override.startswith("space=")).removeprefix("space=")
    given = [
        *overrides, *SIZES.get(space, SIZES["darts"]), "dataset=fake", "benchmark=none", f"trainer.max_epochs={EPOCHS}",
        "arch_optimizer.lr=0.05", "run_dir=x",
    ]  # fmt: skip
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", given, return_hydra_config=True)
    for group, choice in config.hydra.runtime.choices.items():
        for setting, value in SCALE.get(f"{group}={choice}", {}).items():
            OmegaConf.update(config, setting, value)
    if space != "nb201" and config.space.partial == 1:
        OmegaConf.update(config, "space.C", 2)  # depthwise convolutions take long in float64
    return config


class _Data(pl.LightningDataModule):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)

        def batch():
            x = torch.randn(BATCH, 3, 8, 8, generator=generator, dtype=torch.float64)
            return x, torch.randint(10, (BATCH,), generator=generator)

        self.train = [{"train": batch(), "valid": batch()} for _ in range(STEPS)]
        self.valid = [batch()]

    def train_dataloader(self):
        return torch.utils.data.DataLoader(self.train, batch_size=None)

    def val_dataloader(self):
        return torch.utils.data.DataLoader(self.valid, batch_size=None)


class _Trajectory(pl.Callback):
    def __init__(self):
        self.epochs = []

    def on_train_epoch_end(self, trainer, pl_module):
        architecture = pl_module.architecture
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        record = {name: logged[name] for name in ("train_loss", "valid_loss") if name in logged}
        record |= {"temperature": architecture.host_temperature, "entropy": _entropy(architecture)}
        for name, alpha in architecture.alpha.items():
            flat = alpha.detach().flatten()
            record[f"alpha/{name}"] = [flat.sum().item(), *flat[[0, len(flat) // 2, -1]].tolist()]
        for name, edge in architecture.edge_alpha.items():
            record[f"edges/{name}"] = [edge.sum().item(), edge[0].item()]
        record["candidates"] = sum(sum(map(sum, rows)) for rows in architecture.candidates.values())
        record["classifier"] = pl_module.supernet.classifier.weight.norm().item()
        record["architecture"] = str(pl_module.genotype())
        self.epochs.append(record)


def _entropy(architecture):
    edges = [entropy for row in architecture.observe().entropy.values() for entropy in row]
    return sum(edges) / len(edges)


def trajectory(overrides):
    """[epoch] -> what is compared: numbers, lists of numbers and the architecture's text."""
    config = _config(overrides)
    torch.manual_seed(0)
    # From the first number on: what is drawn in float32 differs in its last digits between vector units.
    torch.set_default_dtype(torch.float64)
    try:
        module, axes = build_module(config, 10), build_epoch_axes(config)
    finally:
        torch.set_default_dtype(torch.float32)
    seen = _Trajectory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            max_epochs=EPOCHS, accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
            callbacks=[TemperatureUpdate(axes["sched"]), *decisions(axes), seen],
        )  # fmt: skip
        trainer.fit(module, datamodule=_Data())
    return seen.epochs


def rounded(value):
    """Without the digits that nothing compares."""
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def text(trajectories):
    """One line an epoch."""
    parts = []
    for name, epochs in trajectories.items():
        lines = [json.dumps({key: rounded(value) for key, value in epoch.items()}) for epoch in epochs]
        parts.append(f"{json.dumps(name)}: [\n    " + ",\n    ".join(lines) + "\n  ]")
    return "{\n  " + ",\n  ".join(parts) + "\n}\n"


def main():
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    wanted = searches()
    FILE.write_text(text({name: trajectory(overrides) for name, overrides in wanted.items()}))
    print(f"{FILE.relative_to(ROOT)}: {len(wanted)} searches", file=sys.stderr)


if __name__ == "__main__":
    main()
