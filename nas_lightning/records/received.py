"""Files of a run's folder, which may come from anybody: read as plain data within limits, and nothing else happens.

What cannot be read so is an OSError or a ValueError whose text fits into "FILE cannot be read (...)". Each limit is ten
times and more what a search of 600 epochs in the DARTS space needs.
"""

import codecs
import csv
import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

TEXT_BYTES = 2**16
DATA_BYTES = 2**20
_TABLE_BYTES = 2**25
_LOG_BYTES = 2**25
_DEPTH = 50
_VALUES = 20_000
_TEXT = 10_000
_LARGEST = 1e100
_COLUMNS, _CELLS = 5_000, 1_000_000

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_regular(path: Path) -> os.stat_result:
    """OSError where there is nothing at `path`, ValueError for what is no plain file: a pipe would be waited for, a link
    could show the reader's own files, a device could act."""
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        raise ValueError("it is a link, which could lead anywhere; put the file itself there")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    return status


def received_bytes(path: Path, most: int) -> bytes:
    """The content of a plain file of at most `most` bytes."""
    check_regular(path)
    # Whatever has taken its place meanwhile is neither followed nor waited for.
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no regular file")
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most:,} bytes")
    return content


def received_text(path: Path, most: int = TEXT_BYTES) -> str:
    """A short text in UTF-8."""
    return received_bytes(path, most).decode("utf-8")


def received_log(path: Path) -> str:
    """The text of a log or a program: in UTF-8 or, with its mark, UTF-16; other bytes among it are replaced."""
    content = received_bytes(path, _LOG_BYTES)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # PowerShell's
        return content.decode("utf-16", "replace")
    if b"\0" in content:
        raise ValueError("it is a binary file, such as weights or an ONNX network, and no text")
    if not content.strip():
        raise ValueError("it is empty")
    return content.decode("utf-8-sig", "replace")


def received_json(path: Path) -> Any:
    return parsed_json(received_bytes(path, DATA_BYTES))


def parsed_json(content: bytes) -> Any:
    """Plain data within the limits."""
    try:
        data = json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"it is nested deeper than {_DEPTH}") from None
    _check_plain(data)
    return data


def received_yaml(path: Path) -> Any:
    """Plain data without aliases, with which ten lines can stand for a billion; nothing in it is interpolated."""
    text = received_text(path, DATA_BYTES)
    try:
        _check_events(yaml.parse(text, Loader=_Loader))
        data = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split()) or "it is no YAML") from error
    _check_plain(data)
    return data


def received_table(path: Path) -> list[list[str]]:
    """The lines of a CSV file, its first included; a last one without its end is left out."""
    text = received_text(path, _TABLE_BYTES)
    return parsed_table(text[: text.rfind("\n") + 1])


def parsed_table(text: str) -> list[list[str]]:
    """The lines of a CSV text within the limits."""
    lines: list[list[str]] = []
    cells = 0
    try:
        for line in csv.reader(io.StringIO(text, newline="")):
            cells += max(1, len(line))
            if len(line) > _COLUMNS or cells > _CELLS:
                raise ValueError(f"it has more than {_COLUMNS:,} columns or {_CELLS:,} cells")
            lines.append(line)
    except csv.Error as error:
        raise ValueError(str(error)) from error
    return lines


def _check_events(events: Iterator[Any]) -> None:
    depth = 0
    for count, event in enumerate(events):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has an alias (*), which this program never writes")
        if depth > _DEPTH or count > 2 * _VALUES:
            raise ValueError(f"it is nested deeper than {_DEPTH} or has more than {_VALUES:,} values")
        # Before it is read: the time that a number in base 60 takes grows with the square of its length.
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _TEXT:
            raise ValueError(f"it has a text of more than {_TEXT:,} characters")


def _check_plain(data: Any) -> None:
    """ValueError beyond the limits, and for what is neither mapping, list, text, number, truth value nor null."""
    level, count, depth = [data], 0, 0
    while level:
        count, depth = count + len(level), depth + 1
        if count > _VALUES or depth > _DEPTH:
            raise ValueError(f"it is nested deeper than {_DEPTH} or has more than {_VALUES:,} values")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value, *value.values()]
            elif isinstance(value, list):
                below += value
            else:
                _check_value(value)
        level = below


def _check_value(value: Any) -> None:
    if isinstance(value, str):
        if len(value) > _TEXT:
            raise ValueError(f"it has a text of more than {_TEXT:,} characters")
    elif isinstance(value, int | float):
        # An integer may have more digits than any float. What is nan is no number here, and a blank in reports.
        if abs(value) > _LARGEST:
            raise ValueError("it has a number that no run has")
    elif value is not None:
        raise ValueError(f"it has a value of the type {type(value).__name__}")
