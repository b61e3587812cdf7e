"""Search for lambda, s and warm-up by Optuna: python tune.py experiment=quickstart relaxation=sn_s100 (see conf/tune.yaml)."""

import hydra
from omegaconf import DictConfig

from nas_lightning.app.launch import start  # the import also registers what the configs need of Hydra


@hydra.main(version_base="1.3", config_path="conf", config_name="tune")
def main(config: DictConfig) -> None:
    from nas_lightning.app.job import run_job  # torch is imported here, so that --help and completion stay fast
    from nas_lightning.app.tune import tune

    run_job(tune, config)


if __name__ == "__main__":
    start(main)
