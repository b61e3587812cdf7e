"""What a test accuracy leaves out: how it is for each class, and what always answering the most frequent one would give."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

MOST_RECALLS, MOST_CONFUSED = 1_000, 64
"""Classes up to which each one's recall, and the confusion matrix, are kept: a report of more could not be read again."""


def classwise(predicted_N: Tensor, labels_N: Tensor, classes: int) -> dict[str, Any]:
    """By class, of int64 class indices: what report.json keeps.

    test_accuracy: share of all images that are recognised. images: of each class. recall: share of them that are recognised,
    None for a class without any; both None where there are more than MOST_RECALLS classes. balanced_accuracy: mean of those
    recalls. majority: the most frequent class, and its share of the images. confusion: [true class][predicted class] -> number
    of images; None above MOST_CONFUSED classes.
    """
    images_C = torch.bincount(labels_N, minlength=classes)
    right_C = torch.bincount(labels_N[predicted_N == labels_N], minlength=classes)
    recalls = [
        right / images if images else None for right, images in zip(right_C.tolist(), images_C.tolist(), strict=True)
    ]
    known = [recall for recall in recalls if recall is not None]
    matrix = multiclass_confusion_matrix(predicted_N, labels_N, classes).tolist() if classes <= MOST_CONFUSED else None
    return {
        "images": images_C.tolist() if classes <= MOST_RECALLS else None,
        "recall": recalls if classes <= MOST_RECALLS else None,
        "test_accuracy": int(right_C.sum()) / len(labels_N),
        "balanced_accuracy": sum(known) / len(known),
        "majority": {"class": int(images_C.argmax()), "share": int(images_C.max()) / len(labels_N)},
        "confusion": matrix,
    }
