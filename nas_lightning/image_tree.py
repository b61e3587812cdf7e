"""Image files in class folders, in a directory or inside a zip file that is read in place."""

import logging
import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from nas_lightning.errors import UserError, is_whole

IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".ppm", ".pgm", ".pbm", ".pnm", ".bmp", ".gif", ".tif", ".tiff", ".webp",
    ".avif", ".avifs", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".heic", ".heif", ".hif",
})  # fmt: skip
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")
"""What folders of training and of test images are called, in any case; the first that there is is taken."""

REPAIR = "repair or remove it, or leave out what is broken by dataset.skip_broken=true."

_log = logging.getLogger(__name__)

_ROOT = PurePosixPath()
_LARGEST_SIDE = 8192


class BrokenImage(UserError):
    """An image that cannot be read or decoded, and why."""

    def __init__(self, place: Path, path: PurePosixPath, reason: str) -> None:
        self.place = place
        self.path = path
        self.reason = " ".join(reason.split()).rstrip(".")
        super().__init__(f"the image {path} in {place} cannot be decoded ({self.reason}); {REPAIR}")

    def __reduce__(self) -> tuple[type, tuple[Path, PurePosixPath, str]]:
        return type(self), (self.place, self.path, self.reason)


class ImageTree(ABC):
    """The folders below a root, as relative paths, and the image files in each; hidden entries are left out.

    `place` is the directory or zip file; `folders` maps each folder to its child folders, `files` to its images; `others`
    counts the files of other kinds by suffix.
    """

    def __init__(self, place: Path, paths: Iterable[tuple[PurePosixPath, bool]]) -> None:
        """paths: (relative path, whether it is a folder) for everything below the root, in any order."""
        self.place = place
        self.folders: dict[PurePosixPath, set[PurePosixPath]] = {_ROOT: set()}
        self.files: dict[PurePosixPath, list[PurePosixPath]] = {_ROOT: []}
        self.others: Counter[str] = Counter()
        for path, is_folder in paths:
            if any(part.startswith((".", "__MACOSX")) for part in path.parts):
                continue
            self._add_folder(path if is_folder else path.parent)
            if is_folder:
                continue
            if path.suffix.lower() in IMAGE_SUFFIXES:
                self.files[path.parent].append(path)
            else:
                self.others[path.suffix.lower() or "without a suffix"] += 1

    def _add_folder(self, folder: PurePosixPath) -> None:
        while folder not in self.folders:
            self.folders[folder], self.files[folder] = set(), []
            self._add_folder(folder.parent)
            self.folders[folder.parent].add(folder)

    def split_folder(self, parent: PurePosixPath, names: tuple[str, ...]) -> PurePosixPath | None:
        """The child of `parent` that is called one of `names`, in any case, and has folders in it; the first name counts.

        UserError where two are called alike but for the case.
        """
        for name in names:
            found = sorted(each for each in self.folders[parent] if each.name.lower() == name and self.folders[each])
            if len(found) > 1:
                raise UserError(
                    f"{self.place / parent} holds {found[0].name} and {found[1].name}, which are one split; keep one of them."
                )
            if found:
                return found[0]
        return None

    def class_parent(self, names: tuple[str, ...]) -> PurePosixPath:
        """The folder whose children are the class folders.

        It is the first child called one of `names` that has folders in it; else, while the only child is a folder of
        folders (an archive's top folder), the search goes on inside that one; else the folder reached.
        """
        here = _ROOT
        while True:
            split = self.split_folder(here, names)
            if split is not None:
                return split
            if len(self.folders[here]) != 1 or self.files[here]:
                return here
            (only,) = self.folders[here]
            if not self.folders[only]:
                return here
            here = only

    def class_images(self, parent: PurePosixPath) -> dict[str, list[PurePosixPath]]:
        """Class name -> its images, both sorted, at any depth below the class folder.

        UserError if there are none, or where a split would be a class.
        """
        where = self.place / parent
        if parent.name.lower() not in (*TRAIN_NAMES, *TEST_NAMES):
            self._check_no_split(parent)
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

    def _check_no_split(self, parent: PurePosixPath) -> None:
        """UserError where a child of `parent`, whose children are to be classes, is a split.

        One called like a split that holds images themselves is a class, such as the trains among cars and ships, unless all
        are called so.
        """
        splits = sorted(each for each in self.folders[parent] if each.name.lower() in (*TRAIN_NAMES, *TEST_NAMES))
        others = self.folders[parent] - {*splits}
        if not others and splits:
            raise UserError(
                f"{self.place / parent} holds {' and '.join(each.name for each in splits)}, which are splits and no classes, "
                "and none is a train/ with class folders in it; put the images into train/<class>/."
            )
        for each in splits:
            if self.folders[each]:
                raise UserError(
                    f"{self.place / parent} holds the split {each.name} beside the folder {min(others).name}; put the class "
                    "folders of the training images into train/ beside it."
                )
            _log.warning("%s is taken for a class, since it holds images and stands beside classes.", self.place / each)

    def _below(self, folder: PurePosixPath) -> list[PurePosixPath]:
        found = list(self.files[folder])
        for child in self.folders[folder]:
            found += self._below(child)
        return found

    @abstractmethod
    def read(self, path: PurePosixPath) -> bytes:
        """The file's bytes; BrokenImage if the file system or the archive fails."""

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
        """Size in bytes, modification and change time in ns; nothing for a file that is not there, such as a dangling link.

        Copying and unpacking tools set the modification time at will; the change time is the kernel's own, so that
        another file of the same size does not pass for this one.
        """
        try:
            status = (self.place / path).stat()
        except OSError:
            return ()
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns


class ZipTree(ImageTree):
    """Names are read as unpacking programs do: `\\` parts folders, and `./` and `/` in front say nothing."""

    def __init__(self, place: Path) -> None:
        self._open = _ArchivePerProcess(place)
        try:
            members = self._open.archive().infolist()
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"the zip file {place} cannot be read ({error}); copy or download it again.") from error
        found: dict[PurePosixPath, zipfile.ZipInfo] = {}
        folders = set()
        for member in members:
            name = member.filename.replace("\\", "/")
            path = PurePosixPath(name.lstrip("/"))
            if name.endswith("/"):
                folders.add(path)
                continue
            other = found.setdefault(path, member)
            if (other.CRC, other.file_size) != (member.CRC, member.file_size):
                raise UserError(f"the zip file {place} holds {path} twice with different content; pack it anew.")
        self._names = {path: member.filename for path, member in found.items() if member.filename != str(path)}
        super().__init__(place, [*((path, True) for path in folders), *((path, False) for path in found)])

    def _name(self, path: PurePosixPath) -> str:
        """The member's name as it stands in the zip file."""
        return self._names.get(path, str(path))

    def read(self, path: PurePosixPath) -> bytes:
        try:
            return self._open.archive().read(self._name(path))
        # RuntimeError: encrypted; NotImplementedError: a compression method that Python lacks.
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise _unreadable(self.place, path, error) from error

    def stamp(self, path: PurePosixPath) -> tuple[int, ...]:
        """CRC-32 and size of the content, as the zip's directory has them: the same wherever the zip is moved."""
        member = self._open.archive().getinfo(self._name(path))
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


def check_image_size(size: int | None) -> None:
    """UserError for what is no side in pixels, or of an image of gigabytes; None keeps the images' own."""
    if size is not None and not (is_whole(size, 2) and size <= _LARGEST_SIDE):
        raise UserError(
            f"dataset.image_size={size} is no size in pixels; give 2 to {_LARGEST_SIDE}, or null to keep it."
        )


def check_class_size(name: str, root: str, count: int) -> None:
    """UserError for a class that cannot have an image in both halves of a search."""
    if count < 2:
        raise UserError(
            f"the class {name} of {root} has {count} training image{'' if count == 1 else 's'} that can be decoded, but each "
            "class needs 2; add some or remove its folder."
        )


def check_named(root: object) -> None:
    """UserError where a data set of images is not told where they are."""
    if not root:
        raise UserError("dataset=folder needs images; give a folder or zip with <class>/<image> as dataset.root=PATH.")


def open_tree(root: str, setting: str) -> ImageTree:
    """The images below `root`, a folder or a zip file; `setting` names it in the error message."""
    place = Path(str(root))  # a folder's name may be a number to YAML
    tree = DirectoryTree(place) if os.path.isdir(place) else _zip_tree(place, root, setting)
    if tree.others:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(tree.others.items()))
        total = tree.others.total()
        which = "1 file that is no image is" if total == 1 else f"{total} files that are no images are"
        _log.info("%s: %s left out (%s).", place, which, counts)
    return tree


def _zip_tree(place: Path, root: str, setting: str) -> ZipTree:
    if not os.path.exists(place):
        raise UserError(
            f"{setting}={root} does not exist (looked for {place.absolute()}); give an image folder or a zip of one."
        )
    if not zipfile.is_zipfile(place):
        raise UserError(
            f"{setting}={root} is neither a folder nor a whole zip file; give an image folder or a zip of one."
        )
    return ZipTree(place)


def place_name(root: str | Path) -> str:
    """What images are called by their place: a folder's name, a zip file's without its ending.

    >>> [place_name(root) for root in ("Fotos v1.2", "a/Fotos.ZIP", ".")]
    ['Fotos v1.2', 'Fotos', '']
    """
    name = Path(root).name
    return name[:-4] if name.lower().endswith(".zip") else name


def folder_names(place: Path) -> list[str]:
    """The names of the folders in `place`; none where that is no folder or cannot be listed."""
    with suppress(OSError):
        return [entry.name for entry in os.scandir(place) if entry.is_dir()]
    return []


def _walk(place: Path) -> Iterable[tuple[PurePosixPath, bool]]:
    """Links are followed, but not back to a folder that they are in."""

    def fail(error: OSError) -> None:
        raise UserError(f"the folder {error.filename} cannot be listed ({error}); make it readable.") from error

    real = place.resolve()
    above = {os.fspath(place): frozenset(map(_identity, (real, *real.parents)))}
    for folder, children, files in os.walk(place, onerror=fail, followlinks=True):
        here = PurePosixPath(Path(folder).relative_to(place).as_posix())
        around = above.pop(folder)
        for child in tuple(children):
            inside = os.path.join(folder, child)
            itself = _identity(inside)
            if itself in around:
                children.remove(child)
            else:
                above[inside] = around | {itself}
        yield from ((here / child, True) for child in children)
        yield from ((here / file, False) for file in files)


def _identity(folder: str | Path) -> tuple[int, int]:
    """What a folder is, by whatever link it is reached."""
    try:
        status = os.stat(folder)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be looked at ({error}); make it readable.") from error
    return status.st_dev, status.st_ino


def _unreadable(place: Path, path: PurePosixPath, error: Exception) -> BrokenImage:
    return BrokenImage(place, path, f"it cannot be read, {error}")
