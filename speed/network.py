"""Time a training step of the evaluation network against a plain one: interleaved A B A B, medians, ratios.

    python -m speed.network [--genotype DARTS_V2] [--channels 16] [--cells 8] [--batch 32] [--rounds 7]

The plain network has the same layers and memory format, but every operation applies its own ReLU, as the field's programs do.
"""

import argparse
import copy
import statistics
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_lightning.spaces import DARTS
from nas_lightning.spaces.darts.network import DartsCell


class PlainCell(nn.Module):
    """An own ReLU for every operation that starts with one."""

    def __init__(self, cell: DartsCell) -> None:
        super().__init__()
        self.preprocess = nn.ModuleList(nn.Sequential(nn.ReLU(), module) for module in cell.preprocess)
        self.operations = nn.ModuleList(
            nn.Sequential(nn.ReLU(), edge.operation) if edge.takes_relu else edge.operation for edge in cell.edges
        )
        self.sources = [edge.source for edge in cell.edges]
        self.output_nodes = cell.output_nodes

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        nodes = [self.preprocess[0](before), self.preprocess[1](last)]
        for first in range(0, len(self.sources), 2):
            a, b = (self.operations[i](nodes[self.sources[i]]) for i in (first, first + 1))
            nodes.append(a + b)
        return torch.cat([nodes[node] for node in self.output_nodes], 1)


def plain(network: nn.Module) -> nn.Module:
    """The same network, with the same weights, of plain cells."""
    copied = copy.deepcopy(network)
    copied.cells = nn.ModuleList(PlainCell(cell) for cell in copied.cells)
    return copied


def seconds(network: nn.Module, x: Tensor, y: Tensor) -> float:
    start = time.perf_counter()
    network.zero_grad()
    F.cross_entropy(network(x), y).backward()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genotype", default="DARTS_V2")
    for name, default in (("channels", 16), ("cells", 8), ("batch", 32), ("rounds", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args}")
    torch.manual_seed(0)
    space = DARTS(C=args.channels, num_cells=args.cells)
    ours = space.network(space.parse(args.genotype), 10)
    theirs = plain(ours)
    x, y = torch.randn(args.batch, 3, 32, 32), torch.randint(10, (args.batch,))
    times = [(seconds(ours, x, y), seconds(theirs, x, y)) for _ in range(args.rounds + 1)][1:]
    a, b = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"training step: ours {a:.3f} s   plain {b:.3f} s   ratio {b / a:.2f}")


if __name__ == "__main__":
    main()
