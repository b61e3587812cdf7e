"""Second derivatives of a search's loss with respect to alpha.

Letters: N candidates of all cell types together.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nas_lightning.bilevel.base import Batch, frozen, restored
from nas_lightning.supernet.halves import HalfSteps
from nas_lightning.supernet.ranks import mean_over_ranks_

TOLERANCE = 1e-4


def hessian_product(halves: HalfSteps, batch: Batch) -> Callable[[Tensor], Tensor]:
    """v_N -> H_NN v_N, both float64 on the CPU, for H the Hessian of the cross entropy with respect to alpha.

    At the relaxation's deterministic weights: those are differentiable twice where a gradient is an estimate (sn-softmax) or
    beta a draw. N is the candidates that are left, of all cell types; alphas of edges as wholes are constants. Each product
    is one backward pass through the graph of the gradient, which is kept. Over all ranks.
    """
    architecture = halves.architecture
    leaves = list(architecture.alpha.values())
    masks = [architecture.mask(name) for name in architecture.alpha]

    def candidates(values: Sequence[Tensor]) -> Tensor:
        return torch.cat([value_EO[mask_EO] for value_EO, mask_EO in zip(values, masks, strict=True)])

    with torch.enable_grad(), frozen(halves.supernet), restored(halves.supernet.buffers()):
        betas = {name: cell.probabilities_EO for name, cell in architecture.view().items()}
        loss, _ = halves.loss_at(batch, architecture.weights(betas, architecture.candidates))
        gradient_N = candidates(torch.autograd.grad(loss, leaves, create_graph=True, materialize_grads=True))

    def product(v_N: Tensor) -> Tensor:
        columns = torch.autograd.grad(gradient_N, leaves, v_N.to(gradient_N), retain_graph=True, materialize_grads=True)
        moved_N = candidates(columns)
        mean_over_ranks_([moved_N])
        return moved_N.double().cpu()

    return product


def largest_eigenvalue(product: Callable[[Tensor], Tensor], start_N: Tensor) -> float:
    """The largest eigenvalue (not by absolute value) of a symmetric matrix that is known by its products with vectors.

    Lanczos' iteration with full reorthogonalisation, from start_N, a random float64 vector. It ends when the residual of the
    largest Ritz pair is below 1e-4 of its value, which is then off by about the residual's square over the gap to the next
    eigenvalue; at the latest after N products, and then it is exact.
    """
    basis = [start_N / start_N.norm()]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    while True:
        w_N = product(basis[-1])
        diagonal.append(w_N @ basis[-1])
        done_KN = torch.stack(basis)
        for _ in range(2):  # once leaves a rounding error that grows
            w_N = w_N - (done_KN @ w_N) @ done_KN
        length = w_N.norm()
        tridiagonal_KK = torch.diag(torch.stack(diagonal))
        if beside:
            tridiagonal_KK += torch.diag(torch.stack(beside), 1) + torch.diag(torch.stack(beside), -1)
        values, vectors = torch.linalg.eigh(tridiagonal_KK)
        residual = length * vectors[-1, -1].abs()
        if len(basis) == len(start_N) or residual <= TOLERANCE * values[-1].abs():
            return float(values[-1])
        beside.append(length)
        basis.append(w_N / length)
