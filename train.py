"""Search an architecture: python train.py space=nb201 dataset=cifar10 sched=edd (see conf/ for every choice)."""

from nas_lightning.app.launch import start

if __name__ == "__main__":
    start("train")
