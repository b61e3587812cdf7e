"""A limit on the network that is trained in the end: a search is steered below it, the network made narrower until it fits."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from omegaconf import DictConfig, OmegaConf

from nas_lightning.app.configs import CONFIGS
from nas_lightning.app.job import Job
from nas_lightning.build import build_choice
from nas_lightning.costs import KINDS, in_units
from nas_lightning.errors import UserError, is_number, is_whole
from nas_lightning.genotypes.base import Genotype
from nas_lightning.penalties import ExpectedCost
from nas_lightning.records.overrides import key_of
from nas_lightning.records.received import received_json, received_yaml
from nas_lightning.spaces import SearchSpace
from nas_lightning.training.cost import network_cost
from nas_lightning.training.latency import latencies
from nas_lightning.training.operation_costs import OperationCosts, operation_costs

_NARROWEST = 2
_TRIES = 3  # of which the least is refused: on a busy machine times are too long
_SIZES = ("C", "N", "num_cells")
BUDGET_FILE = "budget.json"
"""In a training's folder: its `budget_record`."""


@dataclass(frozen=True)
class Budget:
    """limits: kind of cost, of `costs.KINDS`, -> the most of it. node: the config of the space whose network it is of, with its
    width C. num_classes, side: of the images, in pixels."""

    limits: Mapping[str, float]
    node: DictConfig
    num_classes: int
    side: int

    @classmethod
    def of(cls, limits: Mapping[str, Any], node: DictConfig, num_classes: int, side: int) -> Self | None:
        """None where nothing is limited; UserError for what is no limit, and for a space without a width."""
        asked = _given(limits)
        for kind, limit in asked.items():
            if not (is_number(limit) and limit > 0):
                raise UserError(f"budget.{kind} must be a number above 0, or null for no limit, got {limit!r}.")
        if asked and not is_whole(node.get("C"), 1):
            raise UserError(
                f"budget: {node.get('_target_')} has no width C, by which a network is made to fit; give it one, or drop the "
                "budget."
            )
        return cls(asked, node, num_classes, side) if asked else None

    @property
    def width(self) -> int:
        """C of the network unless it is made to fit."""
        return int(self.node.C)

    def penalty(self, weight: float) -> ExpectedCost:
        """The term that steers a search; UserError where no architecture can keep the budget."""
        with torch.random.fork_rng(devices=[]):
            costs = self._measured(self.width)
            if self._beyond(_fixed(costs)):
                tries = [_fixed(self._measured(self._narrowest)) for _ in range(_TRIES)]
                least = {kind: min(each[kind] for each in tries) for kind in self.limits}
                self.check(least, "what all networks of this space share has")
        fixed = {kind: costs[kind].fixed / limit for kind, limit in self.limits.items()}
        shares = {kind: costs[kind].divided(limit) for kind, limit in self.limits.items()}
        return ExpectedCost(self._space(self.width).cells, fixed, shares, weight)

    def fitting(self, genotype: Genotype) -> tuple[int, dict[str, float]]:
        """(the largest width, of the own one and the even ones below it, at which the network of `genotype` keeps the budget,
        its costs there); of the narrowest, where that does not."""
        costs: dict[int, dict[str, float]] = {}

        def is_beyond(width: int) -> bool:
            costs[width] = self.costs(genotype, width)
            return bool(self._beyond(costs[width]))

        with torch.random.fork_rng(devices=[]):
            if not is_beyond(self.width):
                return self.width, costs[self.width]
            widths = range(self._narrowest, self.width, 2) or [self.width]
            width = widths[max(0, bisect_left(widths, True, key=is_beyond) - 1)]
        return width, costs[width]

    def costs(self, genotype: Genotype, width: int) -> dict[str, float]:
        """Of the network of `genotype`, each kind that has a limit."""
        space = self._space(width)
        counted = network_cost(space, genotype, self.num_classes, self.side)
        costs: dict[str, float] = {"params": counted.params, "macs": counted.macs}
        if "latency_ms" in self.limits:
            costs |= {"latency_ms": latencies({"": space.network(genotype, self.num_classes)}, self.side)[""]}
        return {kind: costs[kind] for kind in self.limits}

    @property
    def _narrowest(self) -> int:
        return min(_NARROWEST, self.width)

    def _space(self, width: int) -> SearchSpace:
        space: SearchSpace = build_choice(OmegaConf.merge(self.node, {"C": width}), "space", SearchSpace)
        return space

    def _measured(self, width: int) -> dict[str, OperationCosts]:
        return operation_costs(self._space(width), self.num_classes, self.side, self.limits)

    def _beyond(self, costs: Mapping[str, float]) -> list[str]:
        return [kind for kind, limit in self.limits.items() if costs[kind] > limit]

    def check(self, costs: Mapping[str, float], what: str) -> None:
        """UserError where these, of the narrowest network, are beyond a limit."""
        for kind in self._beyond(costs):
            raise UserError(
                f"budget.{kind}={self.limits[kind]:g} cannot be met: {what} {in_units(kind, costs[kind])} with "
                f"C={self._narrowest}, the least; raise it, or give a network of fewer cells or smaller images."
            )


def _given(limits: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: limits[kind] for kind in KINDS if limits.get(kind) is not None}


def _fixed(costs: Mapping[str, OperationCosts]) -> dict[str, float]:
    return {kind: each.fixed for kind, each in costs.items()}


def budget_of_search(config: DictConfig, job: Job, num_classes: int, side: int) -> Budget | None:
    """Of the network that is trained in the end: the cells of the search, as many and as wide as there, unless budget.space or
    the recipe of the family says otherwise (the DARTS space's: 20 cells, C=36)."""
    _check_section(config)
    if not (is_number(config.budget.weight) and config.budget.weight >= 0):
        raise UserError(f"budget.weight must be a number of at least 0, got {config.budget.weight!r}.")
    if config.budget.space is not None and not isinstance(config.budget.space, DictConfig):
        raise UserError(
            f"budget.space must be settings of the trained network, as in {{C: 36}}, got {config.budget.space!r}."
        )
    recipe = CONFIGS / "recipe" / f"{job.choices.get('family')}.yaml"
    trained: Any = (OmegaConf.to_container(OmegaConf.load(recipe)) if recipe.is_file() else {}) or {}
    sizes = {key: size for key, size in trained.get("space", {}).items() if key in _SIZES}
    asked: Any = OmegaConf.to_container(config.budget.space or OmegaConf.create())
    unknown = [key for key in asked if key not in config.space]
    if unknown:
        known = ", ".join(str(key) for key in config.space if str(key)[0] != "_")
        raise UserError(f"budget.space.{unknown[0]!s} is no setting of the space; there is {known}.")
    node: Any = OmegaConf.merge(config.space, sizes, asked)
    return Budget.of(config.budget, node, num_classes, side)


def named(method: str | None, budget: Budget | None) -> str | None:
    """What a search of `method` is called."""
    if method is None or budget is None:
        return method
    return method + "".join(f" + budget.{kind}={limit:g}" for kind, limit in budget.limits.items())


def _check_section(config: DictConfig) -> None:
    if not isinstance(config.budget, DictConfig):
        raise UserError(
            f"budget must hold limits, as in budget.params=1e6, got {config.budget!r}; set one, or drop it."
        )


def limits_of_training(config: DictConfig, job: Job) -> Mapping[str, Any]:
    """Those of the command line, where null is none, or else those that the search of config.run had."""
    _check_section(config)
    given = {kind: config.budget[kind] for kind in KINDS}
    is_given = any(key_of(override).partition(".")[0] == "budget" for override in job.overrides)
    if config.run is None or is_given or any(limit is not None for limit in given.values()):
        return given
    try:
        searched = received_yaml(Path(str(config.run)) / "config.yaml").get("budget")
    except (OSError, ValueError, AttributeError):  # said where the data set is read from there
        return given
    return searched if isinstance(searched, dict) else given


def budget_record(budget: Budget, width: int, costs: Mapping[str, float]) -> dict[str, Any]:
    """For a report: the limits, what the network has of each, and its width beside the one that was asked for."""
    return {"limits": dict(budget.limits), "costs": dict(costs), "C": width, "C_asked": budget.width}


def kept_record(folder: Path, limits: Mapping[str, Any], width: Any) -> dict[str, Any] | None:
    """The `budget_record` of an earlier start of the same training, None where there is none: a time that is measured again may
    differ, and the network with it."""
    wanted = _given(limits)
    try:
        record = received_json(folder / BUDGET_FILE)
        is_same = record["limits"] == wanted and record["C_asked"] == width
        costs = {kind: float(record["costs"][kind]) for kind in wanted}
        is_sized = is_whole(record["C"], 1) and record["C"] <= width
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {"limits": wanted, "costs": costs, "C": record["C"], "C_asked": width} if is_same and is_sized else None
