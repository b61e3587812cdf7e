"""The W&B workspace of a project: the panels of arXiv 2306.06855's figures. `python -m nas_lightning.app.dashboard --dry-run`

Needs the extra `dashboard` (wandb-workspaces); writing needs an API key, --dry-run prints what would be written.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas_lightning.errors import UserError, exit_status


@dataclass(frozen=True)
class Panel:
    """A line plot of `metrics` over the epochs, or the drawings of `media`."""

    title: str
    metrics: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    log: bool = False


SECTIONS: dict[str, tuple[Panel, ...]] = {
    "Figure 4": (
        Panel("A  mean entropy (nats)", ("entropy",)),
        Panel("B  discretised validation accuracy", ("discrete_accuracy",)),
        Panel("CIFAR-10 test accuracy in the table (%)", ("table/cifar10_test_200",)),
        Panel("CIFAR-100 test accuracy in the table (%)", ("table/cifar100_test_200",)),
        Panel("ImageNet16-120 test accuracy in the table (%)", ("table/imagenet16_120_test_200",)),
        Panel("skip connections", ("skip_connects",)),
    ),
    "Temperature": (
        Panel("temperature t", ("temperature",), log=True),
        Panel("decay d", ("decay",)),
        Panel("entropy of single edges (nats), NAS-Bench-201", tuple(f"entropy/cell/{edge}" for edge in range(6))),
    ),
    "Architecture": (Panel("derived cell", media=("cell",)), Panel("beta", media=("beta",))),
    "Training": (
        Panel("accuracy of the relaxed supernet", ("train_accuracy", "valid_accuracy")),
        Panel("loss", ("train_loss", "valid_loss", "discrete_loss")),
        Panel("seconds an epoch", ("seconds",)),
        Panel("dominant eigenvalue of alpha's Hessian, where it is measured", ("hessian_eigenvalue",)),
    ),
}
"""Section -> panels; the keys are columns of metrics.csv and the drawings of logger=wandb."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the workspace, or print it; 1 and one sentence on stderr for bad input."""
    parser = argparse.ArgumentParser(prog="python -m nas_lightning.app.dashboard", description=__doc__)
    parser.add_argument("--entity", help="your W&B name or team")
    parser.add_argument("--project", default="nas_lightning")
    parser.add_argument("--dry-run", action="store_true", help="print the workspace instead of writing it")
    options = parser.parse_args(arguments)
    return exit_status(lambda: _write(options))


def _write(options: argparse.Namespace) -> None:
    if options.entity is None and not options.dry_run:
        raise UserError("give --entity=<your W&B name or team>, or --dry-run to see the panels.")
    workspace = build(options.entity or "<entity>", options.project)
    if options.dry_run:
        print(json.dumps(workspace._to_model().model_dump(mode="json"), indent=2))
    else:
        print(_saved(workspace))


def build(entity: str, project: str) -> Any:
    """The workspace object of wandb-workspaces; nothing is sent."""
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise UserError(
            f"the dashboard needs wandb-workspaces ({error}); pip install 'nas-lightning[dashboard]'."
        ) from error

    def drawn(panel: Panel) -> Any:
        if panel.media:
            return panels.MediaBrowser(title=panel.title, media_keys=list(panel.media))
        return panels.LinePlot(title=panel.title, x="epoch", y=list(panel.metrics), log_y=panel.log or None)

    sections = [
        workspaces.Section(name=name, panels=[drawn(panel) for panel in listed], is_open=True)
        for name, listed in SECTIONS.items()
    ]
    return workspaces.Workspace(name="EDD-DARTS", entity=entity, project=project, sections=sections)


def _saved(workspace: Any) -> str:
    try:
        workspace.save()
    except Exception as error:  # a missing key, no network, no such project: the library raises many kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"W&B did not take the workspace ({reason}); check wandb login, --entity and --project."
        ) from error
    return str(workspace.url)


if __name__ == "__main__":
    sys.exit(main())
