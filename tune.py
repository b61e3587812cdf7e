"""Search for lambda, s and warm-up by Optuna: python tune.py experiment=quickstart relaxation=sn_s100 (see conf/tune.yaml)."""

from nas_lightning.app.launch import start

if __name__ == "__main__":
    start("tune")
