"""What is wrong with a folder of images and can be seen at once: said before PyTorch, which takes seconds, is loaded."""

import logging

from omegaconf import DictConfig

from nas_lightning.errors import UserError
from nas_lightning.image_tree import TRAIN_NAMES, check_class_size, check_image_size, check_named, open_tree


def check_images(config: DictConfig) -> None:
    """UserError for a dataset=folder without a root or with too few classes or images, and for a size that is none.

    What takes a look into the images is left to the data set, and so is anything unusual: there is one sentence for it.
    """
    dataset = config.get("dataset")
    if not isinstance(dataset, DictConfig) or dataset.get("_target_") != "nas_lightning.data.Folder":
        return
    root, size = dataset.get("root"), dataset.get("image_size")
    check_image_size(None if size == "auto" else size)
    check_named(root)
    if isinstance(root, str):
        check_root(root)


def check_root(root: str) -> None:
    """UserError for a folder or zip without images of two classes, two of each."""
    tree = logging.getLogger("nas_lightning.image_tree")
    before, tree.disabled = tree.disabled, True  # what it warns of, the data set's own look warns of
    try:
        found = open_tree(root, "dataset.root")
        for name, images in found.class_images(found.class_parent(TRAIN_NAMES)).items():
            check_class_size(name, root, len(images))
    except OSError as error:
        raise UserError(
            f"dataset.root={root} cannot be read ({error.strerror}); mend that, or name another."
        ) from error
    finally:
        tree.disabled = before
