"""Time the NAS-Bench-201 bilevel step against the per-edge reference: interleaved A B A B, medians, ratios.

    python benchmarks/step.py [--channels 16] [--cells 5] [--batch 64] [--rounds 5]

One bilevel step is one weight step (forward, backward to the weights) and one architecture step (forward, backward to
alpha). Optimiser updates are left out: they are the same few milliseconds for both. The sparse row is a one-hot beta, the
end of an EDD search; the reference computes all operations there too, as the field's implementations do.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.reference import ReferenceSupernet
from nas_lightning.banks import EdgeWeights
from nas_lightning.spaces import NB201

Step = Callable[[], None]


def steps(channels: int, cells: int, batch: int, size: int) -> dict[str, tuple[Step, Step]]:
    """Half step -> (ours, the reference's)."""
    torch.manual_seed(0)
    space = NB201(C=channels, N=cells)
    supernet = space.supernet(10)
    reference = ReferenceSupernet(supernet)
    x, y = torch.randn(batch, 3, size, size), torch.randint(10, (batch,))
    x_last = x.contiguous(memory_format=torch.channels_last)
    logits = (1e-3 * torch.randn(6, 5)).requires_grad_()
    candidates = space.cells["cell"].candidates
    one_hot = F.one_hot(torch.tensor([3, 1, 3, 2, 4, 3]), 5).float()

    def ours_weights(beta: torch.Tensor) -> None:
        supernet.zero_grad()
        edges = EdgeWeights(beta, (beta > 0).tolist())
        F.cross_entropy(supernet(x_last, {"cell": edges}), y).backward()

    def reference_weights(beta: torch.Tensor) -> None:
        reference.zero_grad()
        F.cross_entropy(reference(x, beta), y).backward()

    def ours_alpha() -> None:
        edges = EdgeWeights(torch.softmax(logits, -1), candidates)
        torch.autograd.grad(F.cross_entropy(supernet(x_last, {"cell": edges}), y), logits)

    def reference_alpha() -> None:
        # As published: loss.backward() with the weights' gradients computed and thrown away.
        reference.zero_grad()
        F.cross_entropy(reference(x, torch.softmax(logits, -1)), y).backward()

    dense = torch.softmax(logits, -1).detach()
    return {
        "weight step, dense beta": (lambda: ours_weights(dense), lambda: reference_weights(dense)),
        "weight step, one-hot beta": (lambda: ours_weights(one_hot), lambda: reference_weights(one_hot)),
        "architecture step": (ours_alpha, reference_alpha),
    }


def seconds(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("channels", 16), ("cells", 5), ("batch", 64), ("size", 32), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args}")
    medians: dict[str, tuple[float, float]] = {}
    for name, pair in steps(args.channels, args.cells, args.batch, args.size).items():
        times = [[seconds(step) for step in pair] for _ in range(args.rounds + 1)][1:]
        ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
        medians[name] = ours, theirs
        print(f"{name:28s} ours {ours:7.3f} s   per-edge {theirs:7.3f} s   ratio {theirs / ours:5.2f}", flush=True)
    for late in ("dense", "one-hot"):
        ours, theirs = (medians[f"weight step, {late} beta"][i] + medians["architecture step"][i] for i in (0, 1))
        print(f"{'bilevel step, ' + late:28s} ours {ours:7.3f} s   per-edge {theirs:7.3f} s   ratio {theirs / ours:5.2f}")


if __name__ == "__main__":
    main()
