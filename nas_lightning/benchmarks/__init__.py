"""Benchmarks: a genotype to its tabulated accuracies."""

# Not nb201: `python -m nas_lightning.benchmarks.nb201` would load it twice.
from nas_lightning.benchmarks.base import Benchmark, no_benchmark

__all__ = ["Benchmark", "no_benchmark"]
