"""Which images a search trains on, in which batches: against the lists and loops of the programs that it follows."""

import csv
import itertools
import json
from dataclasses import dataclass
from html import escape
from types import SimpleNamespace
from typing import ClassVar

import pytest
import pytorch_lightning as pl
import torch

from nas_lightning.app.job import Job
from nas_lightning.app.search import search
from nas_lightning.callbacks.progress import _looked_up
from nas_lightning.data import BatchGrowth, BatchLoader, Cifar10, Digits, Fake, Images, SearchData, Splits, Svhn
from nas_lightning.data.augment import Transform, cut_out_, normalise
from nas_lightning.errors import UserError
from nas_lightning.reports.page import write_page
from nas_lightning.reports.runs import find_runs
from nas_lightning.streams import stream_seed
from tests.conftest import TOY, composed

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
GROWTH = BatchGrowth(images=2, start=0, interval=1, times=2)


@dataclass(frozen=True)
class Numbered:
    """Black images whose label is their number; test images are numbered from 1,000."""

    train: int = 40
    test: int = 20
    side: int = 8

    name: ClassVar = "numbered"
    num_classes: ClassVar = 2000
    padding: ClassVar = 0
    flip: ClassVar = False
    official_test: ClassVar = True

    def load(self, progress):
        parts = []
        for first, count in ((0, self.train), (1000, self.test)):
            labels = torch.arange(first, first + count)
            classes = tuple(map(str, range(self.num_classes)))
            parts.append(Images(torch.zeros(count, 3, 8, 8, dtype=torch.uint8), labels, classes))
        return Splits(*parts, MEAN, STD)


@dataclass(frozen=True)
class Official(Fake):
    """Made-up images that count as a benchmark's."""

    official_test: ClassVar = True


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def labels_of(loader):
    return [y.tolist() for _, y in loader]


def pairs(data):
    """(labels of the training batch, labels of the validation batch) of each step."""
    return [(b["train"][1].tolist(), b["valid"][1].tolist()) for b, *_ in iter(data.train_dataloader())]


def flat(batches):
    return list(itertools.chain.from_iterable(batches))


def evaluated(data):
    return flat(labels_of(data.val_dataloader()))


# ---- which images ----


def test_halves_by_index_are_the_first_and_the_second_half():
    data = SearchData(Numbered(), batch_size=8, split="index")
    train, valid = zip(*pairs(data), strict=True)
    assert sorted(flat(train)) == list(range(20))
    assert {*flat(valid)} <= {*range(20, 40)}
    assert evaluated(data) == list(range(20, 40))


@pytest.mark.parametrize("quoted", [False, True])
def test_a_file_names_the_images_of_both_parts_as_autodl_projects_writes_it_or_plainly(quoted, tmp_path):
    train, valid = [0, 5, 7, 11, 13, 30], [1, 2, 39, 3]
    plain = {"train": train, "valid": valid}
    theirs = {name: ["int", [str(index) for index in part]] for name, part in plain.items()}
    file = written(tmp_path / "split.txt", theirs if quoted else plain)
    data = SearchData(Numbered(), batch_size=3, split="file", split_file=file)
    assert [part.tolist() for part in data.parts] == [train, valid]
    assert sorted(flat(batch for batch, _ in pairs(data))) == train
    assert evaluated(data) == valid
    record = data.split_record()
    assert (record["mode"], record["split_file"], record["split_seed"]) == ("file", file, None)
    assert record["train_fraction"] is None


@dataclass(frozen=True)
class Published(Numbered):
    """As many images as a benchmark has, in its order."""

    name: str = "cifar10"
    num_classes: ClassVar = 60_000
    published_order: ClassVar = True


SHA256 = {  # of AutoDL-Projects' lists, f46486e21b71
    ("cifar10", 50_000, 20, "held_out"): ("804c60edb02b", [0, 5, 7, 11, 13], [1, 2, 3, 4, 6]),
    ("cifar100", 40, 10_000, "test_half"): ("5f6245f8741c", [0, 1, 2, 3, 4], [1, 3, 4, 5, 8]),
    ("imagenet16_120", 40, 6_000, "test_half"): ("78fe1fb23cb0", [0, 1, 2, 3, 4], [1, 2, 3, 6, 7]),
}


@pytest.mark.parametrize("chosen", SHA256, ids=lambda chosen: chosen[0])
def test_nas_bench_201s_lists_are_those_of_its_authors(chosen):
    name, train_images, test_images, alpha_images = chosen
    sha256, train, valid = SHA256[chosen]
    images = Published(train_images, test_images, name=name)
    data = SearchData(images, split="nas_bench_201", alpha_images=alpha_images)
    assert [part[:5].tolist() for part in data.parts] == [train, valid]
    record = data.split_record()
    assert (record["mode"], record["split_seed"], record["train_fraction"]) == ("nas_bench_201", None, None)
    assert record["train_sha256" if alpha_images == "held_out" else "valid_sha256"].startswith(sha256)
    whole = train_images if alpha_images == "held_out" else test_images
    assert len(data.parts[1]) == whole // 2
    if alpha_images == "held_out":
        assert sorted(torch.cat(data.parts).tolist()) == list(range(whole))
    single = SearchData(images, split="nas_bench_201", alpha_images="train_all")
    assert [part.tolist() for part in single.parts] == [list(range(train_images))] * 2  # nothing is halved


def test_images_that_nas_bench_201_has_no_list_of_are_one_sentence():
    bare = "data.split=nas_bench_201"
    for dataset, settings, message in (
        (Published(40), {}, f"{bare} has no list for the 40 training images of dataset cifar10"),
        (
            Published(50_000, name="cifar100"),
            {},
            f"{bare} has no list for the 50,000 training images of dataset cifar100",
        ),
        (
            Published(40, 20),
            {"alpha_images": "test_half"},
            f"{bare} has no list for the 20 test images of dataset cifar10",
        ),
    ):
        with pytest.raises(UserError, match=message) as error:
            SearchData(dataset, split="nas_bench_201", **settings).setup("fit")
        assert str(error.value).endswith("set data.split=seed.")
    with pytest.raises(
        UserError, match="by their place in the published files, which dataset numbered is not read from"
    ):
        SearchData(Numbered(), split="nas_bench_201")


BAD_FILES = {
    "not json": ("{", "cannot be read as JSON"),
    "deep": ("[" * 10**5, "cannot be read as JSON"),
    "a list": ([1, 2], 'no list "train"'),
    "another key": ({"train": [0, 1], "xvalid": [2]}, 'no list "valid" of indices from 0 to 39'),
    "too large": ({"train": [0, 40], "valid": [1, 2]}, 'no list "train" of indices from 0 to 39'),
    "negative": ({"train": [0, -1], "valid": [1, 2]}, 'no list "train"'),
    "a fraction": ({"train": [0, 1.5], "valid": [1, 2]}, 'no list "train"'),
    "a truth value": ({"train": [0, True], "valid": [1, 2]}, 'no list "train"'),
    "words": ({"train": ["int", ["0", "x"]], "valid": [1, 2]}, 'no list "train"'),
    "in both": ({"train": [0, 1], "valid": [1, 2]}, "names an image twice"),
    "twice": ({"train": [0, 0], "valid": [1, 2]}, "names an image twice"),
    "too few": ({"train": [0], "valid": [1, 2]}, "leaves 1 and 2 images"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_is_no_split_is_refused_in_one_sentence(kind, tmp_path):
    content, message = BAD_FILES[kind]
    data = SearchData(Numbered(), split="file", split_file=written(tmp_path / "split.json", content))
    with pytest.raises(UserError, match=message) as error:
        data.setup("fit")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="cannot be read as JSON"):
        SearchData(Numbered(), split="file", split_file=str(tmp_path / "none")).setup("fit")


@pytest.mark.parametrize("split", ["index", "seed", "file"])
def test_half_of_the_test_images_are_alphas_and_all_training_images_the_weights(split, tmp_path):
    settings, half = {"split": split}, list(range(10))
    if split == "file":
        half = [3, 1, 19, 8]
        settings["split_file"] = written(tmp_path / "test.json", {"xvalid": half, "xtest": [0, 2]})
    if split == "seed":
        settings["split_seed"] = 5
        half = torch.randperm(20, generator=torch.Generator().manual_seed(5))[:10].tolist()
    data = SearchData(Numbered(), batch_size=8, alpha_images="test_half", **settings)
    expected = [1000 + index for index in half]
    train, valid = zip(*pairs(data), strict=True)
    assert sorted(flat(train)) == list(range(40))
    assert {*flat(valid)} <= {*expected}
    assert evaluated(data) == expected
    record = data.split_record()
    assert (record["train_images"], record["valid_images"], record["train_fraction"]) == (40, len(half), None)
    assert f"images are {len(half)} of the official test images of dataset numbered" in record["caution"]


def test_single_level_shuffles_all_training_images_twice_and_measures_on_them():
    data = SearchData(Numbered(), batch_size=8, alpha_images="train_all", valid_batch="shuffled")
    steps = pairs(data)
    assert sorted(flat(train for train, _ in steps)) == list(range(40))
    assert all(train != valid for train, valid in steps)
    assert {label for _, valid in steps for label in valid} & {*range(20)}
    assert {label for _, valid in steps for label in valid} & {*range(20, 40)}
    assert sorted(evaluated(data)) == list(range(40))
    record = data.split_record()
    assert (record["measured_on"], record["train_sha256"]) == ("training images", record["valid_sha256"])
    assert "it is a training accuracy" in record["caution"]
    few = SearchData(Numbered(), alpha_images="train_all", train_images=6, valid_images=4)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0)).tolist()
    assert [part.tolist() for part in few.parts] == [order[:6], order[:4]]


def test_held_out_images_need_no_caution():
    record = SearchData(Numbered()).split_record()
    assert (record["caution"], record["measured_on"]) == (None, "the validation half")


class Sorted(Numbered):
    """Ten classes one after another, or in turn."""

    def __init__(self, in_turn, images=40):
        super().__init__(images)
        object.__setattr__(self, "in_turn", in_turn)

    def load(self, progress):
        splits = super().load(progress)
        count = len(splits.train)
        labels = torch.arange(count) % 10 if self.in_turn else torch.arange(count) * 10 // count
        return Splits(Images(splits.train.pixels, labels, splits.train.classes), splits.test, MEAN, STD)


def test_a_set_that_is_sorted_by_class_is_not_halved_by_index():
    with pytest.raises(UserError, match=r"10 of the 10 classes to one part alone.* set data\.split=seed\.") as error:
        SearchData(Sorted(False), split="index").setup("fit")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="9 of the 10 classes"):
        SearchData(Sorted(False, 160), split="index", train_fraction=0.25, valid_images=3).setup("fit")
    for data in (
        SearchData(Sorted(True), split="index"),
        SearchData(Sorted(False), split="seed"),
        SearchData(Sorted(False, 20), split="index", train_fraction=0.1),  # too few to tell
        SearchData(Digits(), split="index"),
        SearchData(Fake(image_size=8), split="index"),
    ):
        data.setup("fit")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha_images": "test"}, "data.alpha_images='test' is unknown; give held_out, train_all or test_half."),
        ({"alpha_images": ["held_out"]}, "data.alpha_images="),
        ({"split": "half"}, "data.split='half' is unknown; give seed, index, file or nas_bench_201."),
        ({"valid_batch": "cycle"}, "data.valid_batch='cycle' is unknown; give replacement, shuffled or in_turn."),
        ({"valid_batch": True}, "data.valid_batch=True"),
        ({"split": "file"}, "data.split=file and data.split_file=None do not go together"),
        ({"split_file": "x"}, "data.split=seed and data.split_file=x do not go together"),
        ({"split": "file", "split_file": 3}, "data.split_file=3 is no file"),
        ({"split": "file", "split_file": "x", "alpha_images": "train_all"}, "nothing to split"),
        ({"split": "file", "split_file": "x", "train_fraction": 0.4}, "data.train_fraction=0.4 has no effect"),
        ({"split": "nas_bench_201", "train_fraction": 0.4}, "data.train_fraction=0.4 has no effect"),
        ({"split": "index", "split_seed": 3}, "data.split_seed=3 has no effect with data.split=index"),
        ({"alpha_images": "test_half", "train_fraction": 0.4}, "data.train_fraction=0.4 has no effect"),
        ({"cutout": 3}, "data.cutout=3 is no side"),
        ({"cutout": -2}, "data.cutout=-2"),
        ({"cutout": float("nan")}, "data.cutout=nan"),
        ({"batch_growth": 8}, "data.batch_growth=8 is no growth"),
    ],
)
def test_settings_that_say_nothing_are_refused_in_one_sentence(settings, message):
    with pytest.raises(UserError) as error:
        SearchData(Numbered(), **settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dataset", [Digits(), Fake(image_size=8)])
def test_alpha_is_not_trained_on_test_images_that_are_no_benchmarks(dataset):
    with pytest.raises(UserError, match=f"dataset {dataset.name} has none; set data.alpha_images=held_out"):
        SearchData(dataset, alpha_images="test_half")


@pytest.mark.parametrize("name", ["images", "start", "interval", "times"])
@pytest.mark.parametrize("value", [-1, 1.5, "2", None, True])
def test_nonsense_growth_is_refused(name, value):
    with pytest.raises(UserError, match=f"data.batch_growth.{name} must be a "):
        BatchGrowth(**{"images": 8, "start": 9, "interval": 5, "times": 8, name: value})


def test_svhn_is_flipped_and_flip_is_a_key_of_all():
    for dataset, default in ((Svhn, True), (Cifar10, True), (Digits, False), (Fake, False)):
        assert dataset().flip is default
        assert dataset(flip=not default).flip is not default
        with pytest.raises(UserError, match=r"dataset\.flip must be true or false"):
            dataset(flip="no")
    data = SearchData(Fake(image_size=8, flip=True))
    assert data._augmented().flip
    assert data.split_record()["flip"] is True


# ---- which batches ----


def loader(count=30, batch_size=8, **settings):
    images = Images(torch.zeros(count, 3, 8, 8, dtype=torch.uint8), torch.arange(count), tuple(map(str, range(count))))
    plain = {"seed": 3, "epoch": lambda: 2, "role": "search-valid", "order": "first_shuffled", "num_batches": 12}
    plain["transform"] = Transform(MEAN, STD)
    return BatchLoader(images, torch.arange(count), batch_size, **(plain | settings))


def test_a_batch_of_a_freshly_shuffled_pass_is_the_first_of_a_loader_made_for_each_step():
    generator = torch.Generator().manual_seed(stream_seed(3, 2, "search-valid"))
    expected = [torch.randperm(30, generator=generator).tolist()[:8] for _ in range(12)]
    batches = labels_of(loader())
    assert batches == expected
    assert all(len({*batch}) == 8 for batch in batches)
    assert len({label for batch in batches for label in batch}) < 12 * 8
    assert labels_of(loader(epoch=lambda: 3)) != batches
    assert [len(batch) for batch in labels_of(loader(count=5))] == [5] * 12


def test_two_ranks_share_one_freshly_shuffled_batch_and_its_cutouts():
    transform = Transform(MEAN, STD, padding=2, flip=True, cutout=4, cutout_probability=0.5)
    whole = list(loader(batch_size=8, transform=transform))
    ranks = [list(loader(batch_size=4, rank=rank, world_size=2, transform=transform)) for rank in (0, 1)]
    for (x, y), *halves in zip(whole, *ranks, strict=True):
        assert torch.equal(torch.cat([half[0] for half in halves]), x)
        assert torch.equal(torch.cat([half[1] for half in halves]), y)
    assert any((x != x[0]).any() for x, _ in whole)


@pytest.mark.parametrize(("order", "doubles"), [("replacement", True), ("shuffled", False)])
def test_validation_batches_hold_an_image_twice_only_where_they_are_drawn_with_replacement(order, doubles):
    steps = pairs(SearchData(Numbered(), batch_size=10, valid_batch=order))
    assert any(len({*valid}) < len(valid) for _, valid in steps) is doubles
    assert all(len(valid) == 10 for _, valid in steps)


@pytest.mark.parametrize("world_size", [1, 2])
def test_in_turn_every_image_has_been_there_before_any_comes_again(world_size):
    part, size = torch.arange(100, 141), 6 // world_size
    ranks = [
        BatchLoader(
            Numbered(), part, size, Transform(MEAN, STD), 0, lambda: 3, "x", "in_turn", num_batches=15, rank=rank,
            world_size=world_size,
        )._index_batches(torch.Generator().manual_seed(0))
        for rank in range(world_size)
    ]  # fmt: skip
    assert all(torch.equal(torch.cat(ranks[0]), torch.cat(other)) for other in ranks)
    batches = [batch.tolist() for batch in ranks[0]]
    assert [len(batch) for batch in batches] == [6, 6, 6, 6, 6, 6, 5] * 2 + [6]
    for start in (0, 7):
        assert sorted(image for batch in batches[start : start + 7] for image in batch) == part.tolist()
    assert batches[:7] != batches[7:14]


def test_in_turn_a_part_smaller_than_a_batch_comes_whole_each_time():
    loader = BatchLoader(
        Numbered(), torch.arange(3), 8, Transform(MEAN, STD), 0, lambda: 0, "x", "in_turn", num_batches=4
    )
    assert [sorted(batch.tolist()) for batch in loader._index_batches(torch.Generator())] == [[0, 1, 2]] * 4


# ---- cutout ----


def test_cutout_spares_as_many_images_as_a_loop_over_them_that_asks_a_coin():
    transform = Transform(MEAN, STD, padding=2, flip=True, cutout=4, cutout_probability=0.3)
    draw = transform.draw(500, 8, torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    shift, flip = torch.randint(5, (500, 2), generator=generator), torch.rand(500, generator=generator) < 0.5
    centre, coin = torch.randint(8, (500, 2), generator=generator), torch.rand(500, generator=generator)
    assert torch.equal(draw.shift_B2, shift)
    assert torch.equal(draw.flip_B, flip)
    images = torch.rand(500, 3, 8, 8)
    got = cut_out_(images.clone(), 4, draw.centre_B2)
    for image, result, place, toss in zip(images, got, centre, coin.tolist(), strict=True):
        expected = cut_out_(image[None].clone(), 4, place[None])[0] if toss < 0.3 else image
        assert torch.equal(result, expected)
    assert 0.2 < sum(toss < 0.3 for toss in coin.tolist()) / 500 < 0.4


@pytest.mark.parametrize(("epoch", "probability"), [(0, 0.0), (1, 1 / 3), (3, 1.0)])
def test_cutout_of_a_search_grows_from_no_image_to_all_in_both_parts(epoch, probability):
    trainer = SimpleNamespace(
        current_epoch=epoch, max_epochs=4, reload_dataloaders_every_n_epochs=1, global_rank=0, world_size=1,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )  # fmt: skip

    def batches(cutout):
        data = SearchData(Fake(image_size=8), batch_size=64, cutout=cutout)
        data.trainer = trainer
        return data._augmented(), [batch for batch, *_ in iter(data.train_dataloader())]

    (transform, cut), (_, plain) = batches(4), batches(0)
    assert transform.cutout_probability == pytest.approx(probability)
    for part in ("train", "valid"):
        changed = [
            (x != y).flatten(1).any(1)
            for x, y in zip((b[part][0] for b in cut), (b[part][0] for b in plain), strict=True)
        ]
        share = torch.cat(changed).float().mean().item()
        assert share == pytest.approx(probability, abs=0.1)
        assert probability not in (0.0, 1.0) or share == probability
        assert all(
            torch.equal(x[part][1], y[part][1]) for x, y in zip(cut, plain, strict=True)
        )  # the same images otherwise


# ---- growth, through Lightning ----


class Recorder(pl.LightningModule):
    """Remembers the size and a checksum of every batch of both parts, by epoch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.sizes, self.sums, self.validations, self.last = {}, {}, [], []

    def training_step(self, batch, batch_idx):
        parts = [batch[name] for name in ("train", "valid")]
        self.sizes.setdefault(self.current_epoch, []).append(tuple(len(y) for _, y in parts))
        self.sums.setdefault(self.current_epoch, []).extend(x.double().sum().item() for x, _ in parts)
        if self.trainer.is_last_batch:
            self.last.append(batch_idx)
        return self.weight**2

    def validation_step(self, batch, batch_idx):
        if batch_idx == 0 and not self.trainer.sanity_checking:
            self.validations.append(self.current_epoch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fitted(epochs, folder, checkpoint=None, reload=1, total=5, **settings):
    trainer = pl.Trainer(
        max_epochs=total, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=reload,
        callbacks=[] if epochs == total else [StopAfter(epochs, folder)],
    )  # fmt: skip
    recorder = Recorder()
    data = SearchData(Fake(image_size=8, train_images=80), batch_size=6, valid_batch="shuffled", **settings)
    trainer.fit(recorder, datamodule=data, ckpt_path=checkpoint)
    return recorder


class StopAfter(pl.Callback):
    """Saves at the end of an epoch, as a search does, and stops there."""

    def __init__(self, epochs, folder):
        self.epochs, self.path = epochs, folder / "stopped.ckpt"

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == self.epochs - 1:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


@pytest.mark.filterwarnings("ignore")
def test_batches_grow_after_each_decision_and_a_resumed_search_has_the_same(tmp_path):
    changing = {"batch_growth": GROWTH, "cutout": 4}
    whole = fitted(5, tmp_path, **changing)
    expected = {epoch: 6 + 2 * min(epoch, 2) for epoch in range(5)}  # decisions at the ends of epochs 0 and 1
    for epoch, size in expected.items():
        sizes = [size] * (40 // size) + ([40 % size] if 40 % size > 1 else [])
        assert [train for train, _ in whole.sizes[epoch]] == sizes
        assert [valid for _, valid in whole.sizes[epoch]] == [size] * len(sizes)
    assert whole.validations == list(range(5))
    assert whole.last == [len(whole.sizes[epoch]) - 1 for epoch in range(5)]
    for stop in (1, 2, 3):
        stopped = fitted(stop, tmp_path, **changing)
        resumed = fitted(5, tmp_path, tmp_path / "stopped.ckpt", **changing)
        assert stopped.sums | resumed.sums == whole.sums
        assert sorted(resumed.sums) == list(range(stop, 5))
        assert stopped.validations + resumed.validations == list(range(5))
    record = SearchData(Fake(image_size=8), batch_size=6, batch_growth=GROWTH).split_record()
    assert record["batch_sizes"] == {"0": 6, "1": 8, "2": 10}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("changing", [{"batch_growth": GROWTH}, {"cutout": 4}])
def test_what_changes_with_the_epoch_needs_loaders_of_the_epoch(changing, tmp_path):
    with pytest.raises(UserError, match="reload_dataloaders_every_n_epochs=1"):
        fitted(5, tmp_path, reload=0, **changing)


def test_sgas_batches_grow_as_its_program_says():
    data = composed("method=sgas", "space=darts", "protocol=published", "run_dir=x").data
    growth = BatchGrowth(**{key: value for key, value in data.batch_growth.items() if key != "_target_"})
    size, sizes = 64, []
    for epoch in range(50):  # lightaime/sgas: after epoch 9 and every fifth, while edges are left: eight times
        sizes.append(size)
        if epoch >= 9 and (epoch - 9) % 5 == 0 and size < 128:
            size += 8
    assert [data.batch_size + growth(epoch) for epoch in range(50)] == sizes
    assert (sizes[9], sizes[10], sizes[-1]) == (64, 72, 128)
    assert growth.steps() == [epoch for epoch in range(1, 50) if sizes[epoch] > sizes[epoch - 1]]


# ---- whole searches ----

PROTOCOL = (
    "data.valid_batch=shuffled", "data.cutout=4", "+data.batch_growth._target_=nas_lightning.data.BatchGrowth",
    "+data.batch_growth.images=4", "+data.batch_growth.start=0", "+data.batch_growth.interval=2",
    "+data.batch_growth.times=2",
)  # fmt: skip


def test_a_search_on_test_images_says_so_in_log_panel_report_and_page(toy, caplog, capsys, tmp_path):
    overrides = ("dataset._target_=tests.test_search_data.Official", "data.alpha_images=test_half")
    report = toy("run", *overrides, "data.train_images=null", "trainer.max_epochs=1")
    split = report["split"]
    assert (split["alpha_images"], split["train_images"], split["valid_images"]) == ("test_half", 512, 48)
    sentence = "Alpha's images are 48 of the official test images of dataset fake"
    assert split["caution"].startswith(sentence)
    assert any(r.levelname == "WARNING" and r.message.startswith(sentence) for r in caplog.records)
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "on the test images that are alpha's" in printed
    assert sentence in printed
    page = tmp_path / "page.html"
    write_page(find_runs(tmp_path / "run"), page)
    assert escape(sentence) in page.read_text()


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in csv.DictReader(file)]


def test_a_search_with_batches_of_the_epoch_resumes_to_the_bit(toy, tmp_path, monkeypatch):
    whole = toy("whole", *PROTOCOL)
    assert whole["split"]["batch_sizes"] == {"0": 16, "1": 20, "3": 24}

    class Interrupted(Exception):
        pass

    def stop(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == 2 and batch_idx == 1:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr("nas_lightning.callbacks.Progress.on_train_batch_start", stop, raising=False)
        with pytest.raises(Interrupted):
            toy("parts", *PROTOCOL)
    parts = toy("parts", *PROTOCOL)
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert whole["architecture"] == parts["architecture"]


def test_growing_batches_and_graphs_are_refused_together(tmp_path):
    with pytest.raises(UserError, match=r"trainer\.graphs=true cannot be had with data\.batch_growth"):
        search(composed(*TOY, *PROTOCOL, "trainer.graphs=true", f"run_dir={tmp_path / 'run'}"), Job({}, []))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "shown"), [("cifar10", 1.0), ("cifar100", 2.0), ("imagenet16_120", 3.0)])
def test_the_progress_shows_the_tables_column_of_the_data_set(name, shown):
    columns = {"cifar10": 1.0, "cifar100": 2.0, "imagenet16_120": 3.0}
    logged = {f"table/{key}_test_200": torch.tensor(value) for key, value in columns.items()}
    trainer = SimpleNamespace(callback_metrics=logged, datamodule=SimpleNamespace(dataset=SimpleNamespace(name=name)))
    assert float(_looked_up(trainer)["table"]) == shown
    assert _looked_up(SimpleNamespace(callback_metrics={}, datamodule=None)) == {}
    trainer.datamodule.dataset.name = "folder"  # of which the table says nothing
    assert _looked_up(trainer) == {}


def test_augmented_images_of_both_parts_and_plain_ones_of_the_measurement():
    data = SearchData(Official(image_size=8), alpha_images="test_half", split="index")
    (x, y), *_ = data.val_dataloader()
    pixels, labels = next(iter(data.splits.test.batches([torch.arange(len(y))], 0)))
    assert torch.equal(y, labels)
    assert torch.equal(x, normalise(pixels, data.splits.mean, data.splits.std))
