"""The compact NAS-Bench-201 table: one row for each of the 15,625 architectures (arXiv 2001.00326)."""

import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_lightning.errors import UserError, brief
from nas_lightning.genotypes.base import Genotype
from nas_lightning.genotypes.nb201 import NB201_EDGES, NB201_OPERATIONS, nb201_genotype, nb201_string, read_nb201
from nas_lightning.records.files import replace_atomically

NB201_SIZE = len(NB201_OPERATIONS) ** len(NB201_EDGES)
# CIFAR-10 validation comes from networks trained on half of the training images, CIFAR-10 test from all of them.
NB201_SPLITS = (
    "cifar10_valid",
    "cifar10_test",
    "cifar100_valid",
    "cifar100_test",
    "imagenet16_120_valid",
    "imagenet16_120_test",
)

SPACE = "nb201"
CONVERT = "python -m nas_lightning.tabular.nb201 convert"

_SCHEMAS = {"nas_lightning nb201 table 1": np.float32, "nas_lightning nb201 table 2": np.uint16}
"""What a file says it is -> the numbers it holds: percent, or hundredths of a percent."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, RuntimeError)  # what reading a damaged archive raises besides
_UNKNOWN = 65_535  # of hundredths
_COLUMN = re.compile(rf"({'|'.join(NB201_SPLITS)})_([1-9][0-9]*)")
_DIGIT = {operation: digit for digit, operation in enumerate(NB201_OPERATIONS)}


def nb201_code(genotype: Genotype) -> int:
    """The row of a NAS-Bench-201 genotype: its operations as a base-5 number, first edge first.

    Raises UserError for a genotype of another space.
    """
    try:
        if genotype.space != SPACE:
            raise ValueError
        code = 0
        for edge, choice in zip(NB201_EDGES, genotype.cells["cell"], strict=True):
            if edge != (choice.source, choice.target):
                raise ValueError
            code = code * len(NB201_OPERATIONS) + _DIGIT[choice.operation]
        return code
    except (ValueError, KeyError) as error:
        raise UserError(
            f"the genotype {genotype.cells} of space {genotype.space!r} is not in the NAS-Bench-201 table; "
            "search with space=nb201 or set benchmark=none."
        ) from error


def nb201_decode(code: int) -> str:
    """The architecture string of a row, 0 to 15,624: the inverse of `nb201_code`."""
    base = len(NB201_OPERATIONS)
    digits = [code // base**place % base for place in reversed(range(len(NB201_EDGES)))]
    return nb201_string(nb201_genotype(tuple(NB201_OPERATIONS[digit] for digit in digits)))


@dataclass(frozen=True, eq=False)
class NB201Table:
    """Accuracies of NAS-Bench-201 architectures; a `Benchmark`.

    accuracy: float32, (15,625, columns), in percent, row `nb201_code(genotype)`; NaN where unknown.
    columns: names `<dataset>_<split>_<epochs>`, such as `cifar10_test_200`.
    sources: the files that the numbers were read from.
    """

    accuracy: NDArray[np.float32]
    columns: tuple[str, ...]
    sources: tuple[str, ...]

    @classmethod
    def from_rows(cls, columns: Sequence[str], rows: Mapping[int, Sequence[float]], source: str) -> "NB201Table":
        """Make a table of `rows`, which maps the row number to the accuracies in the order of `columns`."""
        accuracy = np.full((NB201_SIZE, len(columns)), np.nan, np.float32)
        for code, values in rows.items():
            accuracy[code] = values
        return cls(accuracy, tuple(columns), (source,))

    @classmethod
    def merge(cls, tables: Sequence["NB201Table"]) -> "NB201Table":
        """Put the columns of several tables side by side; a column that two of them hold raises UserError."""
        owner: dict[str, str] = {}
        for table in tables:
            for column in table.columns:
                if column in owner:
                    raise UserError(
                        f"column {column} is both in {owner[column]} and in {table.sources[0]}; name only one of them."
                    )
                owner[column] = table.sources[0]
        accuracy = np.concatenate([table.accuracy for table in tables], axis=1)
        columns = [column for table in tables for column in table.columns]
        order = sorted(range(len(columns)), key=lambda i: _sort_key(columns[i]))
        sources = tuple(source for table in tables for source in table.sources)
        return cls(accuracy[:, order], tuple(columns[i] for i in order), sources)

    @classmethod
    def load(cls, path: str | Path) -> "NB201Table":
        """Read what `save` wrote; UserError if it is unreadable, truncated, something else or no percentages."""
        try:
            with np.load(path, allow_pickle=False) as file:
                schema, stored, sources = str(file["schema"]), file["accuracy"], file["sources"]
                table = cls(_percent(stored), tuple(file["columns"].tolist()), tuple(sources.ravel().tolist()))
        # A plain .npy is no context manager (TypeError, AttributeError), an encrypted member a RuntimeError.
        except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, *_DAMAGED) as error:
            whole = not Path(path).is_file() or zipfile.is_zipfile(path)
            # numpy's second sentence advises to load what may be anybody's code.
            reason = re.split(r"\.\s", str(error))[0] if whole else "it is no whole .npz file"
            raise UserError(
                f"the NAS-Bench-201 table {path} cannot be read ({reason}); make it again with `{CONVERT}`."
            ) from error
        if fault := _fault(schema, stored, [str(column) for column in table.columns], sources):
            raise UserError(f"the NAS-Bench-201 table {path} {fault}; make it again with `{CONVERT}`.")
        table.check_percentages(path)
        return table

    def check_percentages(self, place: str | Path) -> None:
        """UserError where a column of the table, read at `place`, has no number, one that is no percentage, or fractions.

        Of numbers that all are 1 and less it cannot be told whether they are fractions, so these are refused.
        """
        for name, column in zip(self.columns, self.accuracy.T, strict=True):
            known = column[~np.isnan(column)]
            if not known.size:
                raise UserError(f"the column {name} of {place} has no number; remove it or fill it in.")
            least, most = float(known.min()), float(known.max())
            if least < 0 or most > 100:
                raise UserError(
                    f"the column {name} of {place} has numbers from {least:g} to {most:g}; make them percent."
                )
            if most <= 1:
                raise UserError(
                    f"the column {name} of {place} has numbers from {least:g} to {most:g}, as fractions are; multiply them "
                    "by 100 to make them percent."
                )

    def save(self, path: str | Path, hundredths: bool = False) -> None:
        """Write the table as `.npz`, whole or not at all, without pickles; UserError if it cannot be written.

        hundredths: round to 0.01 %, which takes a third less.
        """
        if Path(path).suffix != ".npz":
            raise UserError(f"the table {path} does not end in .npz; give it a name like nb201.npz.")
        with replace_atomically(path) as temporary:
            np.savez_compressed(
                temporary,
                schema=np.array(list(_SCHEMAS)[hundredths]),
                columns=np.array(self.columns),
                sources=np.array(self.sources),
                accuracy=_hundredths(self.accuracy) if hundredths else self.accuracy,
            )

    def __len__(self) -> int:
        """How many architectures have at least one accuracy."""
        return int((~np.isnan(self.accuracy)).any(axis=1).sum())

    def query(self, genotype: Genotype) -> dict[str, float]:
        """The known accuracies of an architecture, in percent to four decimals; UserError if there are none."""
        values = self.accuracy[nb201_code(genotype)].tolist()
        scores = {name: round(value, 4) for name, value in zip(self.columns, values, strict=True) if value == value}
        if not scores:
            made_from = ", ".join(self.sources)
            raise UserError(f"the architecture {genotype} is not in the table of {made_from}; use a fuller one.")
        return scores

    def query_string(self, text: str) -> dict[str, float]:
        """`query` of the benchmark's string, such as `|none~0|+|none~0|none~1|+|none~0|none~1|none~2|`, or of an index."""
        return self.query(read_nb201(text))


def _fault(schema: str, stored: NDArray[Any], columns: Sequence[str], sources: NDArray[Any]) -> str:
    """What keeps the arrays of a file from being a table's, or an empty string."""
    if schema not in _SCHEMAS:
        return f"has the schema {brief(schema)}, which is none of {', '.join(map(repr, _SCHEMAS))}"
    if unknown := [column for column in columns if not _COLUMN.fullmatch(column)]:
        return f"has the column {brief(unknown[0])}, which is no accuracy such as cifar10_test_200"
    if doubled := [column for column in columns if columns.count(column) > 1]:
        return f"has the column {doubled[0]} twice"
    if not columns:
        return "has no columns"
    if sources.dtype.kind != "U" or sources.ndim != 1:
        return "has sources that are no list of names"
    if stored.dtype != _SCHEMAS[schema]:
        return f"has numbers of {stored.dtype} where its schema has {np.dtype(_SCHEMAS[schema])}"
    if stored.shape != (NB201_SIZE, len(columns)):
        return (
            f"has accuracies {[*stored.shape]} where {[NB201_SIZE, len(columns)]} belong to its {len(columns)} columns"
        )
    return ""


def _hundredths(percent: NDArray[np.float32]) -> NDArray[np.uint16]:
    known = ~np.isnan(percent)
    return np.where(known, np.rint(100 * np.where(known, percent, 0).astype(np.float64)), _UNKNOWN).astype(np.uint16)


def _percent(stored: NDArray[Any]) -> NDArray[np.float32]:
    if stored.dtype != np.uint16:
        return stored
    return np.where(stored == _UNKNOWN, np.nan, stored / 100).astype(np.float32)


def _sort_key(column: str) -> tuple[int, int]:
    match = _COLUMN.fullmatch(column)
    assert match is not None
    return NB201_SPLITS.index(match[1]), int(match[2])
