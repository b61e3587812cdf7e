"""From a composed config to the parts of a search."""

import pkgutil
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from nas_lightning.bilevel import Bilevel
from nas_lightning.build import build, build_axis, build_choice, check_choice, target_of
from nas_lightning.callbacks import Decisions, HessianEigenvalue
from nas_lightning.data import Dataset, SearchData
from nas_lightning.decisions import Decision
from nas_lightning.derive import DeriveRule
from nas_lightning.errors import UserError
from nas_lightning.penalties import ExpectedCost, Penalties, Penalty
from nas_lightning.perturbations import Perturbation
from nas_lightning.relaxations import Relaxation
from nas_lightning.schedules import TemperatureSchedule
from nas_lightning.selection import Selection
from nas_lightning.spaces import SearchSpace
from nas_lightning.stages import Stages
from nas_lightning.stop import Stop
from nas_lightning.supernet.compatible import check_measures, check_stages
from nas_lightning.supernet.module import SupernetModule

MODULE_AXES = {
    "space": SearchSpace,
    "relaxation": Relaxation,
    "bilevel": Bilevel,
    "penalty": Penalty,
    "perturbation": Perturbation,
    "derive": DeriveRule,
}
"""Config group -> what it builds: the choices that a SupernetModule is made of."""

EPOCH_AXES = {
    "sched": TemperatureSchedule,
    "decision": Decision,
    "stages": Stages,
    "stop": Stop,
    "selection": Selection,
}
"""The choices that act between epochs and at the end."""

MEASURES: dict[str, type[pl.Callback]] = {"hessian_eigenvalue": HessianEigenvalue}
"""Column of metrics.csv -> what logs it. It costs time, so that it is there where a choice or a user asks."""


def build_data(config: DictConfig, of_search: bool) -> Any:
    """config.data with the group dataset. UserError for settings that are refused, and for images of the other program.

    of_search: whether batches have a part for alpha, as those of SearchData.
    """
    target_of(config.data.dataset, "dataset")
    data = build(config.data)
    if isinstance(data, SearchData) != of_search:
        what, wanted = ("a search", "search") if of_search else ("a training", "train")
        raise UserError(f"data: {type(data).__name__} makes no batches for {what}; give data={wanted}.")
    check_choice(data.dataset, "dataset", Dataset)
    return data


def build_module(
    config: DictConfig,
    num_classes: int,
    class_weights: torch.Tensor | None = None,
    cost: ExpectedCost | None = None,
) -> SupernetModule:
    """config.model with the groups of MODULE_AXES. UserError for settings that are refused or cannot be had together.

    class_weights: of the losses, as of SupernetModule. cost: a penalty beside the one that is chosen.
    """
    axes = {group: build_axis(config, group, protocol) for group, protocol in MODULE_AXES.items()}
    if cost is not None:
        axes["penalty"] = cost if axes["penalty"] is None else Penalties(axes["penalty"], cost)
    for key in ("arch_optimizer", "model.arch_optimizer", "model.weight_optimizer"):
        _check_factory(OmegaConf.select(config, key), key)
    module: SupernetModule = build(config.model, _partial_=True)(
        **axes, num_classes=num_classes, class_weights=class_weights
    )
    return module


def _check_factory(node: Any, place: str) -> None:
    """UserError unless `node` makes an optimiser of parameters that are handed over."""
    target = target_of(node, place)
    named = pkgutil.resolve_name(target)
    if isinstance(named, type) and not issubclass(named, torch.optim.Optimizer):
        raise UserError(f"{place}: {target} is no torch.optim.Optimizer; derive it from that class.")
    if node.get("_partial_") is not True:
        raise UserError(f"{place}: {target} is made when the parameters are there; set _partial_: true in its yaml.")


def build_epoch_axes(config: DictConfig) -> dict[str, Any]:
    """The groups of EPOCH_AXES, None where null."""
    axes = {group: build_axis(config, group, protocol) for group, protocol in EPOCH_AXES.items()}
    for name, stage in axes["stages"].stages.items() if axes["stages"] else ():
        if stage.decision is not None:
            check_choice(stage.decision, f"stages.stages.{name}.decision", Decision)
    check_stages(axes["decision"], axes["stages"], axes["stop"])
    return axes


def decisions(axes: dict[str, Any]) -> list[pl.Callback]:
    if axes["decision"] is None and axes["stages"] is None:
        return []
    return [Decisions(axes["decision"], axes["stages"])]


def measures(axes: dict[str, Any], given: Sequence[pl.Callback], compiled: bool) -> list[pl.Callback]:
    """What logs the columns that stop and selection ask for, but for those that a callback of the user's logs already.

    UserError for a column that is not known, or not to be had with compiled cells.
    """
    asked = {name for group in ("stop", "selection") for name in getattr(axes[group], "measures", ())}
    unknown = sorted(asked - {*MEASURES})
    if unknown:
        raise UserError(f"stop and selection cannot have {unknown[0]} measured; there is {', '.join(MEASURES)}.")
    logged = {name for name, kind in MEASURES.items() if any(isinstance(callback, kind) for callback in given)}
    check_measures(asked | logged, compiled)
    return [MEASURES[name]() for name in sorted(asked - logged)]


def user_callbacks(node: Any) -> list[pl.Callback]:
    """A user's own Lightning callbacks: one `_target_`, a list of such, or names of such."""
    return [build_choice(part, place, pl.Callback) for place, part in parts_of(node, "callbacks").items()]


def parts_of(node: Any, place: str) -> dict[str, Any]:
    """Place -> part, where `node` is one `_target_`, a list of such, names of such, or null."""
    if node is None:
        return {}
    if isinstance(node, ListConfig):
        return {f"{place}[{number}]": part for number, part in enumerate(node)}
    if isinstance(node, DictConfig) and "_target_" not in node:
        return {f"{place}.{name!s}": part for name, part in node.items()}
    return {place: node}
