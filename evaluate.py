"""Score a found architecture by table and, with train=true, by training it from scratch: python evaluate.py run=PATH."""

import sys

from nas_lightning.errors import exit_status


def main() -> None:
    """Hydra is loaded here, so that Ctrl-C meanwhile ends the program as later."""
    from nas_lightning.app.launch import start

    start("evaluate")


if __name__ == "__main__":
    sys.exit(exit_status(main))
