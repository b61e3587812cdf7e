"""What Hydra runs for each program.

They import torch only when they are called, so that --help and completion stay fast.
"""

from omegaconf import DictConfig

from nas_lightning.app.job import run_job


def train(config: DictConfig) -> None:
    from nas_lightning.app.search import search

    run_job(search, config)


def evaluate(config: DictConfig) -> None:
    from nas_lightning.app.evaluate import evaluate

    run_job(evaluate, config)


def tune(config: DictConfig) -> None:
    from nas_lightning.app.tune import tune

    run_job(tune, config)


TASKS = {task.__name__: task for task in (train, evaluate, tune)}
"""By the program's name, which is also its config's."""
