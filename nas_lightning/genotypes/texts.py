"""An architecture in a text that has more in it: a log, a Python file, a report. Nothing in it is evaluated."""

import json
import re
from dataclasses import dataclass
from typing import Any, Protocol

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.received import TEXT_BYTES, parsed_json

# Each begins an architecture: `Genotype(normal=` but not `class Genotype(NamedTuple)`, and what is of NAS-Bench-201's form.
_CALL = re.compile(r"(?<!\w)(?<!class )(?<!def )Genotype\s*\((?=\s*(?:#.*\n\s*)*(?:\w+\s*=|[\[({]|\Z))")
_STRING = re.compile(r"\|(?:\w{1,40}~\d+\|)+(?:\s?\+\s?\|(?:\w{1,40}~\d+\|)+)*")
_PART_OF_A_CALL = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|#[^\n]*|[()\[\]]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ASSIGNED = re.compile(r"^(?!genotype\b)(\w+)\s*=\s*\Z", re.MULTILINE)
# P-DARTS ends with what it found for 8, 7, ... 0 skip connections; its result is that for 2.
_ALTERNATIVE = re.compile(r"Number of skip-connect: (\d+)[^\n]*\n[^\n]*\Z")


class Reader(Protocol):
    """What is asked of a search space here; see `SearchSpace`."""

    def parse(self, text: str) -> Genotype: ...

    def check(self, genotype: Genotype, place: str) -> None: ...


@dataclass(frozen=True)
class _Excerpt:
    text: str
    place: str


def read_genotype(text: str, space: Reader, place: str = "genotype") -> tuple[Genotype, str]:
    """The architecture that `text` is, else the last one in it; and where it was found, empty for the whole text.

    The whole may be what `space` parses, a `genotype.json` or a `report.json`. Within a text `Genotype(...)` and the string of
    NAS-Bench-201 are found. `place` names the text in messages. UserError for an architecture of another space, and where
    there is none or the last is not whole.
    """
    text = _COLOUR.sub("", text).replace("│", " ").strip("\ufeff")
    if (genotype := _from_json(text, place)) is not None:
        space.check(genotype, place)
        return genotype, ""
    try:
        if len(text) > TEXT_BYTES:
            raise UserError(f"it has more than {TEXT_BYTES:,} characters and no architecture in them.")
        return space.parse(text.strip()), ""
    except UserError:
        excerpt = _last(text, place)
        if excerpt is None or excerpt.text == text.strip():
            raise
    try:
        return space.parse(excerpt.text), excerpt.place
    except UserError as error:
        raise UserError(f"{excerpt.place}: {error}") from error


def _from_json(text: str, place: str) -> Genotype | None:
    """Of what this program writes; None for anything else."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        data: Any = parsed_json(text.encode("utf-8", "replace"))
    except ValueError as error:
        if not re.search(r'"cells"\s*:', text[:TEXT_BYTES]):
            return None
        raise UserError(f"{place} is no whole genotype.json or report.json ({error}); give one that is.") from error
    if isinstance(data.get("genotype"), dict):
        data = data["genotype"]
    return Genotype.from_json(json.dumps(data), place) if "cells" in data else None


def _last(text: str, place: str) -> _Excerpt | None:
    starts = [match.start() for match in _CALL.finditer(text)]
    strings = list(_STRING.finditer(text))
    if not starts and not strings:
        return None
    before = text[: max(starts[-1:] + [match.start() for match in strings[-1:]])]
    count = len(starts) + len(strings)
    where = f"line {before.count(chr(10)) + 1} of {place}" if "\n" in text.strip() else place
    if name := _ASSIGNED.search(before[-100:]):
        where += f" ({name[1]})"
    where += f", the last of {count} architectures" if count > 1 else ""
    if alternative := _ALTERNATIVE.search(before[-1_000:]):
        where += f" (P-DARTS' for {alternative[1]} skip connections; its authors take the one for 2)"
    if strings and strings[-1].start() == len(before):
        return _Excerpt(strings[-1][0], where)
    return _Excerpt(_call(text, len(before), where), where)


def _call(text: str, start: int, place: str) -> str:
    """`Genotype(...)` from `start` to the bracket that closes it."""
    depth = 0
    for part in _PART_OF_A_CALL.finditer(text, start, start + TEXT_BYTES):
        depth += (part[0] in "([") - (part[0] in ")]")
        if depth == 0 and part[0] in ")]":
            return text[start : part.end()]
    raise UserError(f"{place}: nothing closes its Genotype(; complete it, or remove it to have the one before.")
