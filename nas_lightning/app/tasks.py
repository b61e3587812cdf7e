"""What Hydra runs for each program.

They import torch only where they come to need it, so that --help, completion, a look-up in the table, a sweep whose runs are
finished, and the refusal of what can be seen without it stay fast.
"""

from omegaconf import DictConfig

from nas_lightning.app.early import check_images
from nas_lightning.app.job import Job, announce, is_skipped, run_job
from nas_lightning.app.quiet import quiet_libraries
from nas_lightning.app.trainer_settings import check_search_settings
from nas_lightning.records.folder import RunFolder


def train(config: DictConfig) -> None:
    run_job(_train, config)


def _train(config: DictConfig, job: Job) -> None:
    if is_skipped(config, job):
        return
    RunFolder.of(config, job.overrides).check()
    check_search_settings(config)
    check_images(config)
    announce(config)
    from nas_lightning.app.search import search

    quiet_libraries()  # after they are loaded, when they set their own levels
    search(config, job)


def evaluate(config: DictConfig) -> None:
    run_job(_evaluate, config)


def _evaluate(config: DictConfig, job: Job) -> None:
    if config.train is True and config.export is None and is_skipped(config, job):
        return
    from nas_lightning.app.evaluation import caution_of_a_training, check_asked
    from nas_lightning.app.lookup import recorded

    check_asked(config)
    caution_of_a_training(config)
    if recorded(config, job) is not None:
        return
    if config.train is True:
        check_images(config)
    announce(config)
    from nas_lightning.app.evaluate import evaluate

    quiet_libraries()
    evaluate(config, job)


def tune(config: DictConfig) -> None:
    run_job(_tune, config)


def _tune(config: DictConfig, job: Job) -> None:
    check_search_settings(config)
    check_images(config)
    announce(config)
    from nas_lightning.app.tune import tune

    quiet_libraries()
    tune(config, job)


TASKS = {task.__name__: task for task in (train, evaluate, tune)}
"""By the program's name, which is also its config's."""
