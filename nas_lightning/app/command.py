"""`nas-lightning train|evaluate|tune|predict|report`: train.py, evaluate.py, tune.py and more where a wheel is installed."""

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress

from nas_lightning.errors import UserError, exit_status

_HELP = """\
Differentiable neural architecture search on PyTorch Lightning and Hydra.

nas-lightning train space=nb201 dataset=digits method=edd       search an architecture
nas-lightning evaluate run=PATH [train=true]                    score it by table, or train it from scratch
nas-lightning tune experiment=quickstart relaxation=sn_s100     search for hyperparameters by Optuna
nas-lightning fit PHOTOS                                        both of these at once, for a folder of your images
nas-lightning predict FOLDER IMAGE...                           the likeliest classes, by what evaluate has trained
nas-lightning report summary runs                               tables, figures and pages of runs

Each has a --help with every choice. The first three take your own configs with --config-dir DIR (DIR/relaxation/mine.yaml
is relaxation=mine), and import your own classes from the current folder.
eval "$(nas-lightning -sc install=bash)" completes them in bash; -sc install=fish | source in fish.
"""
_OF_HYDRA = ("train", "evaluate", "tune")
_PROGRAMS = (*_OF_HYDRA, "fit", "predict", "report")


def main() -> int:
    """Run the program that the command line names; returns the exit status."""
    return exit_status(lambda: _run(sys.argv[1:]))


def _run(arguments: Sequence[str]) -> None:
    name, rest = (arguments[0], arguments[1:]) if arguments else (None, ())
    if name in ("-h", "--help"):
        print(_HELP, end="")
    elif name in ("-sc", "--shell-completion"):
        _complete(rest)
    elif name == "report":
        from nas_lightning.reports.__main__ import main

        sys.exit(main(rest, "nas-lightning report"))
    elif name == "fit":
        from nas_lightning.app.photos import fit_photos

        fit_photos(rest)
    elif name == "predict":
        from nas_lightning.app.predict import predict

        predict(rest)
    elif name in _OF_HYDRA:
        _start(name, f"nas-lightning {name}", rest)
    else:
        given = "nas-lightning needs a program" if name is None else f"nas-lightning has no program {name}"
        raise UserError(f"{given}; give one of {', '.join(_PROGRAMS)}, or --help.")


def _start(name: str, command: str, arguments: Sequence[str]) -> None:
    from nas_lightning.app.launch import start  # it loads Hydra

    sys.argv = [command, *arguments]  # where Hydra looks
    start(name)


def _complete(arguments: Sequence[str]) -> None:
    """Hydra's completion, made for commands of one program: of the program that the shell's line names."""
    if not any(argument.startswith("query=") for argument in arguments):
        _start("train", "nas-lightning", ["-sc", *arguments])  # a script for the shell, the same for every program
        return
    line = os.environ.get("COMP_LINE", "").partition(" ")[2].lstrip()
    name, space, typed = line.partition(" ")
    if not space:
        print(*_PROGRAMS, sep="\n")
    elif name in _OF_HYDRA:
        from hydra._internal.utils import get_args

        os.environ["COMP_LINE"] = line
        # A line that is still being typed may be refused.
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere), suppress(SystemExit):
            folder = get_args(typed.split()).config_dir
            own = [] if folder is None else ["--config-dir", os.path.expanduser(folder)]
            _start(name, "nas-lightning", ["-sc", *arguments, *own])
