"""The CSV files of a run: one row an epoch, however often the run was interrupted."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.files import not_written, write_text_atomically
from nas_lightning.records.received import parsed_table, received_table

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
    """A CSV file with one row an epoch, to which a row is appended; text is only in the column `architecture`.

    The file is a copy: a checkpoint keeps `text`, and a run that goes on begins with `write_whole`, whatever has become of the
    file meanwhile. Rows are kept as text, a tenth of what they take as numbers by name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: dict[str, None] = {}
        self._lines: list[str] = []
        self._written = -1  # bytes; -1 where the file is not as it was left

    @property
    def text(self) -> str:
        """Of the whole file, "" without rows."""
        return "".join([_line([*self._columns]), *self._lines]) if self._lines else ""

    def __len__(self) -> int:
        return len(self._lines)

    def rows(self, first: int = 0) -> list[Row]:
        """Those from the number `first` on, counted from 0."""
        return _rows([[*self._columns], *parsed_table("".join(self._lines[first:]))])

    def restore(self, text: str) -> None:
        """Go on with the rows of `text`, and nothing else."""
        self._columns, self._lines, self._written = {}, [], -1
        for row in _rows(parsed_table(text)):
            self.add(row)

    def check(self, epochs: int) -> None:
        """ValueError where the rows are not those of so many epochs: what was restored is no checkpoint of this program."""
        if [row["epoch"] for row in self.rows()] != list(range(epochs)):
            raise ValueError(f"it has {len(self)} rows of {self.path.name} for {epochs} epochs")

    def add(self, row: Row) -> None:
        """Add an epoch, which `append` then writes. A column that is new is blank in the rows before."""
        if not all(name in self._columns for name in row):
            before = self.rows()
            # Text comes last, where it is.
            self._columns = dict.fromkeys(sorted([*self._columns, *row], key="architecture".__eq__))
            self._lines = [self._cells(each) for each in before]
            self._written = -1
        self._lines.append(self._cells(row))

    def append(self) -> None:
        """Write the row that was added last; all of them where the file is not what it was before."""
        line = self._lines[-1].encode()
        try:
            if self._written != _size(self.path):
                self.write_whole()
                return
            with self.path.open("ab") as file:
                file.write(line)
        except OSError as error:
            raise not_written(self.path, error) from error
        self._written += len(line)

    def write_whole(self) -> None:
        """Replace the file by all rows; without rows there is none."""
        if self._lines:
            write_text_atomically(self.path, self.text)
        else:
            self.path.unlink(missing_ok=True)
        self._written = _size(self.path)

    def _cells(self, row: Row) -> str:
        return _line([row.get(name, "") for name in self._columns])


def _size(path: Path) -> int:
    """In bytes; -2 for no file, which is never what was written."""
    return path.stat().st_size if path.is_file() else -2


def _line(cells: Sequence[float | str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def read_rows(path: Path) -> list[Row]:
    """The rows of a metrics.csv, none where there is no such file; blank cells are left out of their row.

    A last line without its end is one that is being written: it is left out.
    """
    if not os.path.lexists(path):
        return []
    try:
        return _rows(received_table(path))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged ({error}); the command of its run writes it again from the checkpoint."
        ) from error


def _rows(lines: list[list[str]]) -> list[Row]:
    names, *rest = lines or [[]]
    return [{name: _cell(name, value) for name, value in zip(names, line, strict=True) if value != ""} for line in rest]


def _cell(name: str, value: str) -> float | str:
    if name == "architecture":
        return value
    return int(value) if name == "epoch" else float(value)
