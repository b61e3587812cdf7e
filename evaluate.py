"""Score a found architecture by table and, with train=true, by training it from scratch: python evaluate.py run=PATH."""

from nas_lightning.app.launch import start

if __name__ == "__main__":
    start("evaluate")
