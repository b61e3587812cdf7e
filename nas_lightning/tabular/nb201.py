"""NAS-Bench-201 accuracies for the search, and the program that makes and asks the table.

python -m nas_lightning.tabular.nb201 convert SOURCE [SOURCE ...] TABLE [--epochs N] [--trust] [--hundredths]
python -m nas_lightning.tabular.nb201 query 'ARCH' [--table TABLE]
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nas_lightning.errors import UserError, exit_status
from nas_lightning.genotypes.nb201 import read_nb201
from nas_lightning.tabular.nb201_sources import read_sources
from nas_lightning.tabular.nb201_table import CONVERT, NB201_SIZE, NB201Table, nb201_code

__all__ = ["NB201Table", "nb201_code", "open_table", "read_sources"]

OWN = Path(__file__).with_name("nb201.npz")
"""The package's table: what it holds and lacks says SOURCE.md beside it."""
FULLER = Path("data/nb201.npz")
"""Where a table with more columns, made by `convert`, is found unless another place is named."""

log = logging.getLogger("nas_lightning")


def open_table(path: str | Path | None = None) -> NB201Table:
    """The table at `path`: `.npz` at once, CSV files or a folder of them more slowly.

    None stands for data/nb201.npz where there is such a file, else for the package's own table. Raises UserError where there
    is nothing at a path that was named, something that is no whole table, or what is only read by `convert --trust`.
    """
    if path is not None and (not isinstance(path, str | Path) or not str(path)):
        raise UserError(
            f"benchmark.path={path!r} is no path; give a table's, or leave benchmark.path and NAS_LIGHTNING_NB201 out for the "
            "package's own table."
        )
    if path is None:
        if not os.path.lexists(FULLER):
            own = read_sources([OWN])
            return replace(own, sources=("the package's own table", *own.sources))
        try:
            return open_table(FULLER)
        except UserError as error:
            raise UserError(f"{str(error).rstrip('.')}, or remove it for the package's own table.") from error
    path = os.path.expanduser(path)
    if not os.path.exists(path):  # unlike Path.exists it may be asked of a folder that cannot be read
        raise UserError(
            f"there is no NAS-Bench-201 table at {path}; make one with `{CONVERT} SOURCE TABLE.npz` from "
            "the official .pth, a NATS-Bench folder or CSV files, or leave benchmark.path and NAS_LIGHTNING_NB201 out for "
            "the package's own table."
        )
    table = read_sources([path])
    if len(table) < NB201_SIZE:
        log.warning("%s has %s of the %s architectures.", path, f"{len(table):,}", f"{NB201_SIZE:,}")
    return table


def _check_target(path: Path) -> None:
    """Refuse a table that cannot be written before the half hour that reading the official file takes."""
    if path.suffix != ".npz":
        raise UserError(f"the table {path} does not end in .npz; name it last, such as nb201.npz.")
    if path.is_dir():
        raise UserError(f"the table {path} is a folder; give the name of a file in it, such as nb201.npz.")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"cannot write {path}: {folder} is no folder with write permission; give a writable folder.")


def _convert(sources: Sequence[str], table_path: Path, epochs: int | None, trust: bool, hundredths: bool) -> None:
    _check_target(table_path)
    table = read_sources(sources, epochs, trust)
    table.save(table_path, hundredths)
    print(f"{table_path}: {len(table)} of {NB201_SIZE} architectures, {', '.join(table.columns)}")


def _query(path: str | None, arch: str) -> None:
    genotype = read_nb201(arch)
    if arch.strip().isdecimal():
        print(f"{'architecture':<24} {genotype}")
    for column, accuracy in open_table(path).query(genotype).items():
        print(f"{column:<24} {accuracy:7.3f}")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    program = "python -m nas_lightning.tabular.nb201"
    parser = argparse.ArgumentParser(prog=program, description="The NAS-Bench-201 table.")
    commands = parser.add_subparsers(dest="command", required=True)
    convert = commands.add_parser("convert", help="make the compact table from a published form of the benchmark")
    convert.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="the official .pth (needs 30 GB of memory), a NATS-Bench topology folder, CSV files or a folder of them",
    )
    convert.add_argument("table", type=Path, metavar="TABLE", help="the .npz file to write")
    convert.add_argument("--epochs", type=_positive, help="training epochs of CSV files; default: from the file name")
    convert.add_argument("--trust", action="store_true", help="read pickles (.pth, NATS-Bench), which can run code")
    convert.add_argument("--hundredths", action="store_true", help="round to 0.01 %%: a smaller file")
    query = commands.add_parser("query", help="print the accuracies of one architecture")
    query.add_argument("--table", metavar="TABLE", help="data/nb201.npz or the package's own unless named")
    query.add_argument(
        "arch", metavar="ARCH", help="in single quotes: '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|', or its index"
    )
    options = parser.parse_args(arguments)
    if options.command == "convert":
        return exit_status(
            lambda: _convert(options.sources, options.table, options.epochs, options.trust, options.hundredths)
        )
    return exit_status(lambda: _query(options.table, options.arch))


if __name__ == "__main__":
    sys.exit(main())
