"""Search for lambda, s and warm-up by Optuna: python tune.py experiment=quickstart relaxation=sn_s100 (see conf/tune.yaml)."""

import sys

from nas_lightning.errors import exit_status


def main() -> None:
    """Hydra is loaded here, so that Ctrl-C meanwhile ends the program as later."""
    from nas_lightning.app.launch import start

    start("tune")


if __name__ == "__main__":
    sys.exit(exit_status(main))
