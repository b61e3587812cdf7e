"""Score a found architecture by table and, with train=true, by training it from scratch: python evaluate.py run=PATH."""

import sys

import hydra
from omegaconf import DictConfig

from nas_lightning.app.launch import start  # the import also registers what the configs need of Hydra
from nas_lightning.records.folder import quote_values


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(config: DictConfig) -> None:
    from nas_lightning.app.evaluate import evaluate
    from nas_lightning.app.job import run_job  # torch is imported here, so that --help and completion stay fast

    run_job(evaluate, config)


if __name__ == "__main__":
    sys.argv[1:] = quote_values(sys.argv[1:])
    start(main)
