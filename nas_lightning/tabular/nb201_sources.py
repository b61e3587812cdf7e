"""Readers of what NAS-Bench-201 numbers come in: the official `.pth`, a NATS-Bench folder, CSV files."""

import csv
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_lightning.errors import UserError
from nas_lightning.escapes import visible
from nas_lightning.genotypes.nb201 import parse_nb201
from nas_lightning.tabular.nb201_table import CONVERT, NB201_SPLITS, NB201Table, nb201_code, nb201_decode

# The benchmark's own names (data set, evaluation set) of our splits.
_OFFICIAL = {
    "cifar10_valid": ("cifar10-valid", "x-valid"),
    "cifar10_test": ("cifar10", "ori-test"),
    "cifar100_valid": ("cifar100", "x-valid"),
    "cifar100_test": ("cifar100", "x-test"),
    "imagenet16_120_valid": ("ImageNet16-120", "x-valid"),
    "imagenet16_120_test": ("ImageNet16-120", "x-test"),
}
_OFFICIAL_EPOCHS = (12, 200)
_OFFICIAL_COLUMNS = tuple(f"{split}_{epochs}" for split in NB201_SPLITS for epochs in _OFFICIAL_EPOCHS)
_EPOCHS_IN_NAME = re.compile(r"(?<![0-9])([1-9][0-9]*)[-_]?epochs?")
_NATS_META = "meta.pickle.pbz2"
_NUMBER = re.compile(r"[-+]?[0-9]*[.,]?[0-9]+([eE][-+]?[0-9]+)?")  # fewer than float() takes
# How columns of a table begin that are misspelt splits: `CIFAR10-test`, `cifar100 val acc`.
_NEARLY = ("cifar10test", "cifar10val", "cifar100test", "cifar100val", "imagenet16120test", "imagenet16120val")

log = logging.getLogger("nas_lightning")


def read_sources(sources: Sequence[str | Path], epochs: int | None = None, trust: bool = False) -> NB201Table:
    """Read every source and merge their columns.

    Args:
        sources: official `.pth` files, NATS-Bench folders (topology space), CSV files, folders of them, our `.npz`.
        epochs: training epochs of the CSV files' networks; None takes them from each file's name (`..._200epochs...`).
        trust: `.pth` and NATS-Bench files are pickles, which run code when they are read; False refuses them.
    """
    tables = [_read_file(file, epochs, trust) for source in sources for file in _expand(Path(source))]
    return NB201Table.merge(tables)


def _expand(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    if not os.access(source, os.R_OK | os.X_OK):
        raise UserError(f"the folder {source} cannot be read; give yourself the permission, or another folder.")
    if os.path.exists(source / _NATS_META):
        return [source]
    files = sorted(source.glob("*.csv"))
    if not files:
        raise UserError(
            f"the folder {source} holds neither {_NATS_META} (NATS-Bench) nor a .csv file; give one that does."
        )
    return files


def _read_file(path: Path, epochs: int | None, trust: bool) -> NB201Table:
    kind = "nats" if path.is_dir() else path.suffix.lower()
    if kind not in ("nats", ".pth", ".csv", ".npz"):
        raise UserError(f"{path} is no benchmark file; give a .pth, .csv or .npz file, or a NATS-Bench or CSV folder.")
    if not os.path.exists(path):
        raise UserError(
            f"there is no file {path}; give the path of a .pth, .csv or .npz file, or of a NATS-Bench or CSV folder."
        )
    if kind == ".csv":
        return _read_csv(path, epochs)
    if kind == ".npz":
        return NB201Table.load(path)
    if not trust:
        raise UserError(
            f"{path} is made of pickles, which run code when they are read; if you trust its origin, convert it once "
            f"with `{CONVERT} {path} TABLE.npz --trust`."
        )
    return _read_pth(path) if kind == ".pth" else _read_nats(path)


def _read_csv(path: Path, epochs: int | None) -> NB201Table:
    """Columns between commas, semicolons or tabs; numbers with a decimal point or comma; a blank cell is not known."""
    epochs = epochs if epochs is not None else _epochs_in_name(path)
    try:
        _warn_of_end(path)
        # utf-8-sig: spreadsheets write a byte-order mark.
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            separator = max(",;\t", key=first.count)
            splits, rows = _read_lines(path, csv.reader(file, delimiter=separator), separator)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"the CSV file {path} cannot be read ({error}); give a readable UTF-8 CSV file.") from error
    if not rows:
        raise UserError(f"the CSV file {path} has a header and no architectures; give a file with a line for each.")
    table = NB201Table.from_rows([f"{split}_{epochs}" for split in splits], rows, path.name)
    table.check_percentages(path)
    if unknown := sum(value != value for row in rows.values() for value in row):
        log.warning("%s: %s blank cells are taken as not known.", path, f"{unknown:,}")
    return table


def _warn_of_end(path: Path) -> None:
    """Of a file that ends within a line, as CSV files may: cut there, its last number is another."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read() not in (b"\n", b"\r"):
                log.warning("%s: no line end after the last line; if the file was cut, its last number is wrong.", path)


def _read_lines(path: Path, reader: Any, separator: str) -> tuple[list[str], dict[int, list[float]]]:
    """The splits that the header names, and of each row of the table the accuracies in their order."""
    header = [name.strip() for name in next(reader, [])]
    splits = [name for name in header if name in NB201_SPLITS]
    _check_header(path, header, splits)
    arch_at, split_at = header.index("arch"), [header.index(name) for name in splits]
    rows: dict[int, list[float]] = {}
    for fields in reader:
        if not fields:
            continue
        place = f"line {reader.line_num} of {path}"
        if len(fields) != len(header):
            commas = ", with ; between columns where numbers have commas" if separator == "," else ""
            raise UserError(
                f"{place} has {len(fields)} fields, the header {len(header)}; repair or download the file{commas}."
            )
        code = _code(fields[arch_at], place)
        if code in rows:
            raise UserError(f"{place} repeats the architecture {fields[arch_at]}; leave one line for each.")
        rows[code] = [_accuracy(fields[at], header[at], place) for at in split_at]
    return splits, rows


def _epochs_in_name(path: Path) -> int:
    match = _EPOCHS_IN_NAME.search(path.name)
    if match is None:
        raise UserError(
            f"the name of {path} does not tell the training epochs; rename it to something like nb201_200epochs.csv "
            "or convert it with --epochs 200."
        )
    return int(match[1])


def _check_header(path: Path, header: Sequence[str], splits: Sequence[str]) -> None:
    found = ",".join(header)
    if "arch" not in header or not splits:
        missing = "arch" if "arch" not in header else " or ".join(NB201_SPLITS)
        raise UserError(f"the CSV file {path} lacks the column {missing} (its first line is {found!r}); add it.")
    if len(set(splits)) != len(splits) or header.count("arch") > 1:
        raise UserError(f"the CSV file {path} names a column twice (its first line is {found!r}); leave one.")
    others = [name for name in header if name not in ("", "index", "arch", *splits)]
    for name in others:
        if _letters(name).startswith(_NEARLY):
            raise UserError(
                f"the CSV file {path} has the column {name}, which is none of {', '.join(NB201_SPLITS)}; rename or remove it."
            )
    if others:
        log.warning("%s: what is not read are the columns %s.", path, visible(", ".join(others)))


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _code(text: str, place: str) -> int:
    try:
        return nb201_code(parse_nb201(text))
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def _accuracy(text: str, column: str, place: str) -> float:
    if not text.strip():
        return float("nan")
    value = float(text.replace(",", ".")) if _NUMBER.fullmatch(text.strip()) else float("nan")
    # Written so that NaN fails too.
    if not 0 <= value <= 100:
        raise UserError(
            f"{text!r} in column {column}, {place}, is no percentage; write a number from 0 to 100, or nothing where it is "
            "not known."
        )
    return value


def _read_pth(path: Path) -> NB201Table:
    import torch
    from nas_201_api import ArchResults

    try:
        data = torch.load(path, map_location="cpu", weights_only=False)
    # A truncated or foreign pickle can raise any exception.
    except Exception as error:
        raise UserError(f"{path} cannot be read ({_gist(error)}); download it again.") from error

    def results() -> Iterator[tuple[str, int, Any]]:
        # One at a time, not by NASBench201API: that deep-copies the dict, and the official one takes 28 GB.
        for index, infos in data["arch2infos"].items():
            for epochs, name in zip(_OFFICIAL_EPOCHS, ("less", "full"), strict=True):
                yield data["meta_archs"][index], epochs, ArchResults.create_from_state_dict(infos[name])

    return _read_results(path, results())


def _read_nats(path: Path) -> NB201Table:
    try:
        from nats_bench import create
    except ImportError as error:
        raise UserError(f"the NATS-Bench folder {path} needs a package; run `pip install nats-bench`.") from error

    def results() -> Iterator[tuple[str, int, Any]]:
        api = create(str(path), "tss", fast_mode=True, verbose=False)
        for index, arch in enumerate(api.meta_archs):
            # A partial download is a partial table. Both file names occur in the wild.
            if not any((path / f"{name}.pickle.pbz2").exists() for name in (f"{index:06d}", str(index))):
                continue
            for epochs in _OFFICIAL_EPOCHS:
                yield arch, epochs, api.query_meta_info_by_index(index, str(epochs))
            # The package keeps every architecture that it has read.
            api.arch2infos_dict.clear()

    return _read_results(path, results())


def _read_results(path: Path, results: Iterator[tuple[str, int, Any]]) -> NB201Table:
    """Average (architecture string, epochs, ArchResults of either package) over the seeds."""
    rows: dict[int, list[float]] = {}
    try:
        for arch, epochs, result in results:
            row = rows.setdefault(nb201_code(parse_nb201(arch)), [float("nan")] * len(_OFFICIAL_COLUMNS))
            for split, (dataset, evaluation) in _OFFICIAL.items():
                # Version 1.0 has only cifar10-valid after 12 epochs.
                if dataset in result.get_dataset_names():
                    at = _OFFICIAL_COLUMNS.index(f"{split}_{epochs}")
                    row[at] = float(result.get_metrics(dataset, evaluation, is_random=False)["accuracy"])
    # The readers and the packages index dicts of unknown content; bz2 raises EOFError and OSError on a truncated file.
    except Exception as error:
        raise UserError(
            f"{path} does not hold NAS-Bench-201 results as published ({type(error).__name__}: {_gist(error)}); "
            "give the official file or folder, or download it again."
        ) from error
    return _known_columns(path, rows)


def _known_columns(path: Path, rows: dict[int, list[float]]) -> NB201Table:
    if not rows:
        raise UserError(f"{path} holds no architectures; give the official file or folder, or download it again.")
    values = np.array(list(rows.values()))
    wrong = (values < 0) | (values > 100)
    if wrong.any():
        row, at = np.argwhere(wrong)[0]
        raise UserError(
            f"{path} gives {nb201_decode(list(rows)[row])} the {_OFFICIAL_COLUMNS[at]} accuracy {values[row, at]}, "
            "which is no percentage; download it again."
        )
    known = np.flatnonzero(~np.isnan(values).all(axis=0))
    kept = dict(zip(rows, values[:, known].tolist(), strict=True))
    return NB201Table.from_rows([_OFFICIAL_COLUMNS[at] for at in known], kept, path.name)


def _gist(error: Exception) -> str:
    """The first sentence of a library's message, without its full stop: torch's go on for several."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].split(". ")[0].rstrip(".")
