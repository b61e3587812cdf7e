"""Pieces of HTML that the parts of the page share: tables that sort, lists of facts; whatever is quoted is text."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from nas_lightning import escapes

LONGEST = 80
"""Characters of a name in a table or a heading."""
TALL = 40
"""Rows from which on a table scrolls by itself."""


def number_cell(value: float | None, decimals: int) -> str:
    return "<td></td>" if value is None else f'<td class="n" data-value="{value!r}">{value:.{decimals}f}</td>'


def table_row(row: Sequence[str], labels: int) -> str:
    cells = [f'<td class="n">{short(each)}</td>' for each in row[labels:]]
    return f"<tr>{''.join([*(f'<td>{short(each)}</td>' for each in row[:labels]), *cells])}</tr>"


def sortable_table(headings: Sequence[str], rows: Sequence[str], labels: int) -> str:
    head = "".join(
        f'<th scope="col"{"" if index < labels else " class=n"}>{short(each)}</th>'
        for index, each in enumerate(headings)
    )
    body = "\n".join(rows)
    table = f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="wide{" tall" if len(rows) > TALL else ""}" tabindex="0">{table}</div>'


def facts_list(facts: Mapping[str, str]) -> str:
    pairs = (f"<dt>{escapes.html(name)}</dt><dd>{escapes.html(text)}</dd>" for name, text in facts.items() if text)
    return f"<dl>{''.join(pairs)}</dl>"


def folded(name: str, values: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(dict(values), sort_keys=False)  # libyaml's refuses lone surrogates
    lines = "\n".join(map(escapes.html, text.split("\n")))
    return f"<details><summary>{escapes.html(name)}</summary><pre>{lines}</pre></details>"


def left_out(what: str, shown: int, there: int, sentence: str) -> str:
    return f'<p class="note">{shown} of {there:,} {what} {sentence}</p>' if there > shown else ""


def short(text: str) -> str:
    return escapes.html(plain(text))


def plain(text: str) -> str:
    return escapes.shortened(text, LONGEST)
