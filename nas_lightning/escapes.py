"""Texts of unknown origin, such as a received report's, made harmless for the place where they are shown: a function a place.

None of them changes a text that is plain words, numbers and paths.
"""

import re
from html import escape

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "λ": r"$\lambda$", "β": r"$\beta$",
    "<": "$<$", ">": "$>$", "|": "$|$",  # letters of other shapes in LaTeX's own font
    # After the end of a row these would be its options.
    "[": "{[}", "*": "{*}",
}  # fmt: skip
# Entities, since a backslash before | is read by table and text in two ways.
_MARKDOWN = {
    **{character: f"&#{ord(character)};" for character in "\\`*[]$@"}, "&": "&amp;", "<": "&lt;", ">": "&gt;", "|": r"\|",
}  # fmt: skip
_UNDERSCORE_AT_A_WORDS_EDGE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def visible(text: object) -> str:
    """For a terminal, a log and any other line: what would act instead of being seen is written as in Python.

    That is every line break, control character (escape sequences of terminals), mark of writing direction and lone
    surrogate.

    >>> print(visible("red\\x1b[31m\\nnext"))
    red\\x1b[31m\\nnext
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def shortened(text: str, most: int) -> str:
    """`text`, its middle left out where it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most // 2]} [...] {text[-most // 3 :]}"


def markdown(text: object) -> str:
    """For a cell of a table or a line of a list: no column, code, emphasis, link, mention, formula or HTML of its own."""
    marked = "".join(_MARKDOWN.get(character, character) for character in visible(text))
    marked = _UNDERSCORE_AT_A_WORDS_EDGE.sub("&#95;", marked)
    return marked.replace("://", ":&#47;&#47;")


def latex(text: object) -> str:
    """For running text and cells; no command, comment or mathematics of its own."""
    return "".join(_LATEX.get(character, character) for character in visible(text))


def csv_cell(text: object) -> str:
    """For a spreadsheet, which computes what begins with =, +, - or @: but for numbers these get a ' before them."""
    if not str(text).startswith(_FORMULA):
        return visible(text)
    try:
        float(str(text))
    except ValueError:
        return f"'{visible(text)}"
    return visible(text)


def html(text: object) -> str:
    """For the text of an element and the value of a quoted attribute."""
    return escape(visible(text))
