"""What a search's choices answer, asked once before it starts: a class may be a user's own, and a wrong answer would pass.

Letters: E edges, O operations.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from nas_lightning.bilevel.base import Bilevel
from nas_lightning.errors import UserError, brief
from nas_lightning.relaxations import CellView
from nas_lightning.supernet.halves import HalfSteps


@torch.no_grad()
def check_relaxation(view: Mapping[str, CellView]) -> None:
    """UserError where beta is no weights of the candidates, of all and of all but the first of each edge."""
    for cell in view.values():
        if cell.alpha_EO.shape != cell.mask_EO.shape:
            raise _refusal(
                "relaxation",
                cell.relaxation,
                f"starts with alpha {[*cell.alpha_EO.shape]} where the mask is {[*cell.mask_EO.shape]}",
            )
        is_first_EO = cell.mask_EO & (cell.mask_EO.cumsum(-1) == 1) & (cell.mask_EO.sum(-1, keepdim=True) > 1)
        for mask_EO in (cell.mask_EO, cell.mask_EO & ~is_first_EO):
            fault = _fault_of_beta(cell, mask_EO)
            if fault:
                raise _refusal("relaxation", cell.relaxation, fault)


def _fault_of_beta(cell: CellView, mask_EO: Tensor) -> str | None:
    relaxation, generator = cell.relaxation, torch.Generator().manual_seed(0)
    drawn = relaxation.draw(cell.alpha_EO, mask_EO, cell.temperature, generator)
    drawn = drawn if drawn is None else relaxation.passes(drawn)[0]
    beta_EO = relaxation(cell.alpha_EO, mask_EO, cell.temperature, drawn)
    if not isinstance(beta_EO, Tensor) or beta_EO.shape != mask_EO.shape:
        return f"gives {_described(beta_EO)} for alpha {[*mask_EO.shape]}"
    if not beta_EO.isfinite().all():
        return "gives weights that are not finite where the search starts"
    if beta_EO[~mask_EO].any():
        return "gives weight to an operation that is no candidate (mask_EO)"
    if relaxation.sums_to_one and not torch.allclose(beta_EO.sum(-1), torch.ones(()), atol=1e-3):
        return "gives weights that do not sum to 1; set sums_to_one = False where each is a probability of its own"
    return None


def check_penalty(halves: HalfSteps) -> None:
    """UserError where the term is no scalar that leads to alpha: it would have no effect."""
    if halves.penalty is None:
        return
    term = halves.penalty_term()
    if not isinstance(term, Tensor) or term.dim() or not term.requires_grad:
        raise _refusal(
            "penalty", halves.penalty, f"gives {_described(term)}, no scalar tensor attached to alpha of this space"
        )


def check_perturbation(halves: HalfSteps) -> None:
    """UserError where what is drawn is no mapping of tensors by cell type, or what it asks for is not kept."""
    if halves.perturbation is None:
        return
    view = halves.architecture.view()
    drawn = halves.perturbation.draw(view, torch.Generator().manual_seed(0))
    kept = isinstance(drawn, Mapping) and {*drawn} <= {*view} and all(isinstance(x, Tensor) for x in drawn.values())
    if not kept:
        raise _refusal("perturbation", halves.perturbation, f"draws {_described(drawn)}, no tensors by cell type")
    if getattr(halves.perturbation, "running_statistics", False) and not halves.keeps_statistics:
        raise UserError(
            "perturbation.running_statistics=true attacks at running batch statistics, which this supernet does not keep; set "
            "it to false, or space.running_statistics=true where the space has that."
        )


def check_bilevel(bilevel: Bilevel) -> None:
    """UserError for an order of the half steps, or for parts of a batch, that there are not."""
    if bilevel.order not in ("weights_first", "arch_first"):
        raise _refusal(
            "bilevel", bilevel, f"has the order {brief(bilevel.order)}, neither weights_first nor arch_first"
        )
    if not {*bilevel.batches} <= {"train", "valid"}:  # none: alpha takes no step
        raise _refusal("bilevel", bilevel, f"has the batches {brief(bilevel.batches)}, which are of train and valid")


def _refusal(group: str, choice: object, fault: str) -> UserError:
    return UserError(f"{group}: {type(choice).__name__} {fault}; see docs/extending.md.")


def _described(value: object) -> str:
    return f"a tensor {[*value.shape]}" if isinstance(value, Tensor) else brief(value)
