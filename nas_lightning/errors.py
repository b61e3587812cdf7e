"""The one exception a user is meant to read."""


class UserError(ValueError):
    """Bad input or environment. Its text is one sentence: what is wrong, where, and what to do.

    The command-line programs print it and exit with status 1; every other exception is a bug and keeps its traceback.
    """


def is_number(value: object) -> bool:
    """Whether a setting is a number at all: from a command line come strings, lists, null and truth values too."""
    return isinstance(value, int | float) and not isinstance(value, bool)
