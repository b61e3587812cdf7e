"""Search an architecture: python train.py space=nb201 dataset=cifar10 sched=edd (see conf/ for every choice)."""

import hydra
from omegaconf import DictConfig

from nas_lightning.app.launch import start  # the import also registers what the configs need of Hydra


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> None:
    from nas_lightning.app.job import run_job  # torch is imported here, so that --help and completion stay fast
    from nas_lightning.app.search import search

    run_job(search, config)


if __name__ == "__main__":
    start(main)
