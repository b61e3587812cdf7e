"""The CSV files of a run: one row an epoch, however often the run was interrupted."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.files import write_text_atomically
from nas_lightning.records.received import received_table

Row = dict[str, float | str]


@dataclass(frozen=True)
class EpochRecord:
    """A finished epoch of a search, counted from 0: what was logged, and the architecture it would have ended with.

    alpha: of every candidate by its name, `alpha/<cell>/<edge>/<operation>`, with six digits.
    """

    epoch: int
    metrics: Mapping[str, float]
    genotype: Genotype
    alpha: Mapping[str, float] = field(default_factory=dict)


def epoch_records(metrics: Sequence[Row], architectures: Sequence[Row]) -> list[EpochRecord]:
    """Of the epochs that both files of a search hold: metrics.csv and architecture.csv."""
    beside = {int(row["epoch"]): row for row in architectures}
    return [
        EpochRecord(
            int(row["epoch"]),
            {name: value for name, value in row.items() if not isinstance(value, str)},
            Genotype.from_json(str(beside[int(row["epoch"])]["architecture"])),
            {name: float(value) for name, value in beside[int(row["epoch"])].items() if name.startswith("alpha/")},
        )
        for row in metrics
        if int(row["epoch"]) in beside
    ]


class EpochFile:
    """A CSV file with one row an epoch, replaced as a whole by every new row; text is only in the column `architecture`.

    What was written is kept as text, so that late epochs cost no more than early ones.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._columns: dict[str, None] = {}
        self._lines: list[str] = []

    def keep(self, before: int) -> None:
        """Go on with what the file holds of the epochs below `before`."""
        self.rows = [row for row in read_rows(self.path) if int(row["epoch"]) < before]
        self._columns, self._lines = {}, []

    def write(self) -> None:
        """Write all of `rows`; those written before must not have changed."""
        added = self.rows[len(self._lines) :]
        if not all(name in self._columns for row in added for name in row):
            self._columns = {name: None for row in self.rows for name in row if name != "architecture"}
            if any("architecture" in row for row in self.rows):
                self._columns["architecture"] = None
            added, self._lines = self.rows, []
        self._lines += [_line([row.get(name, "") for name in self._columns]) for row in added]
        write_text_atomically(self.path, _line(list(self._columns)) + "".join(self._lines))


def _line(cells: Sequence[float | str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def read_rows(path: Path) -> list[Row]:
    """The rows of a metrics.csv, none where there is no such file; blank cells are left out of their row."""
    if not os.path.lexists(path):
        return []
    try:
        names, *lines = received_table(path) or [[]]
        return [
            {name: _cell(name, value) for name, value in zip(names, line, strict=True) if value != ""} for line in lines
        ]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); delete the run's folder to start it anew.") from error


def _cell(name: str, value: str) -> float | str:
    if name == "architecture":
        return value
    return int(value) if name == "epoch" else float(value)
