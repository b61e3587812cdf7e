"""Search an architecture: python train.py space=nb201 dataset=cifar10 sched=edd (see conf/ for every choice)."""

import sys

from nas_lightning.errors import exit_status


def main() -> None:
    """Hydra is loaded here, so that Ctrl-C meanwhile ends the program as later."""
    from nas_lightning.app.launch import start

    start("train")


if __name__ == "__main__":
    sys.exit(exit_status(main))
