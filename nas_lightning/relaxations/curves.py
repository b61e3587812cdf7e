"""What needs no search: the curves of figures 2 and 3 of arXiv 2306.06855, computed with the code that searches.

Letters: E edges (random draws), O operations.
"""

from collections.abc import Mapping

import torch

from nas_lightning.relaxations import sn_softmax
from nas_lightning.schedules import Exponential, Linear

Curve = tuple[list[float], list[float]]  # x, y

_SCALES = (10, 50, 100, 1000)


def random_alpha(edges: int, operations: int, seed: int = 0) -> torch.Tensor:
    """alpha_EO as a search starts with it: 1e-3 * N(0, 1), float64."""
    generator = torch.Generator().manual_seed(seed)
    return 1e-3 * torch.randn(edges, operations, generator=generator, dtype=torch.float64)


def gradient_norms(edges: int = 500, operations: int = 5, points: int = 61) -> dict[str, Curve]:
    """Figure 2A: L2 norm of dL/dalpha, the median over `edges` draws, against t from 1 to 1e-6.

    alpha ~ 1e-3 N(0, 1) and dL/dbeta ~ N(0, 1), the same draws for every curve. The median, because the few draws with two
    nearly equal logits saturate last and would rule a mean. The paper does not publish its axes and numbers: this is our
    reading of its caption.
    """
    alpha_EO = random_alpha(edges, operations)
    v_EO = torch.randn(alpha_EO.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    temperatures = torch.logspace(0, -6, points, dtype=torch.float64).tolist()

    def curve(second: Mapping[float, float | None]) -> Curve:
        norms = []
        for t in temperatures:
            leaf = alpha_EO.clone().requires_grad_()
            sn_softmax(leaf, t, second[t]).backward(v_EO)
            assert leaf.grad is not None
            norms.append(leaf.grad.norm(dim=-1).median().item())
        return temperatures, norms

    curves = {"softmax": curve(dict.fromkeys(temperatures))}
    curves |= {f"sn-softmax, s={s}": curve({t: s * t for t in temperatures}) for s in _SCALES}
    return curves | {"sn-softmax, st=1": curve(dict.fromkeys(temperatures, 1.0))}


def schedule_entropies(steps: int = 20, edges: int = 20_000, operations: int = 5) -> dict[str, Curve]:
    """Figure 2B: mean entropy (nats) of softmax(alpha / t) at the points of ETS and LTS from t = 1 to 1e-3, same alpha."""
    alpha_EO = random_alpha(edges, operations)
    points = [float(n) for n in range(steps + 1)]
    return {name: (points, [_entropy(alpha_EO, t) for t in ts]) for name, ts in schedule_example(steps).items()}


def schedule_example(steps: int = 4) -> dict[str, list[float]]:
    """Figure 3: the temperatures of ETS and LTS from t = 1 to 1e-3 in `steps` steps."""
    ets, lts = Exponential(epochs=steps + 1), Linear(epochs=steps + 1)
    return {"ETS": [ets.at(n) for n in range(steps + 1)], "LTS": [lts.at(n) for n in range(steps + 1)]}


def _entropy(alpha_EO: torch.Tensor, temperature: float) -> float:
    log_p = torch.log_softmax(alpha_EO / temperature, -1)
    return -(log_p.exp() * log_p).sum(-1).mean().item()
