"""From a composed config to the parts of a search."""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from nas_lightning.bilevel import Bilevel
from nas_lightning.build import build, build_axis
from nas_lightning.callbacks import Decisions, HessianEigenvalue
from nas_lightning.decisions import Decision
from nas_lightning.derive import DeriveRule
from nas_lightning.errors import UserError
from nas_lightning.penalties import Penalty
from nas_lightning.perturbations import Perturbation
from nas_lightning.relaxations import Relaxation
from nas_lightning.schedules import TemperatureSchedule
from nas_lightning.search.compatible import check_measures, check_stages
from nas_lightning.search.module import SupernetModule
from nas_lightning.selection import Selection
from nas_lightning.spaces import SearchSpace
from nas_lightning.stages import Stages
from nas_lightning.stop import Stop

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


def build_module(config: DictConfig, num_classes: int) -> SupernetModule:
    """config.model with the groups of MODULE_AXES. UserError for settings that are refused or cannot be had together."""
    axes = {group: build_axis(config, group, protocol) for group, protocol in MODULE_AXES.items()}
    module: SupernetModule = build(config.model, _partial_=True)(**axes, num_classes=num_classes)
    return module


def build_epoch_axes(config: DictConfig) -> dict[str, Any]:
    """The groups of EPOCH_AXES, None where null."""
    axes = {group: build_axis(config, group, protocol) for group, protocol in EPOCH_AXES.items()}
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
    if node is None:
        return []
    nodes = [node] if "_target_" in node else list(node.values()) if isinstance(node, DictConfig) else list(node)
    made = []
    for number, each in enumerate(nodes):
        holder = DictConfig({f"callbacks[{number}]": each}, flags={"allow_objects": True})
        callback = build_axis(holder, f"callbacks[{number}]", pl.Callback)
        if not isinstance(callback, pl.Callback):
            raise UserError(
                f"callbacks: {each.get('_target_')} is no pytorch_lightning.Callback; derive it from that class."
            )
        made.append(callback)
    return made
