"""Loggers beside metrics.csv, which is always written."""

import os
import secrets
from pathlib import Path
from typing import Literal

from pytorch_lightning.loggers import WandbLogger


def wandb_mode() -> Literal["online", "offline", "disabled"]:
    """WANDB_MODE where it is set, else online only if an API key is at hand: a first run never prompts or waits."""
    import wandb

    chosen = os.environ.get("WANDB_MODE", "")
    if chosen in ("online", "offline", "disabled"):
        return chosen  # type: ignore[return-value]
    return "online" if wandb.api.api_key else "offline"


def wandb_logger(
    run_dir: str, project: str, group: str, name: str, tags: list[str], job_type: str = "search"
) -> WandbLogger:
    """One W&B run per run folder, with the epoch as the axis of every metric. A run that goes on keeps its W&B run."""
    import wandb

    folder = Path(run_dir)
    id_file = folder / "wandb_id"
    if not id_file.exists():
        id_file.write_text(secrets.token_hex(4))
    logger = WandbLogger(
        id=id_file.read_text(),
        name=name,
        project=project,
        group=group,
        job_type=job_type,
        tags=tags,
        save_dir=str(folder),
        mode=wandb_mode(),
        resume="allow",
        settings=wandb.Settings(silent=True, console="off"),
    )
    logger.experiment.define_metric("epoch")
    logger.experiment.define_metric("*", step_metric="epoch")
    return logger
