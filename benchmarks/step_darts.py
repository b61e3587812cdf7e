"""Time the DARTS-space bilevel step against the per-edge reference: interleaved A B A B, medians of CPU time, ratios, peaks.

    python -m benchmarks.step_darts [--partial 4] [--channels 16] [--cells 8] [--batch 16] [--rounds 5]

One bilevel step is one weight step (forward, backward to the weights) and one architecture step (forward, backward to
alpha, and to the edges' logits with --partial). Optimiser updates are left out. The sparse row is a one-hot beta, the end
of an EDD search; the reference computes all operations there too, as the field's implementations do. CPU time, summed
over threads, depends little on what else the machine does. Peaks are those of a process that runs one implementation.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.reference_darts import ReferenceDartsSupernet
from nas_lightning.architecture import Architecture
from nas_lightning.banks import EdgeWeights
from nas_lightning.relaxations import Softmax
from nas_lightning.spaces import DARTS

Step = Callable[[], None]
Weights = dict[str, EdgeWeights]


def steps(args: argparse.Namespace) -> dict[str, tuple[Step, Step]]:
    """Half step -> (ours, the reference's)."""
    torch.manual_seed(0)
    partial = args.partial > 1
    space = DARTS(C=args.channels, num_cells=args.cells, none=True, partial=args.partial, edge_weights=partial)
    supernet = space.supernet(10)
    reference = ReferenceDartsSupernet(supernet, space.cells)
    architecture = Architecture(space.cells, Softmax(), torch.Generator().manual_seed(0))
    leaves = list(architecture.parameters())
    x, y = torch.randn(args.batch, 3, args.size, args.size), torch.randint(10, (args.batch,))

    def one_hot() -> Weights:
        weights = {}
        for cell, edges in architecture.constant().items():
            best = F.one_hot(torch.randint(1, 8, (14,), generator=torch.Generator().manual_seed(0)), 8)
            weights[cell] = EdgeWeights(best.float(), best.bool().tolist(), edges.edge_E)
        return weights

    def of_reference(weights: Weights, beta: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        edge = {cell: w.edge_E for cell, w in weights.items()} if partial else None
        plain = beta or {cell: w.beta_EO / (1 if w.edge_E is None else w.edge_E[:, None]) for cell, w in weights.items()}
        return F.cross_entropy(reference(x, plain, edge), y)

    def ours(weights: Weights) -> None:
        supernet.zero_grad()
        F.cross_entropy(supernet(x, weights), y).backward()

    def theirs(weights: Weights) -> None:
        reference.zero_grad()
        of_reference(weights).backward()

    def ours_alpha() -> None:
        supernet.requires_grad_(False)
        loss = F.cross_entropy(supernet(x, architecture.relaxed()), y)
        torch.autograd.grad(loss, leaves)
        supernet.requires_grad_(True)

    def theirs_alpha() -> None:
        # As published: loss.backward() with the weights' gradients computed and thrown away.
        reference.zero_grad()
        of_reference(architecture.relaxed(), architecture.beta()).backward()

    return {
        "weight step, dense beta": (lambda: ours(architecture.constant()), lambda: theirs(architecture.constant())),
        "weight step, one-hot beta": (lambda: ours(one_hot()), lambda: theirs(one_hot())),
        "architecture step": (ours_alpha, theirs_alpha),
    }


def seconds(step: Step) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start


def peak_mb(args: argparse.Namespace, name: str, index: int) -> float:
    """What two steps add to the process's peak."""
    step = steps(args)[name][index]
    before = high_water_mb()
    for _ in range(2):
        step()
    return high_water_mb() - before


def high_water_mb() -> float:
    """Linux only; getrusage's peak would be the parent process's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def report(name: str, ours: float, theirs: float) -> None:
    print(f"{name:28s} ours {ours:7.3f} s   per-edge {theirs:7.3f} s   ratio {theirs / ours:5.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = {"channels": 16, "cells": 8, "batch": 16, "size": 32, "partial": 1, "rounds": 5}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args}")
    medians: dict[str, tuple[float, float]] = {}
    for name, pair in steps(args).items():
        times = [[seconds(step) for step in pair] for _ in range(args.rounds + 1)][1:]
        ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
        medians[name] = ours, theirs
        report(name, ours, theirs)
    for late in ("dense", "one-hot"):
        ours, theirs = (medians[f"weight step, {late} beta"][i] + medians["architecture step"][i] for i in (0, 1))
        report(f"bilevel step, {late}", ours, theirs)
    for name in ("weight step, dense beta", "architecture step"):
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            ours, theirs = (pool.apply(peak_mb, (args, name, index)) for index in (0, 1))
        print(f"{name:28s} ours {ours:7.0f} MB  per-edge {theirs:7.0f} MB  ratio {theirs / ours:5.2f}", flush=True)


if __name__ == "__main__":
    main()
