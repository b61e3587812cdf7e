"""The checkpoints of a run: the last epoch's, and until it is whole on the disk that of the epoch before."""

import io
import logging
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from nas_lightning.errors import UserError
from nas_lightning.records.files import not_written, replace_atomically
from nas_lightning.records.folder import ELSEWHERE, RunFolder
from nas_lightning.records.received import check_regular

log = logging.getLogger("nas_lightning")

_FORMAT = 2
_OURS = "nas_lightning"  # the part of a checkpoint that says which run it is of


class Checkpoints(TorchCheckpointIO):
    """`folder`/last.ckpt and previous.ckpt, as a Lightning plugin that writes and reads them.

    They are written in the folder itself, not by way of TMPDIR, and are on the disk before the older one goes. PyTorch's
    archives have a CRC-32 of each part, which it does not look at; `newest` does.

    settings: of the run by their dotted key, without those that may change when it goes on; each checkpoint keeps them.
    check: called with the settings that a checkpoint keeps; raises UserError where they are not this run's.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], check: Callable[[Mapping[str, Any]], None]) -> None:
        self.folder = folder
        self._settings = dict(settings)
        self._check = check

    @classmethod
    def of(cls, run: RunFolder, place: Path) -> Self:
        """Those of the fit in `place`, the run's folder or one in it."""
        return cls(place / "checkpoints", run.settings, run.check_same)

    @property
    def last(self) -> Path:
        return self.folder / "last.ckpt"

    @property
    def previous(self) -> Path:
        return self.folder / "previous.ckpt"

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write the epoch's checkpoint; UserError where the disk does not take it, and the older ones stay as they are."""
        content = io.BytesIO()  # PyTorch's own writer ends the process where a disk is full
        torch.save({**checkpoint, _OURS: {"format": _FORMAT, "settings": self._settings}}, content)
        with replace_atomically(path) as temporary:
            temporary.write_bytes(content.getbuffer())
            if os.path.abspath(path) == os.path.abspath(self.last) and self.last.exists():
                os.replace(self.last, self.previous)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        return checkpoint

    def newest(self) -> Path | None:
        """The checkpoint to go on with, None where there is none.

        A damaged last one is named in a warning, and the one before takes its place. UserError where both are damaged, and
        for checkpoints of another version or of other settings.
        """
        faults = []
        for path in (self.last, self.previous):
            if not os.path.lexists(path):
                continue
            try:
                own = _read(path).get(_OURS)
            except Exception as error:  # torch.load raises whatever the damage leads to
                reason = " ".join(str(error).split())
                faults.append(f"{path} is damaged ({type(error).__name__}: {reason[:100]})")
                continue
            self._check_own(own, path)
            if path == self.previous:
                if faults:
                    log.warning("%s: its epoch is run again from %s.", faults[0], path)
                try:
                    os.replace(path, self.last)
                except OSError as error:
                    raise not_written(self.last, error) from error
            return self.last
        if faults:
            raise UserError(f"{faults[0]}; delete the folder {self.folder.parent} to start the run anew.")
        return None

    def drop_previous(self) -> None:
        """Of a finished run the last one is enough."""
        self.previous.unlink(missing_ok=True)

    def _check_own(self, own: Any, path: Path) -> None:
        if not isinstance(own, dict) or own.get("format") != _FORMAT or not isinstance(own.get("settings"), dict):
            raise UserError(
                f"{path} is of another version of nas_lightning; go on with that version, delete the folder "
                f"{self.folder.parent} to start anew, or give {ELSEWHERE}."
            )
        self._check(own["settings"])


def _read(path: Path) -> dict[str, Any]:
    check_regular(path)
    with zipfile.ZipFile(path) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise ValueError("it is packed, as no checkpoint is")  # a few bytes can unpack to any size
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of its part {damaged} is wrong")
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return checkpoint
