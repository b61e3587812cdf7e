"""What two choices of a search cannot do together: refused here, before anything is written."""

from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from nas_lightning.bilevel.base import Bilevel
from nas_lightning.derive.base import DeriveRule, derived
from nas_lightning.errors import UserError
from nas_lightning.schedules import Constant
from nas_lightning.schedules.base import whole_epochs
from nas_lightning.spaces.base import SearchSpace
from nas_lightning.spaces.widening import widened_channels
from nas_lightning.stages.base import Stages
from nas_lightning.stop import AfterEpochs
from nas_lightning.supernet.architecture import Architecture
from nas_lightning.supernet.halves import HalfSteps


def check_step(halves: HalfSteps, bilevel: Bilevel, graphs: bool, clip_includes_arch: bool) -> None:
    """UserError for the first pair of choices within a step that cannot be had together."""
    relaxations = halves.architecture.relaxations.values()
    perturbed = halves.perturbation is not None
    fixed = not bilevel.batches
    clashes = {
        "trainer.graphs=true cannot be had with model.weight_clip_includes_arch=true": graphs and clip_includes_arch,
        "trainer.graphs=true cannot be had with a bilevel step that looks ahead (bilevel=second_order)": graphs
        and bilevel.looks_ahead,
        "space.skip_dropout, which drops other entries in each forward pass, cannot be had with a bilevel step that looks "
        "ahead and would take that for curvature (bilevel=second_order)": bilevel.looks_ahead
        and any(spec.skip_dropout is not None for spec in halves.architecture.cells.values()),
        "trainer.graphs=true cannot be had with a relaxation that computes what it draws alone": graphs
        and any(relaxation.skips == "by_draw" for relaxation in relaxations),
        "perturbation cannot be had with model.weight_clip_includes_arch=true, whose weight step is at beta itself": perturbed
        and clip_includes_arch,
        "perturbation, which leads back to the simplex, cannot be had with a relaxation whose weights do not sum to 1": (
            perturbed and not all(relaxation.sums_to_one for relaxation in relaxations)
        ),
        "penalty or budget, a term of alpha's loss, cannot be had with a bilevel without an architecture step "
        "(bilevel=fixed)": fixed and halves.penalty is not None,
        "model.weight_clip_includes_arch=true, which counts the last architecture step's gradient, cannot be had with a "
        "bilevel without one (bilevel=fixed)": fixed and clip_includes_arch,
    }
    if getattr(halves.perturbation, "replaces_beta", False):
        clashes["perturbation, which makes beta of alpha alone, cannot be had with a relaxation that draws it"] = bool(
            halves.architecture.draw(torch.Generator().manual_seed(0))
        )
    for sentence, clash in clashes.items():
        if clash:
            raise UserError(f"{sentence}; drop one of the two.")


def check_arch_optimizer(architecture: Architecture, optimizer: torch.optim.Optimizer) -> None:
    """UserError where `optimizer` does not move alpha within what the relaxation takes alpha for."""
    keeps, name = getattr(optimizer, "keeps_simplex", False), type(optimizer).__name__
    on_simplex = any(relaxation.on_simplex for relaxation in architecture.relaxations.values())
    if all(group.get("lr") == 0 for group in optimizer.param_groups):
        raise UserError(
            f"arch_optimizer: {name} with lr=0 never moves alpha; give more (protocol.adam.lr, arch_optimizer.lr), or "
            "bilevel=fixed for that."
        )
    if on_simplex and not keeps:
        raise UserError(
            f"arch_optimizer: {name} does not keep alpha on the simplex, where the relaxation has it; set "
            "arch_optimizer=exponentiated_gradient."
        )
    if keeps and not on_simplex:
        raise UserError(
            f"arch_optimizer: {name} moves points of the simplex, which the relaxation's alpha is not; set "
            "relaxation=simplex, or arch_optimizer=adam."
        )


def check_derive(space: SearchSpace, rule: DeriveRule, halves: HalfSteps) -> None:
    """UserError where what `rule` makes of the start of the search is no architecture of `space`."""
    try:
        space.check(derived(space.name, rule, halves.architecture.snapshot()), "what it derives")
    except (UserError, ValueError, LookupError) as error:
        raise UserError(
            f"derive: the rule {type(rule).__name__} does not fit space {space.name} ({str(error).rstrip('.')}); leave "
            f"derive=null for the space's own rule, {type(space.rule).__name__}."
        ) from error


def check_side(space: SearchSpace, side: int) -> None:
    """UserError where images of `side` pixels do not pass through the networks of `space`."""
    if side % space.side_multiple:
        below = side // space.side_multiple * space.side_multiple
        fitting = f"{below} or {below + space.side_multiple}" if below else f"{space.side_multiple}"
        raise UserError(
            f"images of {side} pixels do not pass through the networks of space {space.name}, which need a multiple of "
            f"{space.side_multiple}; set dataset.image_size={fitting}."
        )


def check_arch_start(arch_start: int | float, epochs: int, bilevel: Bilevel, stages: Stages | None) -> None:
    """UserError where a run of `epochs` ends before alpha's first step, unless it has none on purpose."""
    if bilevel.batches and stages is not None and not any(map(stages.trains_alpha, range(epochs))):
        raise UserError(
            "stages: alpha rests in all of them, so its random start would be what is found; give one of them a smaller "
            "arch_start (stages.stages.<name>.arch_start=), or bilevel=fixed for that."
        )
    if bilevel.batches and whole_epochs(arch_start, epochs) >= epochs:
        raise UserError(
            f"model.arch_start={arch_start} leaves none of the {epochs} epochs of trainer.max_epochs to train alpha in, so its "
            "random start would be what is found; give fewer epochs or a smaller fraction, or bilevel=fixed for that."
        )


def check_lengths(epochs: int, choices: Mapping[str, object]) -> None:
    """UserError where one of `choices`, by their names, takes a run of `epochs` for one of another length."""
    for name, choice in choices.items():
        length = getattr(choice, "epochs", epochs)
        goes_by_the_run = type(choice).__module__.startswith("nas_lightning.") and not isinstance(choice, AfterEpochs)
        if goes_by_the_run and length != epochs:
            raise UserError(
                f"{name}.epochs={length} is to be the run's length, which is trainer.max_epochs={epochs}; leave it out, and "
                "give that."
            )


def check_kept(space: SearchSpace, stages: Stages | None) -> None:
    """UserError where a stage is to keep more candidates than any edge has."""
    most = max(len(spec.operations) for spec in space.cells.values())
    for name, stage in {} if stages is None else stages.stages.items():
        if stage.keep is not None and stage.keep > most:
            raise UserError(
                f"stages.stages.{name}.keep={stage.keep} is more than the {most} operations of space {space.name}; give fewer, "
                "or null to keep all."
            )


def check_auxiliary(space: SearchSpace, discretise: str) -> None:
    """UserError where the discretised accuracy is to be measured beside skip connections that there are not."""
    has_one = any(spec.auxiliary_skip is not None for spec in space.cells.values())
    if any(spec.auxiliary_mean for spec in space.cells.values()) and not has_one:
        raise UserError(
            "space.auxiliary_mean=true is the mean with space.auxiliary_skip, which is null; give one, as in "
            "'space.auxiliary_skip={start: 1, end: 1}', or drop space.auxiliary_mean."
        )
    if discretise == "with_auxiliary" and not has_one:
        raise UserError(
            "model.discretise=with_auxiliary measures beside space.auxiliary_skip, which is null; give one, as in "
            "'space.auxiliary_skip={start: 1, end: 1}', or model.discretise=derived."
        )


def check_skip_dropout(space: SearchSpace) -> None:
    """UserError where no edge has a candidate that it would act on."""
    wanted = any(spec.skip_dropout is not None for spec in space.cells.values())
    if wanted and not any("skip_connect" in spec.operations for spec in space.cells.values()):
        raise UserError(
            "space.skip_dropout acts on candidate skip connections, which this space has none of; drop it or choose another."
        )


def check_temperature(architecture: Architecture, schedule: object) -> None:
    """UserError where `schedule` moves a temperature that no relaxation looks at."""
    relaxations = architecture.relaxations.values()
    if not (any(relaxation.uses_temperature for relaxation in relaxations) or isinstance(schedule, Constant | None)):
        names = " and ".join(sorted({type(relaxation).__name__ for relaxation in relaxations}))
        raise UserError(
            f"sched: {type(schedule).__name__} moves the temperature, which the relaxation ({names}) does not look at; set "
            "sched=constant, or another relaxation."
        )


def check_penalty_fits(architecture: Architecture, penalty: object) -> None:
    """UserError where `penalty`, or one of several, reads alpha as the parameters of another relaxation."""
    for part in getattr(penalty, "penalties", (penalty,)):
        needs: Any = getattr(part, "relaxation", None)
        for relaxation in architecture.relaxations.values() if isinstance(needs, type) else ():
            if not isinstance(relaxation, needs):
                raise UserError(
                    f"penalty: {type(part).__name__} takes alpha for the parameters of {needs.__name__}, which "
                    f"{type(relaxation).__name__} does not; set relaxation={needs.__name__.lower()}, or drop it (~penalty)."
                )


def check_widening(supernet: nn.Module, stages: Stages | None) -> None:
    """UserError where operations of `supernet` cannot get as wide as a stage wants them."""
    wanted = [] if stages is None else [s.partial for s in stages.stages.values() if s.partial is not None]
    for cell in supernet.cells() if wanted else ():  # type: ignore[operator]
        if not hasattr(cell, "widen"):
            raise UserError(
                f"stages: partial cannot be had, since {type(cell).__name__} has no method `widen`; leave it out."
            )
        for now, partial in pairwise([cell.partial, *wanted]):
            widened_channels(cell.width, partial, now)


def check_measures(names: Collection[str], compiled: bool) -> None:
    """UserError for what is measured after epochs and cannot be had together with the run's settings."""
    if compiled and "hessian_eigenvalue" in names:
        raise UserError(
            "trainer.compile=true cannot be had with hessian_eigenvalue, for compiled cells have no second derivative; "
            "drop one of the two."
        )


def check_stages(decision: object, stages: Stages | None, stop: object) -> None:
    """UserError for what acts between epochs and cannot be had together."""
    if decision is not None and isinstance(stop, AfterEpochs) and stop.epochs == 1:
        raise UserError("decision is never asked in a search that stop ends after one epoch; drop one of the two.")
    if stages is None:
        return
    if decision is not None and any(stage.decision is not None for stage in stages.stages.values()):
        raise UserError("decision and a decision of stages cannot be had together; drop one of the two.")
    if stop is not None:
        raise UserError("stop cannot be had with stages, whose last part it would leave out; drop one of the two.")


def check_batches(graphs: bool, grow: bool) -> None:
    """UserError for batches that a graph, captured once for one shape, would leave to the eager step."""
    if graphs and grow:
        raise UserError("trainer.graphs=true cannot be had with data.batch_growth; drop one of the two.")


def check_ends(space: SearchSpace, *choices: object) -> None:
    """UserError where a stop or selection of `choices` waits for what no architecture of `space` has."""
    for choice in choices:
        check_cells = getattr(choice, "check_cells", None)
        if check_cells is not None:
            check_cells(space.cells)
