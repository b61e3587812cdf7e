"""Where this package's configs are: a wheel carries them, a checkout has them beside the package."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent

INSTALLED = (_PACKAGE / "conf").is_dir()
"""Whether the package comes from a wheel."""

CONFIGS = (_PACKAGE if INSTALLED else _PACKAGE.parent) / "conf"
