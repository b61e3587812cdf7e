"""The model card: what a trained network is, how it was made, and how to use it, from its report."""

import json
from collections.abc import Mapping
from typing import Any

from nas_lightning.costs import budget_sentence
from nas_lightning.escapes import markdown, visible
from nas_lightning.reports.evaluation import better, class_name
from nas_lightning.reports.runs import images_of
from nas_lightning.reports.statistic import count

_MOST_CONFUSED = 20  # columns that can still be read
_KEYS = ("num_classes", "params", "macs", "seed", "seconds")
_CARD = """\
# {title}

An image classifier for {dataset} ({num_classes} classes), {origin}, and trained from
scratch with nas_lightning.

```
{architecture}
```

| | |
| --- | --- |
| test accuracy | {accuracy:.2f} % ({epoch}, {test_images:,} images) |
| always answering {majority} | {majority_share:.2f} %, its share of the test images |
| mean recall over classes | {balanced_accuracy:.2f} % |
| training accuracy | {train_accuracy:.2f} % (the same epoch, augmented) |
| parameters | {params:,}, {megabytes:.2f} MB |
| multiply-adds | {macs:,} for one image of {side}x{side} (convolutions and linear layers) |
{budget}| time for an image | {latency:.2f} ms ({measured}) |
| training images | {train_images:,}{validation} |
| images | {reading}, RGB in [0, 1], less the mean {mean}, over the standard deviation {std}, each per channel |
| classes | {classes} |
| recipe | {recipe}, {epochs}, batch {batch}, seed {seed} |
| hardware | {device}, {threads}, {seconds:.0f} s |
| software | torch {torch}, nas_lightning {version}, {source} |

One run with one seed; `report.json` has every setting. {caution}{noise}Nothing is known about images of another kind
than those of {dataset}.

{beside}{by_class}## Use

```python
import nas_lightning

network = nas_lightning.load({folder})  # an nn.Module in eval mode
network.predict("image.png")  # [(class, probability), ...], the likeliest first
logits = network(network.transform(image)[None])  # of an image of Pillow; float32 [B, 3, {side}, {side}]
```
"""


def model_card(report: Mapping[str, Any], folder: str) -> str:
    """Markdown for the folder of a finished training; `report` has the keys of an evaluation's report.json."""
    config = report["config"]
    mean, std = ([round(value, 5) for value in values] for values in report["normalisation"])
    commit = f"commit {report['commit'] or 'unknown'}{' with local changes' if report['dirty'] else ''}"
    noise = "The architecture holds `noise` operations: the same image gets other logits each time. "
    architecture = visible(report["architecture"]).replace("`", "'")
    best, valid = report.get("best_epoch"), report["split"].get("valid_images")
    caution, tested = report["split"].get("caution"), report["classwise"]
    side, resize, names = report["image_size"], report.get("resize"), report.get("classes")
    square = f"the largest centred square scaled to {side}x{side}"
    centre = f"the short side scaled to {resize}, of that the centre {side}x{side}"
    return _CARD.format(
        title=markdown(f"{report['space']} network for {images_of(report)}"),
        architecture=architecture,
        origin=_origin(report),
        budget=f"| budget | {budget_sentence(report['budget'])} |\n" if "budget" in report else "",
        accuracy=100 * report["test_accuracy"],
        epoch="last epoch" if best is None else f"epoch {best + 1}, the best by validation accuracy",
        validation=""
        if valid is None
        else f", and {valid:,} for validation ({100 * report['validation_accuracy']:.2f} %)",
        train_accuracy=100 * report["train_accuracy"],
        test_images=report["split"]["test_images"],
        train_images=report["split"]["train_images"],
        side=side,
        reading=square if resize is None else centre,
        classes="not kept" if names is None else markdown(", ".join(names)),
        recipe=markdown(report["recipe"]),
        batch=config["data"].get("batch_size", "the default"),
        torch=report["versions"]["torch"],
        version=report["versions"]["nas-lightning"],
        source="installed from a wheel" if report["source"] == "wheel" else markdown(commit),
        mean=mean,
        std=std,
        folder=json.dumps(visible(folder), ensure_ascii=False),
        megabytes=report["file_bytes"] / 1e6,
        latency=report["latency_ms"],
        measured=report["latency"],
        majority=markdown(class_name(report, tested["majority"]["class"])),
        majority_share=100 * tested["majority"]["share"],
        balanced_accuracy=100 * report["balanced_accuracy"],
        beside=_beside(report),
        by_class=_by_class(report),
        noise=noise if "'noise'" in report["architecture"] else "",
        caution=f"{markdown(caution)} " if caution else "",
        dataset=markdown(images_of(report)),
        device=markdown(report["device"]),
        epochs=count(report["epochs"], "epoch"),
        threads=count(report["threads"], "CPU thread"),
        **{key: report[key] for key in _KEYS},
    )


def _origin(report: Mapping[str, Any]) -> str:
    if "search" not in report:
        return "found by architecture search or given by hand"
    return f"found by {markdown(report['method'])} (seed {report['search']['seed']})"


def _beside(report: Mapping[str, Any]) -> str:
    """A section of the other networks that were trained, if any."""
    networks = report["networks"]
    if len(networks) == 1:
        return ""
    rows = [
        f"| {markdown(name)} | {100 * each['test_accuracy']:.2f} | {each['params']:,} | {each['macs']:,} | "
        f"{each['file_bytes'] / 1e6:.2f} | {each['latency_ms']:.2f} |"
        for name, each in networks.items()
    ]
    head = ["| network | test (%) | parameters | multiply-adds | weights (MB) | ms |", f"| --- |{' ---: |' * 5}"]
    kinds = [
        f"- {markdown(name)}: {markdown(each['architecture'])}" for name, each in networks.items() if name != "found"
    ]
    said = [f"**{markdown(sentence)}**" for sentence in better(report)]
    parts = ["## By the same recipe, on the same images", "\n".join([*head, *rows]), *said, "\n".join(kinds)]
    return "\n\n".join(parts) + "\n\n"


def _by_class(report: Mapping[str, Any]) -> str:
    """A section of each class' recall, the lowest first, and of the confusion matrix where it is small."""
    tested = report["classwise"]
    if tested["recall"] is None:
        return ""
    names = [markdown(class_name(report, index)) for index in range(len(tested["recall"]))]
    lines = sorted(
        (recall, name, images)
        for recall, name, images in zip(tested["recall"], names, tested["images"], strict=True)
        if recall is not None
    )
    rows = [f"| {name} | {images:,} | {100 * recall:.2f} |" for recall, name, images in lines]
    parts = ["## Classes", "\n".join(["| class | test images | recall (%) |", "| --- | ---: | ---: |", *rows])]
    if len(names) <= _MOST_CONFUSED:
        matrix = [
            f"| **{name}** | {' | '.join(map(str, counts))} |"
            for name, counts in zip(names, tested["confusion"], strict=True)
        ]
        head = [f"| true, predicted | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
        parts += [
            "Test images by their true class (rows) and what they are taken for (columns):",
            "\n".join([*head, *matrix]),
        ]
    return "\n\n".join(parts) + "\n\n"
