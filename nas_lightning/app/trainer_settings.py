"""What of Lightning's Trainer a run may set: an argument that changes what a row or a checkpoint means is refused."""

from collections.abc import Mapping

from omegaconf import DictConfig

from nas_lightning.errors import UserError, is_number, is_whole

OURS = ("graphs", "compile")
"""Keys of config.trainer that the module takes."""

USED = ("accelerator", "devices", "max_epochs", "precision", "strategy")
"""The Trainer's arguments whose values are looked at one by one."""

FREE = (
    "accumulate_grad_batches", "benchmark", "detect_anomaly", "deterministic", "gradient_clip_algorithm", "gradient_clip_val",
    "inference_mode", "limit_train_batches", "limit_val_batches", "profiler",
)  # fmt: skip
"""Those that act as Lightning says, within the ranges below."""

_CUT_SHORT = (
    "a run that it cuts short would count as finished; stop it by Ctrl-C instead, and it goes on when it is run again"
)
_EVERY_EPOCH = "every epoch ends with the accuracies of that epoch"
_SET_HERE = "this program sets it"
REFUSED: Mapping[str, str] = {
    "barebones": "it would write nothing; drop it",
    "callbacks": "name yours in the group callbacks, see docs/extending.md",
    "check_val_every_n_epoch": f"{_EVERY_EPOCH}; make the part smaller by trainer.limit_val_batches",
    "default_root_dir": f"{_SET_HERE}; say where by run_dir",
    "enable_autolog_hparams": "config.yaml has the settings; drop it",
    "enable_checkpointing": "a run without checkpoints could not go on; drop it",
    "enable_model_summary": f"{_SET_HERE}; drop it",
    "enable_progress_bar": f"{_SET_HERE}; drop it",
    "fast_dev_run": "it ends without a report; give trainer.max_epochs=1 and a few images by data.train_images",
    "limit_predict_batches": "nothing is predicted; drop it",
    "limit_test_batches": "test images are read as validation here; use trainer.limit_val_batches",
    "log_every_n_steps": "rows are those of epochs; drop it",
    "logger": "choose one of the group, as in logger=wandb",
    "max_steps": f"{_CUT_SHORT}; its length is trainer.max_epochs",
    "max_time": _CUT_SHORT,
    "min_epochs": "trainer.max_epochs and the group stop say how long a run is; drop it",
    "min_steps": "trainer.max_epochs and the group stop say how long a run is; drop it",
    "model_registry": "checkpoints stay in the run's folder; drop it",
    "num_nodes": "a run stays on one machine; run several side by side instead",
    "num_sanity_val_steps": f"{_SET_HERE}; drop it",
    "overfit_batches": "it changes the data; give a few images by data.train_images",
    "plugins": f"{_SET_HERE}; drop it",
    "reload_dataloaders_every_n_epochs": f"{_SET_HERE}; drop it",
    "sync_batchnorm": "each device normalises its own part of a batch, see docs/scaling.md; drop it",
    "use_distributed_sampler": "each device has its own part of the images already; drop it",
    "val_check_interval": f"{_EVERY_EPOCH}; drop it",
}
"""The others -> why, and what to do."""

_SEARCH = {
    "accumulate_grad_batches": "it does not act on manual optimisation; use data.batch_size",
    "gradient_clip_algorithm": "it does not act on manual optimisation; use model.weight_clip",
    "gradient_clip_val": "it does not act on manual optimisation; use model.weight_clip",
}
_PRECISIONS = (32, "32", "32-true", "bf16-mixed")


def of_lightning(key: str) -> str | None:
    """What to do about a key that the config lacks though Lightning's Trainer knows it; None of any other."""
    name = key.removeprefix("trainer.")
    if key != f"trainer.{name}" or name not in (*REFUSED, *FREE):
        return None
    return f"{key} is not offered: {REFUSED[name]}." if name in REFUSED else f"{key} is set by a +, as in +{key}=..."


def check_run_settings(config: DictConfig) -> None:
    """UserError for what Lightning would accept and then do wrong, or nothing."""
    trainer = config.trainer
    for key in trainer:
        if key in REFUSED:
            raise UserError(f"trainer.{key}={trainer[key]} is not offered: {REFUSED[str(key)]}.")
    if trainer.precision not in _PRECISIONS:
        scaled = " (gradients that a loss scaler has scaled would be clipped wrongly)"
        why = scaled if trainer.precision == "16-mixed" else ""
        raise UserError(f"trainer.precision={trainer.precision} is not offered{why}; use 32-true or bf16-mixed.")
    if not is_whole(trainer.max_epochs, 1):
        raise UserError(f"trainer.max_epochs must be a whole number of at least 1, got {trainer.max_epochs}.")
    _check_devices(trainer)
    for key in ("limit_train_batches", "limit_val_batches"):
        limit = trainer.get(key)
        if limit is not None and not (is_whole(limit, 1) or (isinstance(limit, float) and 0 < limit <= 1)):
            raise UserError(
                f"trainer.{key} must be a share above 0 and up to 1.0, or a number of batches from 1 on, got {limit!r}."
            )
    clip = trainer.get("gradient_clip_val")
    if clip is not None and not (is_number(clip) and clip >= 0):
        raise UserError(
            f"trainer.gradient_clip_val must be a number of 0 or more, or null for no clipping, got {clip!r}."
        )
    if not is_whole(accumulated := trainer.get("accumulate_grad_batches", 1), 1):
        raise UserError(f"trainer.accumulate_grad_batches must be a whole number of at least 1, got {accumulated!r}.")
    if not (is_whole(config.seed, 0) and config.seed < 2**32):
        raise UserError(f"seed must be a whole number from 0 to 2**32 - 1, got {config.seed!r}.")


def check_search_settings(config: DictConfig) -> None:
    """As check_run_settings, and of what does nothing in a search."""
    check_run_settings(config)
    for key, why in _SEARCH.items():
        if config.trainer.get(key) not in (None, 1 if key == "accumulate_grad_batches" else None):
            raise UserError(f"trainer.{key}={config.trainer[key]}: {why}.")


def _check_devices(trainer: DictConfig) -> None:
    devices, strategy = trainer.devices, trainer.get("strategy")
    if strategy is None:
        if devices != 1 or isinstance(devices, bool):
            raise UserError(
                f"trainer.devices={devices} is not offered: one run uses one device; run several seeds or settings side by "
                "side, or one search on several devices with trainer=ddp."
            )
        return
    if not isinstance(strategy, DictConfig):
        raise UserError(
            f"trainer.strategy={strategy} is not offered; use trainer=ddp, or trainer=default for one device."
        )
    # A number, since a run that goes on must find as many: they share out the images.
    if not is_whole(devices, 2):
        raise UserError(f"trainer.devices must be a whole number of at least 2 with trainer=ddp, got {devices!r}.")
    for key in OURS:
        if trainer.get(key):
            raise UserError(f"trainer.{key}=true is offered on one device only; drop it, or use trainer=default.")
