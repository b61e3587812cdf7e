"""What the search asks of a benchmark."""

import logging
from typing import Protocol

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype

log = logging.getLogger("nas_lightning")


class Benchmark(Protocol):
    """Looks up the accuracies of architectures that somebody has trained before.

    sources: what the numbers were read from, for the report.
    """

    @property
    def sources(self) -> tuple[str, ...]: ...

    def query(self, genotype: Genotype) -> dict[str, float]:
        """Accuracies in percent, averaged over the seeds, keyed `<dataset>_<split>_<epochs>`: `cifar10_test_200`.

        Raises UserError for a genotype of another space and for one that the benchmark does not hold.
        """
        ...


def look_up(benchmark: Benchmark | None, genotype: Genotype) -> dict[str, float]:
    """The benchmark's scores in percent; none without a benchmark, or where a partial table lacks the architecture."""
    if benchmark is None:
        return {}
    try:
        return benchmark.query(genotype)
    except UserError as error:
        log.warning("No score: %s", error)
        return {}


def sources_of(benchmark: Benchmark | None) -> list[str]:
    """For the report; none without a benchmark, or of a user's own that does not say."""
    return list(getattr(benchmark, "sources", ()))


def no_benchmark() -> None:
    """`benchmark=none`: the search runs without table scores."""
