"""Numbers of a training that can be believed: unseen test images, beside the majority's share, class by class."""

import csv
import json
import logging
import math
import time
from dataclasses import dataclass
from urllib.error import URLError

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from PIL import Image
from rich.console import Console
from torchvision.models import RegNet_Y_400MF_Weights, ResNet18_Weights, ShuffleNet_V2_X0_5_Weights, get_model
from torchvision.ops import StochasticDepth

import nas_lightning
from nas_lightning.app.axes import build_module
from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.evaluation import named_baselines
from nas_lightning.app.job import Job
from nas_lightning.callbacks import BestWeights
from nas_lightning.data import Fake, Folder, Images, SearchData, Splits, TrainData
from nas_lightning.data.augment import normalise
from nas_lightning.data.datamodules import inverse_frequencies
from nas_lightning.data.split import held_out_indices
from nas_lightning.errors import UserError
from nas_lightning.genotypes.nb201 import parse_nb201
from nas_lightning.records.received import received_json
from nas_lightning.reports import grid
from nas_lightning.reports.__main__ import main as reports
from nas_lightning.reports.evaluation import better, print_evaluation
from nas_lightning.reports.model_card import model_card
from nas_lightning.training.classwise import classwise
from nas_lightning.training.latency import latencies
from nas_lightning.training.module import NetworkModule
from nas_lightning.training.references import reference_cost, reference_network
from tests import hostile
from tests.conftest import composed
from tests.test_search import interrupt, rows

SIDE = 8
SMALL = (
    "space.C=4", "space.N=1", "trainer.max_epochs=2", "trainer.accelerator=cpu", "data.batch_size=8", "benchmark=none",
    "baselines=false", "train=true",
)  # fmt: skip
PHOTOS = {"cat": 10, "dog": 20, "owl": 10}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """<class>/*.png without a split."""
    place = tmp_path_factory.mktemp("photos")
    add_photos(place, PHOTOS)
    return place


def add_photos(place, counts, first=0):
    generator = torch.Generator().manual_seed(first)
    for label, (name, count) in enumerate(counts.items()):
        (place / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            noise = torch.randint(100, (SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray((noise + 20 * label).numpy()).save(place / name / f"{number}.png")


def searched(folder, root, fraction=None, **recorded):
    """The folder of a search on the images in `root`, which `recorded` says more about."""
    settings = {"image_size": SIDE, "test_fraction": fraction, "cache": None}
    split = SearchData(Folder(str(root), **settings)).split_record() | recorded
    folder.mkdir()
    dataset = {"_target_": "nas_lightning.data.Folder", "root": str(root), **settings}
    (folder / "config.yaml").write_text(yaml.dump({"dataset": dataset}))
    (folder / "report.json").write_text(json.dumps({"kind": "search", "split": split}))
    (folder / "genotype.json").write_text(parse_nb201(hostile.ARCHITECTURE).to_json())
    return folder


def evaluated(tmp_path, *overrides, folder="evaluation", dataset="folder"):
    config = composed(*SMALL, *overrides, f"run_dir={tmp_path / folder}", config="evaluate")
    choices = {"space": "nb201", "dataset": dataset, "recipe": "nb201"}
    return evaluate(config, Job(choices, list(overrides)))


# --- test images that the search has not used


@pytest.mark.parametrize(
    ("before", "overrides", "sentence"),
    [
        (None, ("dataset.test_fraction=0.2",), r"has used all images, and .*; search again with dataset.test_fraction=0.2"),
        (0.2, ("dataset.test_fraction=0.3",), r"has held out dataset.test_fraction=0.2, and 0.3 .*; set at most 0.2"),
        (None, ("dataset=folder", "dataset.root={photos}", "dataset.test_fraction=0.2", "dataset.image_size=8"), "all images"),
        (None, (), "has no test images"),
    ],
)  # fmt: skip
def test_images_that_the_search_has_used_are_no_test_images(before, overrides, sentence, photos, tmp_path):
    run = searched(tmp_path / "search", photos, before)
    with pytest.raises(UserError, match=sentence) as raised:
        evaluated(tmp_path, f"run={run}", *(override.format(photos=photos) for override in overrides))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "evaluation").exists()


def test_images_that_came_after_the_search_move_the_test_part(tmp_path):
    add_photos(tmp_path / "images", {"cat": 6, "dog": 6})
    run = searched(tmp_path / "search", tmp_path / "images", 0.5)
    add_photos(tmp_path / "images", {"cat": 1}, first=6)
    with pytest.raises(UserError, match=r"are not those that the search .* was given"):
        evaluated(tmp_path, f"run={run}")


def test_a_smaller_test_part_is_of_the_searchs_own(photos):
    """What makes test_fraction=0.2 fair after a search that has held out 0.4."""
    large, small = (Folder(str(photos), test_fraction=f, cache=None).load(False).test.pixels for f in (0.4, 0.2))
    assert all(any(torch.equal(one, other) for other in large) for one in small)
    assert len(small) == 8 < len(large)


@pytest.mark.parametrize("seed", range(20))
def test_of_each_class_the_same_share_is_held_out(seed):
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 40, (5,), generator=generator)
    labels = torch.arange(5).repeat_interleave(counts)
    labels = labels[torch.randperm(len(labels), generator=generator)]
    before: set[int] = set()
    for fraction in (0.05, 0.1, 0.2, 0.34, 0.5, 0.9):
        kept, held_out = held_out_indices(labels, fraction)
        assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(len(labels)))
        for label, count in enumerate(counts.tolist()):
            assert int((labels[held_out] == label).sum()) == math.floor(count * fraction + 0.5), (fraction, label)
        assert before <= set(held_out.tolist())
        before = set(held_out.tolist())


def test_held_out_images_are_drawn_and_not_a_classs_first_or_last():
    labels = torch.arange(2).repeat_interleave(100)
    _, held_out = held_out_indices(labels, 0.2)
    first = held_out[labels[held_out] == 0].double()
    assert len(first) == 20
    assert 35 < first.mean() < 65  # uniform: 49.5, 28.9
    assert 20 < first.std() < 36


def test_a_search_that_held_out_others_is_no_guarantee(photos, tmp_path):
    """That of a version which held out images whatever their class, or whose report is gone."""
    run = searched(tmp_path / "search", photos, 0.4, hold_out_sha256=None)
    with pytest.raises(
        UserError, match=r"report.json does not say which images .* held out .*search again, or give other"
    ):
        evaluated(tmp_path, f"run={run}")
    (run / "report.json").unlink()
    with pytest.raises(UserError, match=r"report.json does not say which images"):
        evaluated(tmp_path, f"run={run}")


@pytest.mark.parametrize("fraction", [0.4, 0.2])
def test_held_out_images_are_tested_on(fraction, photos, tmp_path):
    run = searched(tmp_path / "search", photos, 0.4)
    report = evaluated(tmp_path, f"run={run}", f"dataset.test_fraction={fraction}", "trainer.max_epochs=1")
    assert report["split"]["test_images"] == 40 * fraction
    assert "caution" not in report["split"]


def test_another_data_set_may_be_named(photos, tmp_path):
    add_photos(tmp_path / "others", {"cat": 4, "dog": 4})
    run = searched(tmp_path / "search", photos)
    named = (
        "dataset=folder",
        f"dataset.root={tmp_path / 'others'}",
        "dataset.test_fraction=0.5",
        "dataset.image_size=8",
    )
    assert evaluated(tmp_path, f"run={run}", *named, "trainer.max_epochs=1")["split"]["test_images"] == 4


def test_alphas_half_of_the_test_images_is_a_caution(photos, tmp_path, caplog):
    add_photos(tmp_path / "test", {"cat": 4, "dog": 4})
    run = searched(tmp_path / "search", photos, alpha_images="test_half")
    report = evaluated(tmp_path, f"run={run}", f"+dataset.test_root={tmp_path / 'test'}", "trainer.max_epochs=1")
    assert "alpha was trained on half of these test images" in report["split"]["caution"]
    assert report["split"]["caution"] in caplog.text
    assert report["split"]["caution"] in (tmp_path / "evaluation" / "MODEL_CARD.md").read_text()


def test_training_images_are_no_test_root(photos):
    with pytest.raises(UserError, match=r"dataset\.test_root=.* holds the training images"):
        Folder(str(photos), test_root=f"{photos}/", cache=None).load(False)


def test_a_search_without_test_images_says_so_once(photos, toy, caplog):
    caplog.set_level(logging.WARNING)
    images = (
        "dataset=folder",
        f"dataset.root={photos}",
        "dataset.cache=null",
        "data.train_images=8",
        "data.valid_images=8",
    )
    short = ("trainer.max_epochs=1", "data.batch_size=4")
    report = toy("without", *images, *short)
    assert caplog.text.count("dataset.test_fraction=0.2 would hold some out") == 1
    assert (report["split"]["test_images"], report["split"]["test_fraction"]) == (None, None)
    caplog.clear()
    report = toy("with", *images, *short, "dataset.test_fraction=0.2")
    assert "would hold some out" not in caplog.text
    assert (report["split"]["test_images"], report["split"]["test_fraction"]) == (8, 0.2)


# --- by class, and against the majority's share


def test_classwise_is_what_counting_by_hand_gives():
    generator = torch.Generator().manual_seed(0)
    labels, predicted = (torch.randint(4, (50,), generator=generator) for _ in range(2))
    labels[labels == 2] = 0  # a class without test images
    got = classwise(predicted, labels, 4)
    matrix = [
        [sum(1 for y, p in zip(labels, predicted, strict=True) if (y, p) == (i, j)) for j in range(4)] for i in range(4)
    ]
    assert got["confusion"] == matrix
    assert got["images"] == [sum(row) for row in matrix]
    recalls = [row[i] / sum(row) if sum(row) else None for i, row in enumerate(matrix)]
    assert got["recall"] == recalls
    assert recalls[2] is None
    assert got["test_accuracy"] == sum(matrix[i][i] for i in range(4)) / 50
    assert got["balanced_accuracy"] == pytest.approx((recalls[0] + recalls[1] + recalls[3]) / 3)
    assert got["majority"] == {"class": 0, "share": max(got["images"]) / 50}


@pytest.mark.parametrize(
    ("classes", "recall", "confusion"), [(64, True, True), (1_000, True, False), (1_001, False, False)]
)
def test_a_report_of_many_classes_can_be_read_again(classes, recall, confusion, tmp_path):
    got = classwise(torch.zeros(9, dtype=torch.int64), torch.zeros(9, dtype=torch.int64), classes)
    assert (got["recall"] is not None, got["confusion"] is not None) == (recall, confusion)
    (tmp_path / "report.json").write_text(json.dumps(got))
    assert received_json(tmp_path / "report.json") == got


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """The folder of a training on the photos."""
    place = tmp_path_factory.mktemp("trained")
    evaluated(place, f"genotype='{hostile.ARCHITECTURE}'", *images(photos))
    return place / "evaluation"


def images(photos):
    return (
        "dataset=folder",
        f"dataset.root={photos}",
        "dataset.cache=null",
        "dataset.test_fraction=0.3",
        "dataset.image_size=8",
    )


def test_an_accuracy_stands_beside_the_majoritys_share(photos, trained, tmp_path, capsys):
    report = json.loads((trained / "report.json").read_text())
    test = Folder(str(photos), test_fraction=0.3, cache=None).load(False).test
    by_class = report["classwise"]
    assert by_class["images"] == torch.bincount(test.labels).tolist()
    assert by_class["majority"] == {"class": 1, "share": by_class["images"][1] / len(test)}
    network, hits = nas_lightning.load(trained), [[0] * 3 for _ in range(3)]
    mean_std = map(tuple, report["normalisation"])
    for x, y in zip(normalise(test.pixels, *mean_std), test.labels.tolist(), strict=True):
        hits[y][network(x[None]).argmax().item()] += 1
    assert by_class["confusion"] == hits
    assert sum(hits[i][i] for i in range(3)) / len(test) == pytest.approx(report["test_accuracy"])
    share, card = f"{100 * by_class['majority']['share']:.2f} %", (trained / "MODEL_CARD.md").read_text()
    assert f"| always answering dog | {share}" in card
    lowest = min(zip(by_class["recall"], report["classes"], by_class["images"], strict=True))
    assert f"| ---: | ---: |\n| {lowest[1]} | {lowest[2]} | {100 * lowest[0]:.2f} |" in card
    assert f"| **owl** | {' | '.join(map(str, hits[2]))} |" in card
    print_evaluation(report, trained / "report.json", None)
    printed = capsys.readouterr().out
    assert f"{share} of the test images are of the class dog" in printed
    assert f"by class, lowest first: {lowest[1]} {100 * lowest[0]:.1f} %" in printed


@pytest.mark.parametrize("width", [100, 45, 20])
def test_an_evaluations_table_is_whole_on_a_narrow_terminal(width, trained, monkeypatch, capsys):
    report = json.loads((trained / "report.json").read_text())
    found = {**report["networks"]["found"], "params": 12_345_678, "macs": 123_456_789_012, "test_accuracy": 0.9876}
    report["networks"] = {"found": found, "mobilenet_v3_small": {**found, "params": 12_345_679}}
    monkeypatch.setattr(grid, "console", lambda: Console(width=width))
    print_evaluation(report, trained / "report.json", None)
    printed = capsys.readouterr().out
    assert "…" not in printed
    for number in ("12,345,678", "12,345,679", "123,456,789,012", "98.76"):
        assert number in printed.split()


def test_summaries_have_the_majoritys_share_where_a_report_has_it(trained, tmp_path, capsys):
    assert reports(["summary", str(trained), "--format", "csv"]) == 0
    (heading, line) = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert float(dict(zip(heading, line, strict=True))["majority_percent_mean"]) == 50
    for name, broken in (("a", None), ("b", {"majority": 3}), ("c", {"majority": {"share": "x"}})):
        (tmp_path / name).mkdir()
        report = json.loads((trained / "report.json").read_text()) | {"classwise": broken}
        (tmp_path / name / "report.json").write_text(json.dumps(report))
    assert reports(["summary", str(tmp_path), "--format", "markdown"]) == 0
    assert "majority" not in capsys.readouterr().out


def test_a_matrix_too_wide_to_read_is_left_out_of_the_card(trained):
    report = json.loads((trained / "report.json").read_text())
    wide = classwise(torch.arange(21), torch.arange(21), 21)
    card = model_card({**report, "classes": None, "classwise": wide}, "x")
    assert "| class 20 | 1 | 100.00 |" in card
    assert "true, predicted" not in card


# --- rare classes


def test_balanced_losses_are_those_of_a_slow_reference():
    """sum_i w_y(i) l_i / sum_i w_y(i) with w_c = N / (classes * n_c), in a training and in both losses of a search."""
    data = {"train": TrainData(Uneven(), balance=True), "search": SearchData(Uneven(), balance=True)}
    logits, y = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0, 1, 2, 2, 0, 1, 0])

    def expected(labels, smoothing):
        total, weights = 0.0, 0.0
        for z, label in zip(logits.double(), y.tolist(), strict=True):
            w = [len(labels) / (3 * labels.count(c)) for c in range(3)]
            share = [smoothing / 3 + (1 - smoothing) * (c == label) for c in range(3)]
            total -= sum(w[c] * share[c] * math.log(z[c].exp() / z.exp().sum()) for c in range(3))
            weights += w[label]
        return total / weights

    class Fixed(torch.nn.Module):
        def forward(self, *_):
            return logits

    module = NetworkModule(Fixed(), torch.optim.SGD, label_smoothing=0.1, class_weights=data["train"].class_weights)
    module.trainer = type("Trainer", (), {"is_last_batch": False})()
    labels = [0] * 12 + [1] * 6 + [2] * 2
    assert module.training_step((logits, y), 0).item() == pytest.approx(expected(labels, 0.1))
    half = data["search"].splits.train.labels[data["search"].parts[0]].tolist()
    assert len(half) == 10
    assert {*half} == {0, 1, 2}
    search = build_module(composed("space.C=4", "space.N=1", "run_dir=x"), 3, data["search"].class_weights)
    search.halves.supernet = Fixed()
    assert search.halves.loss_at((logits, y), {})[0].item() == pytest.approx(expected(half, 0.0))


def test_a_class_without_training_images_has_a_finite_weight():
    assert inverse_frequencies(torch.tensor([0, 0, 2]), 3).tolist() == pytest.approx([0.5, 1.0, 1.0])


@dataclass(frozen=True)
class Uneven(Fake):
    """12, 6 and 2 training images of three classes."""

    num_classes: int = 3
    image_size: int = 8

    def load(self, progress):
        labels = torch.tensor([0] * 12 + [1] * 6 + [2] * 2)
        images = Images(torch.zeros(20, 3, 8, 8, dtype=torch.uint8), labels, ("a", "b", "c"))
        return Splits(images, images, (0.5,) * 3, (0.5,) * 3)


def test_a_balanced_search_and_training_run(photos, toy, tmp_path):
    small = (
        "data.train_images=8",
        "data.valid_images=8",
        "trainer.max_epochs=2",
        "data.batch_size=4",
        "data.balance=true",
    )
    plain = toy("plain", *images(photos), *small[:-1])
    balanced = toy("balanced", *images(photos), *small)
    assert balanced["final"]["valid_loss"] != plain["final"]["valid_loss"]
    report = evaluated(tmp_path, f"run={tmp_path / 'balanced'}", "data.balance=true", "trainer.max_epochs=1")
    state = torch.load(tmp_path / "evaluation" / "found" / "checkpoints" / "last.ckpt", weights_only=True)
    assert report["config"]["data"]["balance"] is True
    assert not any("class_weights" in name for name in state["state_dict"])


# --- the best epoch by validation


BEST = (
    "data.valid_fraction=0.25",
    "trainer.max_epochs=5",
    "recipe.optimizer.lr=0.5",
    f"genotype='{hostile.ARCHITECTURE}'",
)
"""Of a rate at which the last epoch is not the best."""


@pytest.fixture(scope="module")
def best(photos, tmp_path_factory):
    """The folder of a training with validation images."""
    place = tmp_path_factory.mktemp("best")
    evaluated(place, *BEST, *images(photos))
    return place / "evaluation"


def test_validation_images_are_held_out_of_the_training_ones_and_always_the_same():
    data, again = (TrainData(Fake(image_size=8), valid_fraction=0.25, seed=seed) for seed in (0, 1))
    train, valid = (part.tolist() for part in data.parts)
    assert sorted(train + valid) == [*range(512)]
    assert len(valid) == 130
    assert [part.tolist() for part in again.parts] == [train, valid]
    assert len(torch.cat([y for _, y in data.val_dataloader()])) == 130
    assert sum(len(y) for _, y in data.train_dataloader()) == 382
    assert len(torch.cat([y for _, y in data.test_dataloader()])) == 128
    assert data.split_record() == {"mode": "train/test", "train_images": 382, "valid_images": 130, "test_images": 128}


def test_the_best_epoch_by_validation_is_kept_and_tested_once(photos, best):
    report, lines = json.loads((best / "report.json").read_text()), rows(best / "found")
    accuracies = [float(line["validation_accuracy"]) for line in lines]
    assert not any("test" in column for column in lines[0])
    epoch = accuracies.index(max(accuracies))
    assert epoch < len(lines) - 1
    assert (report["best_epoch"], report["validation_accuracy"]) == (epoch, accuracies[epoch])
    assert report["train_accuracy"] == float(lines[epoch]["train_accuracy"])
    network, mean_std = nas_lightning.load(best), [tuple(each) for each in report["normalisation"]]
    splits = Folder(str(photos), test_fraction=0.3, cache=None).load(False)
    valid = splits.train.subset(
        TrainData(Folder(str(photos), test_fraction=0.3, cache=None), valid_fraction=0.25).parts[1]
    )
    for part, accuracy in ((valid, accuracies[epoch]), (splits.test, report["test_accuracy"])):
        hits = network(normalise(part.pixels, *mean_std)).argmax(1) == part.labels
        assert hits.float().mean().item() == pytest.approx(accuracy)
    assert report["selection"] == "test accuracy of the best validated epoch"
    assert f"(epoch {epoch + 1}, the best by validation accuracy, 12 images)" in (best / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("after", [1, 4])
def test_an_interrupted_training_keeps_the_same_best_epoch(after, photos, best, tmp_path, monkeypatch):
    interrupt(monkeypatch, epoch=after)
    with pytest.raises(SystemExit):
        evaluated(tmp_path, *BEST, *images(photos))
    resumed, whole = evaluated(tmp_path, *BEST, *images(photos)), json.loads((best / "report.json").read_text())
    for key in ("best_epoch", "validation_accuracy", "test_accuracy", "train_accuracy", "classwise"):
        assert resumed[key] == whole[key]
    assert rows(tmp_path / "evaluation" / "found") == rows(best / "found")
    ours, theirs = (torch.load(place / "found" / "weights.pt") for place in (tmp_path / "evaluation", best))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_first_of_equally_good_epochs_is_kept():
    best, module = BestWeights("accuracy"), torch.nn.Linear(1, 1)
    for epoch, accuracy in enumerate((0.2, 0.5, 0.5, 0.4)):
        torch.nn.init.constant_(module.weight, epoch)
        trainer = type(
            "Trainer", (), {"callback_metrics": {"accuracy": torch.tensor(accuracy)}, "current_epoch": epoch}
        )
        best.on_train_epoch_end(trainer, module)
    assert (best.epoch, best.value, best.weights["weight"].item()) == (1, 0.5, 1.0)


def test_too_few_validation_images_are_refused_before_anything_is_written(photos, tmp_path):
    with pytest.raises(UserError, match=r"data.valid_fraction=0.01 holds 0 of 28 training images out"):
        evaluated(tmp_path, f"genotype='{hostile.ARCHITECTURE}'", *images(photos), "data.valid_fraction=0.01")
    assert not (tmp_path / "evaluation").exists()


def test_images_stay_where_they_are_until_there_is_a_trainer():
    data = TrainData(Fake(image_size=8), valid_fraction=0.25, balance=True)
    data.setup("fit")
    _ = data.split_record(), data.class_weights
    assert not {"_train_images", "_test_images"} & vars(data).keys()


@pytest.mark.parametrize(("fraction", "sentence"), [(0.001, "holds 0 of 512 training"), (1, "valid_fraction=1 is no")])
def test_no_validation_part_is_one_sentence(fraction, sentence):
    with pytest.raises(UserError, match=sentence):
        TrainData(Fake(image_size=8), valid_fraction=fraction).setup("fit")


# --- beside networks of torchvision

SHUFFLENET = "shufflenet_v2_x0_5"


@pytest.mark.parametrize("given", [[SHUFFLENET, "vgg11", "vgg11"], f"{SHUFFLENET}, vgg11"])
def test_references_are_a_list_or_a_text_of_names(given):
    settings = {"pretrained": False, "train": True}
    assert named_baselines(OmegaConf.create({"baselines": given, **settings})) == (SHUFFLENET, "vgg11")
    assert [named_baselines(OmegaConf.create({"baselines": flag, **settings})) for flag in (True, False)] == [(), ()]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("baselines=[resnet19]",), "torchvision, which has no 'resnet19' .* such as resnet1"),
        (("baselines=[resnet18,MobileNet_v3]",), "no 'MobileNet_v3' .* mobilenet_v3_small"),
        (("baselines=[3]",), "baselines must be true or false, or names"),
        (("baselines=3",), "baselines must be true or false, or names"),
        (("baselines=[fasterrcnn_resnet50_fpn]",), "has no 'fasterrcnn_resnet50_fpn' for classification"),
        (("baselines=[resnet18]", "train=false"), "add train=true"),
        (("baselines=true", "pretrained=true"), "name some, as in baselines="),
        (("baselines=[resnet18]", "pretrained=maybe"), "pretrained must be true or false"),
        (
            ("baselines=[vit_b_16]",),
            "images of 8 pixels do not pass through torchvision's vit_b_16 .*Wrong image height",
        ),
    ],
)
def test_references_that_cannot_be_had_are_one_sentence(overrides, sentence, photos, tmp_path):
    with pytest.raises(UserError, match=sentence) as raised:
        evaluated(tmp_path, f"genotype='{hostile.ARCHITECTURE}'", *images(photos), *overrides)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "evaluation").exists()


def test_references_cost_what_torchvision_says():
    for name, weights in (("resnet18", ResNet18_Weights.DEFAULT), ("regnet_y_400mf", RegNet_Y_400MF_Weights.DEFAULT)):
        cost = reference_cost(name, 1000, 224)
        assert cost.params == weights.meta["num_params"]
        assert cost.macs / 1e9 == pytest.approx(weights.meta["_ops"], abs=6e-3)


def test_pretrained_weights_are_all_but_the_last_layers(monkeypatch):
    torch.manual_seed(1)
    fetched = get_model(SHUFFLENET, weights=None).state_dict()
    monkeypatch.setattr(ShuffleNet_V2_X0_5_Weights, "get_state_dict", lambda *_, **__: fetched)
    torch.manual_seed(0)
    started = get_model(SHUFFLENET, weights=None, num_classes=3).state_dict()
    torch.manual_seed(0)
    network = reference_network(SHUFFLENET, 3, pretrained=True)
    for name, value in network.state_dict().items():
        assert torch.equal(value, (started if name.startswith("fc.") else fetched)[name])

    def unreachable(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(ShuffleNet_V2_X0_5_Weights, "get_state_dict", unreachable)
    with pytest.raises(
        UserError, match=r"cannot be fetched \(.*no route to host.*put https://.*pth into .*pretrained=false"
    ):
        reference_network(SHUFFLENET, 3, pretrained=True)


def test_a_reference_is_trained_beside_the_found_network_and_resumes(photos, tmp_path, monkeypatch, capsys):
    asked = (f"genotype='{hostile.ARCHITECTURE}'", *images(photos), f"baselines=[{SHUFFLENET}]")
    whole = evaluated(tmp_path, *asked, folder="whole")
    printed = capsys.readouterr().out
    interrupt(monkeypatch, epoch=1)
    with pytest.raises(SystemExit):
        evaluated(tmp_path, *asked, folder="stopped")
    resumed = evaluated(tmp_path, *asked, folder="stopped")
    for name, network in whole["networks"].items():
        assert resumed["networks"][name]["test_accuracy"] == network["test_accuracy"]
        assert rows(tmp_path / "stopped" / name) == rows(tmp_path / "whole" / name)
        assert network["latency_ms"] > 0
    assert [*whole["networks"]] == ["found", SHUFFLENET]
    size = (tmp_path / "whole" / "found" / "weights.pt").stat().st_size
    assert whole["networks"]["found"]["file_bytes"] == pytest.approx(size, abs=3_000)  # its texts
    assert whole["networks"][SHUFFLENET]["params"] == sum(
        p.numel() for p in reference_network(SHUFFLENET, 3, False).parameters()
    )
    assert "made for images of 224 pixels" in printed
    card = (tmp_path / "whole" / "MODEL_CARD.md").read_text()
    assert f"| {SHUFFLENET} | {100 * whole['networks'][SHUFFLENET]['test_accuracy']:.2f} |" in card


def test_a_better_reference_is_said_to_be(trained, capsys):
    report = json.loads((trained / "report.json").read_text())
    found = {**report["networks"]["found"], "test_accuracy": 0.5, "params": 1_000, "macs": 2_000}
    other = {**found, "test_accuracy": 0.75, "params": 9_000, "macs": 3_000}
    report["networks"] = {"found": found, "resnet18": other, "vgg11": {**found, "test_accuracy": 0.5}}
    (sentence,) = better(report)
    assert sentence.startswith(
        "resnet18 is better than the found network: 75.00 % against 50.00 %, some 3 of 12 test images"
    )
    assert "9 times the parameters and 1.5 times the multiply-adds" in sentence
    print_evaluation(report, trained / "report.json", None)
    assert sentence in capsys.readouterr().out
    assert sentence in model_card(report, "x")
    report["networks"]["resnet18"] = {**other, "test_accuracy": 0.4}
    assert better(report) == []


def test_latency_is_the_median_of_single_images_on_one_thread():
    class Slow(torch.nn.Module):
        def __init__(self, seconds):
            super().__init__()
            self.calls, self.seconds = [], seconds

        def forward(self, x):
            self.calls.append((tuple(x.shape), torch.get_num_threads(), self.training))
            time.sleep(10 * self.seconds if len(self.calls) % 10 == 1 else self.seconds)  # outliers do not count
            return x

    threads = torch.get_num_threads()
    slow, fast = Slow(0.004), Slow(0.001)
    got = latencies({"slow": slow, "fast": fast}, 8)
    assert {*slow.calls} == {((1, 3, 8, 8), 1, False)}
    assert 4 <= got["slow"] < 40
    assert 1 <= got["fast"] < got["slow"]
    assert torch.get_num_threads() == threads


def test_torchvisions_own_stochastic_depth_is_kept():
    network = reference_network("efficientnet_b0", 3, pretrained=False)
    before = [each.p for each in network.modules() if isinstance(each, StochasticDepth)]
    module = NetworkModule(network, torch.optim.SGD)
    module.trainer = type("Trainer", (), {"max_epochs": 6, "current_epoch": 3})()
    module.on_train_epoch_start()
    assert before == [each.p for each in network.modules() if isinstance(each, StochasticDepth)]
    assert max(before) > 0
