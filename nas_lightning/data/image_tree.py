"""Image files in class folders, in a directory or inside a zip file that is read in place."""

import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from nas_lightning.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".gif", ".tif", ".tiff", ".webp"})

_ROOT = PurePosixPath()


class ImageTree(ABC):
    """The folders below a root, as relative paths, and the image files in each; hidden entries are left out.

    `place` is the directory or zip file; `folders` maps each folder to its child folders, `files` to its images.
    """

    def __init__(self, place: Path, paths: Iterable[tuple[PurePosixPath, bool]]) -> None:
        """paths: (relative path, whether it is a folder) for everything below the root, in any order."""
        self.place = place
        self.folders: dict[PurePosixPath, set[PurePosixPath]] = {_ROOT: set()}
        self.files: dict[PurePosixPath, list[PurePosixPath]] = {_ROOT: []}
        for path, is_folder in paths:
            if any(part.startswith((".", "__MACOSX")) for part in path.parts):
                continue
            self._add_folder(path if is_folder else path.parent)
            if not is_folder and path.suffix.lower() in IMAGE_SUFFIXES:
                self.files[path.parent].append(path)

    def _add_folder(self, folder: PurePosixPath) -> None:
        while folder not in self.folders:
            self.folders[folder], self.files[folder] = set(), []
            self._add_folder(folder.parent)
            self.folders[folder.parent].add(folder)

    def class_parent(self, names: tuple[str, ...]) -> PurePosixPath:
        """The folder whose children are the class folders.

        It is the first child called one of `names` that has folders in it; else, while the only child is a folder of
        folders (an archive's top folder), the search goes on inside that one; else the folder reached.
        """
        here = _ROOT
        while True:
            for name in names:
                if self.folders.get(here / name):
                    return here / name
            if len(self.folders[here]) != 1 or self.files[here]:
                return here
            (only,) = self.folders[here]
            if not self.folders[only]:
                return here
            here = only

    def class_images(self, parent: PurePosixPath) -> dict[str, list[PurePosixPath]]:
        """Class name -> its images, both sorted, at any depth below the class folder; UserError if there are none."""
        where = self.place / parent
        if len(self.folders[parent]) < 2:
            raise UserError(
                f"{where} holds {len(self.folders[parent])} class folder(s) but a classifier needs two or more; "
                "give as dataset.root a folder (or zip) with <class>/<image> or train/<class>/<image> in it."
            )
        found = {folder.name: sorted(self._below(folder)) for folder in sorted(self.folders[parent])}
        for name, images in found.items():
            if not images:
                raise UserError(
                    f"the class folder {where / name} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); "
                    "put some there or remove the folder."
                )
        return found

    def _below(self, folder: PurePosixPath) -> list[PurePosixPath]:
        found = list(self.files[folder])
        for child in self.folders[folder]:
            found += self._below(child)
        return found

    @abstractmethod
    def read(self, path: PurePosixPath) -> bytes:
        """The file's bytes; UserError if the file system or the archive fails."""

    @abstractmethod
    def stamp(self, path: PurePosixPath) -> tuple[int, ...]:
        """Numbers that change when the file's content does, had without reading the file."""


class DirectoryTree(ImageTree):
    def __init__(self, place: Path) -> None:
        super().__init__(place, _walk(place))

    def read(self, path: PurePosixPath) -> bytes:
        try:
            return (self.place / path).read_bytes()
        except OSError as error:
            raise _unreadable(self.place, path, error) from error

    def stamp(self, path: PurePosixPath) -> tuple[int, ...]:
        """Size in bytes, modification and change time in ns.

        Copying and unpacking tools set the modification time at will; the change time is the kernel's own, so that
        another file of the same size does not pass for this one.
        """
        try:
            status = (self.place / path).stat()
        except OSError as error:
            raise _unreadable(self.place, path, error) from error
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns


class ZipTree(ImageTree):
    def __init__(self, place: Path) -> None:
        self._open = _ArchivePerProcess(place)
        try:
            members = self._open.archive().infolist()
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"the zip file {place} cannot be read ({error}); copy or download it again.") from error
        super().__init__(place, ((PurePosixPath(member.filename), member.is_dir()) for member in members))

    def read(self, path: PurePosixPath) -> bytes:
        try:
            return self._open.archive().read(str(path))
        # RuntimeError: encrypted; NotImplementedError: a compression method that Python lacks.
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise _unreadable(self.place, path, error) from error

    def stamp(self, path: PurePosixPath) -> tuple[int, ...]:
        """CRC-32 and size of the content, as the zip's directory has them: the same wherever the zip is moved."""
        member = self._open.archive().getinfo(str(path))
        return member.CRC, member.file_size


@dataclass
class _ArchivePerProcess:
    """Opens the zip file once in every process: forked workers would otherwise share one file position."""

    place: Path
    _opened: dict[int, zipfile.ZipFile] = field(default_factory=dict)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return _ArchivePerProcess, (self.place,)  # workers that are spawned, not forked, get no open files

    def archive(self) -> zipfile.ZipFile:
        pid = os.getpid()
        if pid not in self._opened:
            self._opened[pid] = zipfile.ZipFile(self.place)
        return self._opened[pid]


def open_tree(root: str, setting: str) -> ImageTree:
    """The images below `root`, a folder or a zip file; `setting` names it in the error message."""
    place = Path(str(root))  # a folder's name may be a number to YAML
    if os.path.isdir(place):
        return DirectoryTree(place)
    if not os.path.exists(place):
        raise UserError(
            f"{setting}={root} does not exist (looked for {place.absolute()}); give an image folder or a zip of one."
        )
    if not zipfile.is_zipfile(place):
        raise UserError(
            f"{setting}={root} is neither a folder nor a whole zip file; give an image folder or a zip of one."
        )
    return ZipTree(place)


def _walk(place: Path) -> Iterable[tuple[PurePosixPath, bool]]:
    def fail(error: OSError) -> None:
        raise UserError(f"the folder {error.filename} cannot be listed ({error}); make it readable.") from error

    for folder, children, files in os.walk(place, onerror=fail, followlinks=True):
        here = PurePosixPath(Path(folder).relative_to(place).as_posix())
        yield from ((here / child, True) for child in children)
        yield from ((here / file, False) for file in files)


def _unreadable(place: Path, path: PurePosixPath, error: Exception) -> UserError:
    return UserError(f"the image {path} in {place} cannot be read ({error}); repair or remove it.")
