"""Architectures as plain frozen data, with the field's own texts. Nothing here imports torch or evaluates text."""

from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.genotypes.darts import check_darts, check_kept, is_published, known_genotype, parse_darts
from nas_lightning.genotypes.nb201 import (
    NB201_EDGES,
    NB201_OPERATIONS,
    nb201_genotype,
    nb201_string,
    parse_nb201,
    read_nb201,
)

__all__ = [
    "NB201_EDGES",
    "NB201_OPERATIONS",
    "Choice",
    "Genotype",
    "check_darts",
    "check_kept",
    "is_published",
    "known_genotype",
    "nb201_genotype",
    "nb201_string",
    "parse_darts",
    "parse_nb201",
    "read_nb201",
]
