"""The points where a program changes files, counted in its process, and the end of the process at one of them."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from optuna.storages.journal import JournalFileBackend

from nas_lightning.callbacks import MetricsFile
from nas_lightning.records.epochs import EpochFile

_DRAWN = re.compile(r"\.\d+-[0-9a-f]{8}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4,}")  # of temporary names


@dataclass(frozen=True)
class Blow:
    """`number` of the system, sent by the process to itself at the n-th `point` of its name; when: before, half, after."""

    point: str
    nth: int
    when: str
    number: int


class Points:
    """Writes each point's name to `log` as a line, and deals `blow` at its one.

    `half` of a write leaves the first half of the content in the file, as a process does that is killed between two writes.
    """

    def __init__(self, log: Path, blow: Blow | None = None) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._blow = blow
        self._counts: dict[str, int] = {}

    def install(self) -> None:
        for name, place in (("replace", 1), ("rename", 1), ("symlink", 1), ("unlink", 0), ("mkdir", 0)):
            setattr(os, name, self._around(name, getattr(os, name), place))
        for name in ("fsync", "ftruncate"):
            setattr(os, name, self._around(name, getattr(os, name), None))
        write_bytes, write_text = Path.write_bytes, Path.write_text
        self._halve(Path, "write_bytes", lambda path, data: write_bytes(path, data[: len(data) // 2]))
        self._halve(Path, "write_text", lambda path, data, **_: write_text(path, data[: len(data) // 2]))
        self._halve(EpochFile, "append", _half_a_row)
        self._halve(Figure, "savefig", lambda figure, path, **_: Path(path).touch())
        self._halve(JournalFileBackend, "append_logs", _half_an_entry)

    def _around(self, kind: str, original: Callable[..., Any], place: int | None) -> Callable[..., Any]:
        def around(*arguments: Any, **settings: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{arguments[0]}") if place is None else arguments[place]
            point = self._passed(kind, path)
            self._deal(point, "before")
            result = original(*arguments, **settings)
            self._deal(point, "after")
            return result

        return around

    def _halve(self, owner: Any, name: str, half: Callable[..., Any]) -> None:
        original = getattr(owner, name)

        def halved(self_: Any, *arguments: Any, **settings: Any) -> Any:
            path = getattr(self_, "path", getattr(self_, "_file_path", self_))
            point = self._passed(name, arguments[0] if isinstance(self_, Figure) else path)
            self._deal(point, "before")
            if self._is_due(point, "half"):
                half(self_, *arguments, **settings)
                self._deal(point, "half")
            result = original(self_, *arguments, **settings)
            self._deal(point, "after")
            return result

        setattr(owner, name, halved)

    def _passed(self, kind: str, path: Any) -> str:
        point = f"{kind} {_DRAWN.sub('', os.path.basename(os.fspath(path)))}"
        os.write(self._log, f"{point}\n".encode())
        self._counts[point] = self._counts.get(point, 0) + 1
        return point

    def _is_due(self, point: str, when: str) -> bool:
        blow = self._blow
        return blow is not None and (blow.point, blow.nth, blow.when) == (point, self._counts[point], when)

    def _deal(self, point: str, when: str) -> None:
        if self._is_due(point, when):
            blow, self._blow = self._blow, None
            assert blow is not None
            os.kill(os.getpid(), blow.number)


def _half_a_row(file: EpochFile) -> None:
    line = file.text.encode().splitlines(keepends=True)[-1]
    with open(file.path, "ab") as opened:
        opened.write(line[: len(line) // 2])


def _half_an_entry(backend: JournalFileBackend, entries: list[dict[str, Any]]) -> None:
    with open(backend._file_path, "ab") as opened:
        opened.write(str(entries[0]).replace("'", '"').encode()[:20])


def log_epochs(log: Path) -> None:
    """Every epoch that this process begins becomes a line of `log`: the process, the epoch, the table of its run."""
    original = MetricsFile.on_train_epoch_start

    def begun(self: MetricsFile, trainer: Any, module: Any) -> None:
        with open(log, "a") as opened:
            opened.write(f"{os.getpid()} {trainer.current_epoch} {self.file.path}\n")
        original(self, trainer, module)

    MetricsFile.on_train_epoch_start = begun  # type: ignore[method-assign]


def draw_nothing() -> None:
    """Figures are files of two bytes: drawing takes half of a small search's time."""
    Figure.savefig = lambda self, path, **_: Path(path).write_text("x\n")  # type: ignore[assignment]
