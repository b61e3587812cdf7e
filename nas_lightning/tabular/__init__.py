"""Benchmarks: a genotype to its tabulated accuracies."""

# Not nb201: `python -m nas_lightning.tabular.nb201` would load it twice.
from nas_lightning.tabular.base import Benchmark, look_up, no_benchmark, sources_of

__all__ = ["Benchmark", "look_up", "no_benchmark", "sources_of"]
