"""What --help says. Hydra's own composes every group anew and takes seconds; --cfg job has what it ends with."""

import os
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path

GROUPS = {
    "method": "what is compared, by its published name: a few choices from the groups below",
    "space": "the architectures to choose from",
    "dataset": "the images; dataset=folder dataset.root=PATH for your own",
    "experiment": "whole studies of the paper, with their grid: -m experiment=table1",
    "debug": "a few images and two epochs, to try a config in seconds",
    "relaxation": "from alpha to the weights of the operations",
    "sched": "the temperature, epoch by epoch",
    "bilevel": "how weights and alpha take turns",
    "penalty": "what is added to alpha's loss",
    "perturbation": "what happens to the operations' weights in the weight step",
    "decision": "what takes candidates away during the search",
    "stages": "a search in parts",
    "stop": "when a search ends early",
    "selection": "which epoch's architecture is the result; the last, unless named",
    "derive": "from alpha to the architecture; the space's own rule, unless named",
    "arch_optimizer": "the optimiser of alpha",
    "lr": "the learning rate of the weights, epoch by epoch",
    "protocol": "batch size, rates, order of the half steps: the space's, the published ones, the EDD authors'",
    "recipe": "how a found network is trained: epochs, batch size, rates, augmentation",
    "export": "files of the trained network for use elsewhere",
    "data": "how images are split and batched",
    "benchmark": "the table that architectures are looked up in",
    "callbacks": "what is measured beside, or your own Lightning callbacks",
    "logger": "where each epoch is shown beside metrics.csv; logger=[wandb,tensorboard] for both",
    "trainer": "one device, or several of this machine",
    "hydra/launcher": "where the runs of a sweep are run",
}
"""Config group -> what it decides; in the order of --help."""

CHOSEN_BY_OTHERS = ("edd_paper", "family", "images", "published", "released", "size", "tuned")
"""Groups whose options follow from those of others."""

_ABOUT = {
    "train": (
        "Searches an architecture by gradient descent: a supernet that holds all candidates is trained together with alpha, "
        "which weights them, and the best are kept. Ends with the architecture, its drawing and curves in a folder of runs/; "
        "the same command goes on with an interrupted search.",
        (
            ("experiment=quickstart", "handwritten digits, a minute or two on a CPU"),
            ("space=nb201 dataset=cifar10 method=edd", "CIFAR-10, downloaded into data/"),
            ("dataset=folder dataset.root=PHOTOS dataset.image_size=32", "your images: PHOTOS/<class>/*"),
            ("-m method=edd,darts seed=0,1,2", "every combination, then a table"),
            ("method=darts debug=fast", "is this config whole? seconds, not hours"),
        ),
    ),
    "evaluate": (
        "Says what a found architecture is worth: parameters, multiply-adds and what a table has of it and, with train=true, "
        "the test accuracy of its network, trained from scratch beside a random one.",
        (
            ("run=runs/quickstart/default", "look the search's result up"),
            ("run=runs/quickstart/default train=true", "train it from scratch"),
            ("run=RUN train=true export=onnx", "and write a file that other programs run"),
            ("space=darts dataset=cifar10 genotype=DARTS_V2", "a published architecture, or any text or file"),
            ("-m 'run=runs/table1/*' train=true", "all that a sweep has found"),
        ),
    ),
    "tune": (
        "Searches for hyperparameters by Optuna, one architecture search a trial; the same command goes on with a study, and a "
        "larger tune.trials adds trials.",
        (
            ("experiment=quickstart relaxation=sn_s100", "lambda, warm-up and s of EDD"),
            ("experiment=quickstart relaxation=sn_s100 tune.trials=50", "more trials, those before included"),
            ("tune.objective=scores.cifar10_test_200", "by the table, not by the discretised accuracy"),
            ("'~tune.space.relaxation'", "leave s as it is"),
            ("'+tune.space.model.weight_clip={low: 1, high: 10}'", "another number"),
        ),
    ),
}

_END = (
    "Everything else is a key: sched.lam=0.12, data.batch_size=64, trainer.max_epochs=100, run_dir=PATH. Paths need no quotes "
    "but the shell's. --cfg job prints the composed config, -m runs every combination of values separated by commas, "
    "--config-dir DIR takes your own options (DIR/relaxation/mine.yaml is relaxation=mine), --hydra-help shows the rest."
)


def help_text(program: str, folders: Sequence[Path], groups: Collection[str]) -> str:
    """folders: where configs are looked up. groups: those that the program's config begins with."""
    width = min(max(shutil.get_terminal_size().columns, 60), 120)
    name = sys.argv[0] if " " in sys.argv[0] else f"python {os.path.basename(sys.argv[0])}"
    about, examples = _ABOUT[program]
    lines = [*textwrap.wrap(about, width), "", f"{name} [GROUP=OPTION ...] [KEY=VALUE ...]", ""]
    for arguments, meaning in examples:
        lines += [f"  # {meaning}", f"  {name} {arguments}"]
    own = {key for folder in folders[1:] for key in _groups(folder)}
    for title, shown in (
        ("Groups:", [group for group in GROUPS if group in groups or group in own]),
        ("Your own groups:", sorted(own - {*GROUPS})),
    ):
        lines += ["", title] if shown else []
        for group in shown:
            lines.append(f"{group}: {', '.join(_options(group, folders))}")
            lines += textwrap.wrap(GROUPS.get(group, ""), width, initial_indent="    ", subsequent_indent="    ")
    lines += ["", *textwrap.wrap(_END, width)]
    return "\n".join(lines) + "\n"


def _groups(folder: Path) -> set[str]:
    return {path.parent.relative_to(folder).as_posix() for path in folder.rglob("*.yaml")} - {"."}


def _options(group: str, folders: Sequence[Path]) -> list[str]:
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})
