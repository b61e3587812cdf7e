"""Data sets, split, augmentation and loaders."""

import io
import multiprocessing
import os
import pickle
import resource
import signal
import threading
import time
import urllib.error
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import scipy.io
import torch
import torchvision.transforms.functional as tvf
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from nas_lightning.data import (
    BatchLoader,
    Cifar10,
    Cifar100,
    Digits,
    Fake,
    Folder,
    ImageNet,
    ImageNet16_120,
    ImageNetData,
    Images,
    SearchData,
    Svhn,
    TrainData,
)
from nas_lightning.data.augment import Transform, crop_and_flip, cut_out_, normalise
from nas_lightning.data.decode import Decoder, StreamedImages, decode_all
from nas_lightning.data.images import channel_statistics, resize
from nas_lightning.data.split import split_indices
from nas_lightning.data.workers import batches_of
from nas_lightning.errors import UserError
from nas_lightning.image_tree import ZipTree, open_tree

CONF = Path(__file__).parent.parent / "conf"
SHARED = Path(os.environ.get("NAS_LIGHTNING_SHARED", Path(__file__).parent.parent.parent / "shared" / "data"))
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def random_pixels(count: int, side: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


def numbered_images(count: int, side: int = 8) -> Images:
    """Images whose label is their own number, so that a batch tells which images it holds."""
    return Images(random_pixels(count, side), torch.arange(count), tuple(map(str, range(count))))


def loader(count: int = 50, batch_size: int = 8, **settings: Any) -> BatchLoader:
    plain: dict[str, Any] = {
        "transform": Transform(MEAN, STD, padding=2, flip=True, cutout=4),
        "seed": 0,
        "epoch": lambda: 0,
        "role": "train",
        "order": "shuffled",
    }
    return BatchLoader(numbered_images(count), torch.arange(count), batch_size, **(plain | settings))


def is_one_sentence(error: pytest.ExceptionInfo[UserError]) -> bool:
    text = str(error.value)
    return "\n" not in text and text.endswith(".")


# --- augmentation ---


def test_crop_and_flip_equal_torchvision_image_by_image() -> None:
    images = random_pixels(40, 9)
    generator = torch.Generator().manual_seed(1)
    shift, flip = torch.randint(7, (40, 2), generator=generator), torch.rand(40, generator=generator) < 0.5
    for image, (top, left), mirrored, got in zip(
        images, shift, flip, crop_and_flip(images, 3, shift, flip), strict=True
    ):
        expected = tvf.crop(tvf.pad(image, [3]), int(top), int(left), 9, 9)
        assert torch.equal(got, tvf.hflip(expected) if mirrored else expected)


def test_cutout_equals_the_loop_of_the_darts_programs() -> None:
    images = torch.rand(30, 3, 10, 10)
    centre = torch.randint(10, (30, 2), generator=torch.Generator().manual_seed(2))
    got = cut_out_(images.clone(), 6, centre)
    for image, (y, x), result in zip(images, centre.tolist(), got, strict=True):
        mask = np.ones((10, 10), np.float32)
        mask[np.clip(y - 3, 0, 10) : np.clip(y + 3, 0, 10), np.clip(x - 3, 0, 10) : np.clip(x + 3, 0, 10)] = 0
        assert torch.equal(result, image * torch.from_numpy(mask))


def test_transform_pads_with_black_then_normalises_then_cuts_out() -> None:
    transform = Transform(MEAN, STD, padding=2, flip=True, cutout=4)
    images = random_pixels(20, 8)
    draw = transform.draw(20, 8, torch.Generator().manual_seed(3))
    cropped = crop_and_flip(images, 2, draw.shift_B2, draw.flip_B)
    expected = torch.stack([tvf.normalize(tvf.convert_image_dtype(image), MEAN, STD) for image in cropped])
    got = transform(images, draw)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, cut_out_(expected, 4, draw.centre_B2))


def test_plain_transform_only_normalises() -> None:
    images = random_pixels(4, 8)
    transform = Transform(MEAN, STD)
    got = transform(images, transform.draw(4, 8, torch.Generator()))
    torch.testing.assert_close(got, tvf.normalize(images / 255, MEAN, STD))


def test_draws_reach_every_shift_and_flip_half_of_the_images() -> None:
    draw = Transform(MEAN, STD, padding=4, flip=True).draw(9000, 32, torch.Generator().manual_seed(0))
    for axis in (0, 1):
        counts = torch.bincount(draw.shift_B2[:, axis])
        assert len(counts) == 9
        assert counts.min() > 850
    assert 4300 < draw.flip_B.sum() < 4700
    assert not Transform(MEAN, STD, padding=4).draw(100, 32, torch.Generator()).flip_B.any()


# --- loader ---


@pytest.mark.parametrize("order", ["shuffled", "replacement"])
def test_batches_are_a_function_of_seed_epoch_and_role(order: str) -> None:
    epoch = 0
    resumed = loader(order=order, epoch=lambda: 3)
    running = loader(order=order, epoch=lambda: epoch)
    passes = []
    for epoch in range(4):  # noqa: B007 - the loader's closure reads it
        passes.append(list(running))
    for (x, y), (resumed_x, resumed_y) in zip(passes[3], resumed, strict=True):
        assert torch.equal(x, resumed_x)
        assert torch.equal(y, resumed_y)

    def first_labels(**settings: Any) -> list[int]:
        return next(iter(loader(order=order, **settings)))[1].tolist()

    different = [first_labels(), first_labels(seed=1), first_labels(role="valid"), first_labels(epoch=lambda: 1)]
    assert len(set(map(tuple, different))) == 4


def test_epoch_is_asked_at_the_first_batch_not_at_iter() -> None:
    epoch = 0
    iterator = iter(loader(epoch=lambda: epoch))
    epoch = 5
    assert torch.equal(next(iterator)[0], next(iter(loader(epoch=lambda: 5)))[0])


def test_loading_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    list(loader())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("count", "sizes"), [(16, [8, 8]), (19, [8, 8, 3]), (17, [8, 8]), (5, [5])])
def test_shuffled_order_visits_each_image_once_and_drops_a_last_batch_of_one(count: int, sizes: list[int]) -> None:
    shuffled = loader(count)
    labels = [y for _, y in shuffled]
    assert [len(y) for y in labels] == sizes
    assert len(shuffled) == len(sizes)
    seen = torch.cat(labels).tolist()
    assert len(set(seen)) == sum(sizes)
    assert seen != sorted(seen)


def test_batch_size_one_keeps_every_image() -> None:
    assert len(list(loader(3, batch_size=1))) == 3


def test_replacement_order_draws_uniformly_and_independently() -> None:
    drawn = torch.cat([y for _, y in loader(10, order="replacement", num_batches=1000)])
    assert len(drawn) == 8000
    counts = torch.bincount(drawn, minlength=10)
    assert counts.min() > 680
    assert counts.max() < 920


def test_sequential_order_keeps_the_order_in_nearly_equal_batches() -> None:
    batches = [y for _, y in loader(17, order="sequential")]
    assert torch.equal(torch.cat(batches), torch.arange(17))
    assert [len(y) for y in batches] == [6, 6, 5]


class HostCopies(TorchDispatchMode):
    """Counts the tensors that go from the CPU to another device."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [each for each in args if isinstance(each, Tensor)]
        self.count += isinstance(result, Tensor) and result.device.type != "cpu" and any(x.is_cpu for x in inputs)
        return result


@pytest.mark.parametrize("order", ["shuffled", "replacement", "sequential"])
def test_an_epoch_on_a_device_needs_the_same_few_copies_however_many_batches_it_has(order: Any) -> None:
    # Tensors on the meta device have no values: whatever made the host wait for one would raise.
    device = torch.device("meta")
    transform, images = Transform(MEAN, STD, padding=2, flip=True, cutout=4), numbered_images(64).to(device)
    counts = []
    for batch_size in (32, 32, 4):
        batches = BatchLoader(
            images,
            torch.arange(64),
            batch_size,
            transform,
            0,
            lambda: 0,
            "train",
            order,
            64 // batch_size,
            device=device,
        )
        with HostCopies() as copies:
            assert [x.shape for x, _ in batches] == [(batch_size, 3, 8, 8)] * (64 // batch_size)
        counts.append(copies.count)
    # the order and three draws; at the very first the transform's constants as well
    assert counts[1] == counts[2] == 4


def test_streamed_batches_for_a_gpu_are_pinned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[bool] = []

    def recording(*args: Any, pin_memory: bool, **settings: Any) -> Any:
        asked.append(pin_memory)
        return DataLoader(*args, **settings)

    monkeypatch.setattr("nas_lightning.data.decode.DataLoader", recording)
    images = Folder(write_folder(tmp_path, tree_of()), memory_limit_gb=0).load(progress=False).train
    asked.clear()
    for device in ("cuda", "cpu"):
        next(images.to(torch.device(device)).subset(torch.arange(4)).batches([torch.arange(4)], 0))
    assert asked == [True, False]


# --- data sets without files ---


def test_digits_are_scikit_learns_grey_images_with_a_fixed_test_part() -> None:
    splits = Digits(image_size=None).load(progress=False)
    assert splits.test is not None
    assert (len(splits.train), len(splits.test)) == (1438, 359)
    known: dict[bytes, int] = {}
    bunch = load_digits()
    for image, label in zip(bunch.images, bunch.target, strict=True):
        known.setdefault((image * (255 / 16)).round().astype(np.uint8).tobytes(), label)
    everything = [
        *next(splits.train.batches([torch.arange(1438)], 0)),
        *next(splits.test.batches([torch.arange(359)], 0)),
    ]
    for pixels, labels in (everything[:2], everything[2:]):
        assert (pixels[:, :1] == pixels).all()
        assert all(known[p.numpy().tobytes()] == y for p, y in zip(pixels[:, 0], labels.tolist(), strict=True))
    again = Digits(image_size=None).load(progress=False)
    assert torch.equal(again.train.labels, splits.train.labels)


def test_resize_equals_pillow() -> None:
    images = random_pixels(4, 32)
    for image, got in zip(images, resize(images, 12), strict=True):
        expected = np.asarray(
            Image.fromarray(image.permute(1, 2, 0).numpy()).resize((12, 12), Image.Resampling.BILINEAR)
        )
        assert np.abs(got.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


def test_channel_statistics_equal_the_direct_formula() -> None:
    images = numbered_images(3000, 4)
    mean, std = channel_statistics(images)
    pixels = images.pixels.double() / 255
    torch.testing.assert_close(torch.tensor(mean), pixels.mean((0, 2, 3)).float())
    torch.testing.assert_close(torch.tensor(std), pixels.std((0, 2, 3), correction=0).float())
    constant = Images(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2).long(), ("a", "b"))
    assert channel_statistics(constant) == ((0, 0, 0), pytest.approx((1 / 255,) * 3))


def test_fake_images_repeat_and_can_be_learned() -> None:
    splits = Fake(image_size=8).load(progress=False)
    assert torch.equal(splits.train.pixels, Fake(image_size=8).load(progress=False).train.pixels)  # type: ignore[attr-defined]
    assert splits.test is not None
    (pixels, labels), (test_pixels, test_labels) = (
        next(part.batches([torch.arange(len(part))], 0)) for part in (splits.train, splits.test)
    )
    centres = torch.stack([pixels[labels == label].float().mean(0).flatten() for label in range(10)])
    nearest = torch.cdist(test_pixels.float().flatten(1), centres).argmin(1)
    assert (nearest == test_labels).float().mean() > 0.95


# --- torchvision's data sets, on small files of their format ---


def write_cifar(monkeypatch: pytest.MonkeyPatch, root: Path, kind: Any, label_key: str) -> np.ndarray:
    """Ten training images in the batch files' format; the checksums are patched out."""
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    data = np.random.default_rng(0).integers(0, 256, (10, 3072), dtype=np.uint8)
    for name in ("a_batch", "b_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": data, label_key: list(range(10))}))
    (folder / "names").write_bytes(pickle.dumps({kind.meta["key"]: [f"class {i}" for i in range(10)]}))
    monkeypatch.setattr(kind, "train_list", [["a_batch", None]])
    monkeypatch.setattr(kind, "test_list", [["b_batch", None]])
    monkeypatch.setattr(kind, "meta", {"filename": "names", "key": kind.meta["key"], "md5": None})
    return data.reshape(10, 3, 32, 32)


@pytest.mark.parametrize(("dataset", "label_key"), [(Cifar10, "labels"), (Cifar100, "fine_labels")])
def test_cifar_gives_torchvisions_images_and_published_statistics(
    dataset: Any, label_key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torchvision.datasets as tv

    data = write_cifar(monkeypatch, tmp_path, tv.CIFAR10 if dataset is Cifar10 else tv.CIFAR100, label_key)
    splits = dataset(root=str(tmp_path), download=False).load(progress=False)
    assert np.array_equal(splits.train.pixels, data)
    assert splits.train.labels.tolist() == splits.test.labels.tolist() == list(range(10))
    assert splits.mean[0] == pytest.approx((125.3 if dataset is Cifar10 else 129.3) / 255)
    darts = dataset(root=str(tmp_path), download=False, normalisation="darts", image_size=16).load(progress=False)
    assert darts.std[2] == pytest.approx(0.26158768 if dataset is Cifar10 else 0.2762)
    assert darts.train.side == 16


def test_svhn_calls_the_digit_zero_class_zero(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torchvision.datasets as tv

    data = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    for split in ("train", "test"):
        scipy.io.savemat(tmp_path / f"{split}.mat", {"X": data, "y": np.array([[1], [10], [9], [2]])})
    monkeypatch.setattr(tv.SVHN, "split_list", {split: ["url", f"{split}.mat", None] for split in ("train", "test")})
    splits = Svhn(root=str(tmp_path), download=False).load(progress=False)
    assert splits.train.labels.tolist() == [1, 0, 9, 2]
    assert np.array_equal(splits.train.pixels, data.transpose(3, 2, 0, 1))  # type: ignore[attr-defined]


@pytest.mark.parametrize("dataset", [Cifar10, Cifar100, Svhn])
def test_no_network_says_which_files_to_put_where(
    dataset: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unreachable(*_: Any) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", unreachable)
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, max_hops: url)
    for download in (True, False):
        with pytest.raises(UserError, match=r"put the f.* there, or give .* dataset\.root") as error:
            dataset(root=str(tmp_path), download=download).load(progress=False)
        assert is_one_sentence(error)
        assert str(tmp_path) in str(error.value)
        assert ("no route" in str(error.value)) == download


@pytest.mark.parametrize("dataset", [Cifar10, Cifar100, Svhn])
def test_a_named_folder_that_is_not_there_is_neither_made_nor_filled(dataset: Any, tmp_path: Path) -> None:
    for download in (True, False):
        with pytest.raises(UserError, match=r"dataset\.root=.*nowhere does not exist") as error:
            dataset(root=str(tmp_path / "nowhere"), download=download).load(progress=False)
        assert is_one_sentence(error)
    assert not (tmp_path / "nowhere").exists()


# --- folders and zips ---


def image(color: int, size: tuple[int, int] = (8, 8)) -> Image.Image:
    height, width = size[1], size[0]
    return Image.fromarray(np.random.default_rng(color).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def tree_of(prefix: str = "", counts: dict[str, int] | None = None) -> dict[str, bytes]:
    counts = {"cat": 6, "dog": 3} if counts is None else counts
    return {
        f"{prefix}{name}/{i}.png": encoded(image(100 * number + i))
        for number, (name, count) in enumerate(sorted(counts.items()))
        for i in range(count)
    }


def write_folder(root: Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(root)


def write_zip(root: Path, files: dict[str, bytes]) -> str:
    with zipfile.ZipFile(root.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return str(root.with_suffix(".zip"))


@pytest.mark.parametrize("write", [write_folder, write_zip])
@pytest.mark.parametrize("prefix", ["", "train/", "pets/", "pets/train/"])
def test_folder_and_zip_of_every_layout_give_the_same_images(
    write: Callable[[Path, dict[str, bytes]], str], prefix: str, tmp_path: Path
) -> None:
    extra = {"__MACOSX/cat/0.png": b"junk", f"{prefix}cat/.hidden.png": b"junk", f"{prefix}cat/notes.txt": b"text"}
    dataset = Folder(write(tmp_path / "data", tree_of(prefix) | extra))
    assert (dataset.num_classes, dataset.side) == (2, 8)
    splits = dataset.load(progress=False)
    assert isinstance(splits.train, Images)
    assert splits.test is None
    assert splits.train.classes == ("cat", "dog")
    cats = splits.train.pixels[splits.train.labels == 0]
    assert len(cats) == 6
    for i, pixels in enumerate(cats):
        assert np.array_equal(pixels.permute(1, 2, 0), np.asarray(image(i)))


def test_every_stretch_of_a_folder_holds_the_classes_in_proportion(tmp_path: Path) -> None:
    splits = Folder(write_folder(tmp_path, tree_of(counts={"a": 20, "b": 10}))).load(progress=False)
    train, valid = split_indices(30, 0.5, "index", seed=0)
    for part in (train, valid):
        assert torch.bincount(splits.train.labels[part]).tolist() == [10, 5]


def test_grey_palette_transparent_and_sixteen_bit_images_become_rgb(tmp_path: Path) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    palette = image(5).quantize(16)
    files = {
        "a/grey.png": encoded(Image.fromarray(grey)),
        "a/deep.png": encoded(Image.fromarray(grey.astype(np.uint16) * 257)),
        "a/palette.png": encoded(palette),
        "b/alpha.png": encoded(Image.fromarray(np.dstack([np.asarray(image(6)), grey]))),
        "b/other.png": encoded(image(7)),
    }
    train = Folder(write_folder(tmp_path, files)).load(progress=False).train
    (pixels, labels) = next(train.batches([torch.arange(5)], 0))
    deep, grey_got, palette_got = pixels[labels == 0].permute(0, 2, 3, 1).numpy()
    assert np.array_equal(grey_got, np.dstack([grey] * 3))
    assert np.array_equal(deep, np.dstack([grey] * 3))
    assert np.array_equal(palette_got, np.asarray(palette.convert("RGB")))
    assert np.array_equal(pixels[labels == 1][0].permute(1, 2, 0).numpy(), np.asarray(image(6)))


def test_images_of_any_shape_are_cropped_to_the_centre_and_scaled(tmp_path: Path) -> None:
    files = {f"{name}/{i}.png": encoded(image(i, (30, 10))) for name in "ab" for i in range(2)}
    files["b/0.png"] = encoded(image(1, (7, 9)))
    train = Folder(write_folder(tmp_path, files), image_size=5).load(progress=False).train
    wide = image(0, (30, 10)).crop((10, 0, 20, 10)).resize((5, 5), Image.Resampling.BILINEAR)
    assert np.array_equal(next(train.batches([torch.tensor([0])], 0))[0][0].permute(1, 2, 0).numpy(), np.asarray(wide))


@pytest.mark.parametrize("write", [write_folder, write_zip])
@pytest.mark.parametrize("workers", [0, 2])
def test_images_beyond_the_memory_limit_are_streamed_and_equal(
    write: Callable[[Path, dict[str, bytes]], str], workers: int, tmp_path: Path
) -> None:
    root = write(tmp_path / "data", tree_of(counts={"a": 7, "b": 5}))
    held, streamed = (SearchData(Folder(root, memory_limit_gb=gb), batch_size=2, num_workers=workers) for gb in (4, 0))
    assert isinstance(streamed.splits.train, StreamedImages)
    assert streamed.splits.mean == pytest.approx(held.splits.mean)
    before = torch.get_rng_state()
    for (one, *_), (two, *_) in zip(iter(held.train_dataloader()), iter(streamed.train_dataloader()), strict=True):
        for part in ("train", "valid"):
            torch.testing.assert_close(one[part], two[part])
    assert torch.equal(before, torch.get_rng_state())


def test_test_images_come_from_beside_train_or_test_root_or_test_fraction(tmp_path: Path) -> None:
    tests = tree_of(counts={"cat": 2, "dog": 4})
    beside = write_folder(tmp_path / "a", tree_of("train/") | {f"val/{k}": v for k, v in tests.items()})
    apart = write_zip(tmp_path / "b", {f"test/{k}": v for k, v in tests.items()})
    alone = write_folder(tmp_path / "c", tree_of())
    for dataset in (Folder(beside), Folder(alone, test_root=apart)):
        splits = dataset.load(progress=False)
        assert splits.test is not None
        assert (len(splits.train), torch.bincount(splits.test.labels).tolist()) == (9, [2, 4])
    splits = Folder(alone, test_fraction=0.4).load(progress=False)
    assert splits.test is not None
    counts = [torch.bincount(part.labels).tolist() for part in (splits.train, splits.test)]
    assert counts == [[4, 2], [2, 1]]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    dataset = Folder(write_folder(tmp_path, tree_of(counts={"car": 2, "test": 2, "train": 2})))
    assert dataset.load(progress=False).train.classes == ("car", "test", "train")


def broken_cases() -> Iterator[tuple[str, dict[str, bytes], dict[str, Any], str]]:
    good = tree_of("train/")
    yield "no class folders", {"0.png": encoded(image(0))}, {}, r"0 class folder\(s\)"
    yield "one class", tree_of(counts={"cat": 3}), {}, r"1 class folder\(s\)"
    yield "empty class", good | {"train/bird/notes.txt": b"x"}, {}, "train/bird holds no images"
    yield (
        "corrupt",
        good | {"train/cat/7.png": encoded(image(7))[:60]},
        {},
        "train/cat/7.png in .*data.* cannot be decoded",
    )
    yield "no image", good | {"train/cat/7.png": b"hello"}, {}, "train/cat/7.png .*no image that Pillow knows"
    larger = {"train/dog/7.png": encoded(image(7, (9, 9)))}
    native = {"image_size": None}
    yield "sizes", good | larger, native, "train/dog/7.png .* is 9x9 .* 8x8; give dataset.image_size"
    yield "oblong", tree_of() | {"cat/0.png": encoded(image(7, (9, 8)))}, native, "cat/0.png .* is 9x8, not square"
    yield "other test classes", good | tree_of("test/", {"cat": 1, "cow": 1}), {}, "test/cow .* no counterpart"
    yield "no test root", good, {"test_root": "nowhere"}, "dataset.test_root=nowhere does not exist"


@pytest.mark.parametrize("write", [write_folder, write_zip])
@pytest.mark.parametrize(("files", "settings", "message"), [pytest.param(*c[1:], id=c[0]) for c in broken_cases()])
def test_broken_trees_are_reported_in_one_sentence(
    write: Callable[[Path, dict[str, bytes]], str],
    files: dict[str, bytes],
    settings: dict[str, Any],
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=message) as error:
        Folder(write(tmp_path / "data", files), **settings).load(progress=False)
    assert is_one_sentence(error)


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        ([(28, 28)] * 20, 28),
        ([(30, 30)] * 20, 32),
        ([(50, 50)] * 20, 32),
        ([(64, 64)] * 20, 64),
        ([(300, 300)] * 20, 128),
        ([(500, 330)] * 20, 128),
        ([(120, 97)] * 19 + [(20, 20)], 96),  # one in twenty is enlarged
        ([(120, 97)] * 18 + [(20, 20)] * 2, 96),
        ([(120, 97)] * 17 + [(20, 20)] * 3, 32),
        ([(8, 9)] * 20, 32),
    ],
)
@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_without_a_size_one_is_chosen_that_enlarges_a_tenth_of_the_images_at_most(
    write: Callable[[Path, dict[str, bytes]], str], sizes: list[tuple[int, int]], side: int, tmp_path: Path
) -> None:
    files = {f"{'ab'[n % 2]}/{n:02}.jpg": encoded(image(n, size), "JPEG") for n, size in enumerate(sizes)}
    images = Folder(write(tmp_path / "data", files), cache=None).load(progress=False).train
    assert images.side == side
    assert len(images) == len(sizes)


def test_a_size_is_chosen_by_a_sample_of_the_images_without_the_broken_ones(tmp_path: Path) -> None:
    files = {f"{'ab'[n % 2]}/{n:03}.bmp": encoded(image(n, (100, 100)), "BMP") for n in range(450)}
    looked_at = [
        f"{'ab'[position >= 225]}/{2 * (position % 225) + (position >= 225):03}.bmp" for position in range(0, 450, 3)
    ]
    others = {name: encoded(image(0, (64, 70)), "BMP") for name in looked_at[:20]}
    assert Folder(write_folder(tmp_path / "data", files | others)).side == 64
    assert Folder(write_folder(tmp_path / "data", files | dict.fromkeys(others, b"broken"))).side == 96
    assert (
        Folder(write_folder(tmp_path / "data", files | dict.fromkeys(looked_at, encoded(image(0, (40, 50)))))).side
        == 32
    )
    with pytest.raises(UserError, match=r"150 of 150 images .* cannot be decoded") as error:
        _ = Folder(write_folder(tmp_path / "data", files | dict.fromkeys(looked_at, b"broken"))).side
    assert is_one_sentence(error)


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_a_summary_says_what_was_read_before_anything_is_decoded(
    write: Callable[[Path, dict[str, bytes]], str], tmp_path: Path
) -> None:
    files = tree_of(counts={"cat": 7, "dog": 2}) | {"cat/9.png": encoded(image(9, (40, 36)))[:60]}
    root = write(tmp_path / "data", files)
    assert Folder(root, test_fraction=0.2, image_size=8).summary() == [
        f"{root}: 10 images of 2 classes, used at 8 pixels.",
        "        8 cat",
        "        2 dog",
        "They are 8 to 40 pixels wide and 8 to 36 high; the largest centred square is used.",
        "20% of each class are held out as test images, which nothing is trained on.",
        "The classes are unbalanced: 8 of cat, 2 of dog; data.balance=true weights them.",
    ]
    parts = write(tmp_path / "parts", tree_of("train/") | tree_of("test/", {"cat": 1, "dog": 1}))
    assert Folder(parts).summary() == [
        f"{parts}: 9 images of 2 classes, used at 8 pixels.",
        "        6 cat",
        "        3 dog",
        f"2 test images are in {parts}, apart from these.",
    ]


def test_a_forked_worker_opens_the_zip_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tree = open_tree(write_zip(tmp_path / "data", tree_of()), "dataset.root")
    assert isinstance(tree, ZipTree)
    parents = tree._open.archive()
    assert tree._open.archive() is parents
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert tree._open.archive() is not parents
    assert pickle.loads(pickle.dumps(tree)).read(PurePosixPath("cat/0.png")) == encoded(image(0))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_streamed_image_is_one_sentence_even_from_a_worker(workers: int, tmp_path: Path) -> None:
    root = write_folder(tmp_path, tree_of() | {"cat/0.png": encoded(image(0)), "cat/9.png": b"junk"})
    files = Folder(root, memory_limit_gb=0)
    images, _ = files._image_set(files._tree, files._train_files, ("cat", "dog"), streamed=True, progress=False)
    with pytest.raises(UserError, match=r"cat/9\.png") as error:
        list(images.batches([torch.arange(len(images))], workers))
    assert is_one_sentence(error)


def test_missing_roots_and_damaged_zips_are_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    whole = Path(write_zip(tmp_path / "whole", tree_of()))
    (tmp_path / "short.zip").write_bytes(whole.read_bytes()[:-40])
    damaged = bytearray(whole.read_bytes())
    damaged[60:90] = bytes(30)
    (tmp_path / "damaged.zip").write_bytes(damaged)
    cases = {
        "nowhere": "does not exist",
        "text.zip": "whole zip",
        "short.zip": "whole zip",
        "damaged.zip": r"cat/0\.png",
    }
    for name, message in cases.items():
        with pytest.raises(UserError, match=message) as error:
            Folder(str(tmp_path / name)).load(progress=False)
        assert is_one_sentence(error)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data (NAS_LIGHTNING_SHARED) is absent")
def test_real_cifar10_zip_is_read_in_place() -> None:
    root = SHARED / "cifar10-train.zip"
    data = SearchData(Folder(str(root), memory_limit_gb=0), split="index", train_images=640)
    assert (data.num_classes, data.image_size) == (10, 32)
    assert data.split_record()["valid_images"] == 25000
    batch = next(iter(data.train_dataloader()))[0]
    assert batch["train"][0].shape == (64, 3, 32, 32)
    images = data.splits.train
    assert images.classes[0] == "airplane"
    with zipfile.ZipFile(root) as archive:
        expected = np.asarray(Image.open(io.BytesIO(archive.read("train/automobile/0000.jpg"))))
    pixels, labels = next(images.batches([torch.tensor([1])], 0))
    assert labels.item() == 1
    assert np.array_equal(pixels[0].permute(1, 2, 0).numpy(), expected)


# --- decoded images kept on disk ---


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of every decoding that takes place."""
    counts: list[int] = []

    def counting(decoder: Decoder, paths: Any, progress: bool) -> Any:
        counts.append(len(paths))
        return decode_all(decoder, paths, progress)

    monkeypatch.setattr("nas_lightning.data.cache.decode_all", counting)
    return counts


def pixels_of(root: str, cache: Path | str | None) -> Tensor:
    images = Folder(root, cache=None if cache is None else str(cache)).load(progress=False).train
    assert isinstance(images, Images)
    return images.pixels


def streamed_pixels(root: str) -> Tensor:
    """The reference: every image decoded when it is asked for."""
    images = Folder(root, memory_limit_gb=0).load(progress=False).train
    return next(images.batches([torch.arange(len(images))], 0))[0]


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_a_set_is_decoded_once_and_every_part_and_size_has_its_own_file(
    write: Callable[[Path, dict[str, bytes]], str], decoded: list[int], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    root = write(tmp_path / "data", tree_of("train/") | tree_of("test/", {"cat": 2, "dog": 4}))
    cache = tmp_path / "new" / "cache"
    for size in (None, 5):
        expected = Folder(root, image_size=size, memory_limit_gb=0).load(progress=False)
        for _ in range(2):
            got = Folder(root, image_size=size, cache=str(cache)).load(progress=False)
            for part, reference in ((got.train, expected.train), (got.test, expected.test)):
                assert isinstance(part, Images)
                assert isinstance(reference, StreamedImages)
                pixels, labels = next(reference.batches([torch.arange(len(reference))], 0))
                assert torch.equal(part.pixels, pixels)
                assert torch.equal(part.labels, labels)
    assert decoded == [9, 6, 9, 6]
    assert len(list(cache.iterdir())) == 4
    assert not warnings_in(caplog)


def test_the_users_cache_folder_is_the_default_and_null_keeps_nothing(
    decoded: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("nas_lightning.data.cache.user_cache_path", lambda name, appauthor: tmp_path / "user" / name)
    root = write_folder(tmp_path / "data", tree_of())
    for _ in range(2):
        pixels_of(root, None)
    assert not (tmp_path / "user").exists()
    for _ in range(2):
        pixels_of(root, "auto")
    assert decoded == [9, 9, 9]
    assert len(list((tmp_path / "user" / "nas_lightning").glob("data-*.npz"))) == 1


def test_another_image_of_the_same_size_and_time_is_decoded_anew(decoded: list[int], tmp_path: Path) -> None:
    files = {f"{name}/{i}.bmp": encoded(image(i), "BMP") for name in ("cat", "dog") for i in range(2)}
    root, cache = write_folder(tmp_path / "data", files), tmp_path / "cache"
    pixels_of(root, cache)
    changed = tmp_path / "data" / "dog" / "1.bmp"
    status = changed.stat()
    time.sleep(0.02)  # the kernel's clock for files ticks every few milliseconds
    changed.write_bytes(encoded(image(2), "BMP"))
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (changed.stat().st_size, changed.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert np.array_equal(pixels_of(root, cache)[3].permute(1, 2, 0), np.asarray(image(2)))
    assert decoded == [4, 4]
    assert len(list(cache.iterdir())) == 1


def test_a_zip_is_known_by_its_content_not_by_its_date(decoded: list[int], tmp_path: Path) -> None:
    root, cache = write_zip(tmp_path / "data", tree_of()), tmp_path / "cache"
    pixels_of(root, cache)
    os.utime(root, (0, 0))
    Path(root).write_bytes(Path(root).read_bytes())
    pixels_of(root, cache)
    assert decoded == [9]
    write_zip(tmp_path / "data", tree_of() | {"dog/1.png": encoded(image(9))})
    assert torch.equal(pixels_of(root, cache), streamed_pixels(root))
    write_zip(tmp_path / "data", tree_of() | {"dog/3.png": encoded(image(9))})
    assert torch.equal(pixels_of(root, cache), streamed_pixels(root))
    assert decoded == [9, 9, 10]
    assert len(list(cache.iterdir())) == 1


def test_another_pillow_decodes_anew(decoded: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", tree_of())
    pixels_of(root, tmp_path / "cache")
    monkeypatch.setattr("PIL.__version__", "0.1")
    pixels_of(root, tmp_path / "cache")
    assert decoded == [9, 9]


def test_a_cache_file_damaged_anywhere_never_gives_other_pixels(
    caplog: pytest.LogCaptureFixture, decoded: list[int], tmp_path: Path
) -> None:
    root, cache = write_folder(tmp_path / "data", tree_of()), tmp_path / "cache"
    right = pixels_of(root, cache)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    damages = [bytes(100), b"", *(whole[:length] for length in range(1, len(whole), 211))]
    damages += [whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :] for at in range(0, len(whole), 11)]
    remade = 0
    for damage in damages:
        decoded.clear(), caplog.clear(), file.write_bytes(damage)
        assert torch.equal(pixels_of(root, cache), right)
        if decoded:  # some bytes, such as a time of day, mean nothing
            remade += 1
            assert file.read_bytes() != damage
            assert len(warnings_in(caplog)) <= 1
    assert remade > 0.9 * len(damages)
    decoded.clear()
    pixels_of(root, cache)
    assert not decoded


def test_a_folder_that_cannot_be_written_costs_one_sentence_and_the_cache(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    root = write_folder(tmp_path / "data", tree_of())
    (tmp_path / "file").write_text("in the way")
    pixels = pixels_of(root, tmp_path / "file" / "cache")
    assert torch.equal(pixels, streamed_pixels(root))
    (message,) = warnings_in(caplog)
    assert "dataset.cache" in message
    assert "\n" not in message


def test_a_full_disk_leaves_no_file_behind(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    root, cache = write_folder(tmp_path / "data", tree_of()), tmp_path / "cache"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        pixels = pixels_of(root, cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.equal(pixels, streamed_pixels(root))
    assert not list(cache.iterdir())
    (message,) = warnings_in(caplog)
    assert f"cannot be kept in {cache} (File too large)" in message


def test_runs_at_the_same_time_all_get_the_right_images(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    root, cache = write_zip(tmp_path / "data", tree_of(counts={"a": 40, "b": 40})), tmp_path / "cache"
    right, barrier = streamed_pixels(root), threading.Barrier(8)

    def run(_: int) -> bool:
        barrier.wait()
        return all(torch.equal(pixels_of(root, cache), right) for _ in range(3))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(8)))
    assert len(list(cache.iterdir())) == 1
    assert not warnings_in(caplog)


# --- data modules ---


def test_the_split_depends_on_split_seed_alone_and_its_parts_are_disjoint() -> None:
    dataset = Fake(image_size=8, train_images=101)
    one, other = SearchData(dataset, seed=0), SearchData(dataset, seed=1)
    assert one.split_record() == other.split_record()
    assert not torch.equal(one.parts[0], SearchData(dataset, split_seed=1).parts[0])
    train, valid = one.parts
    assert sorted([*train.tolist(), *valid.tolist()]) == list(range(101))
    capped = SearchData(dataset, train_images=10, valid_images=7)
    assert torch.equal(capped.parts[0], train[:10])
    assert torch.equal(capped.parts[1], valid[:7])
    by_index = SearchData(dataset, split="index", train_fraction=0.2)
    assert by_index.parts[0].tolist() == list(range(20))
    assert by_index.split_record()["split_seed"] is None


def test_search_batches_pair_training_with_validation_images() -> None:
    data = SearchData(Fake(image_size=8, num_classes=200, train_images=200), batch_size=16)
    loaders = data.train_dataloader()
    assert loaders.iterables["train"]._role != loaders.iterables["valid"]._role
    batches = [batch for batch, *_ in iter(loaders)]
    assert len(batches) == len(loaders) == 7
    trained = torch.cat([batch["train"][1] for batch in batches]).tolist()
    assert sorted(trained) == sorted(data.parts[0].tolist())
    drawn = torch.cat([batch["valid"][1] for batch in batches]).tolist()
    assert set(drawn) <= set(data.parts[1].tolist())
    assert len(drawn) == 7 * 16
    assert len(set(drawn)) < len(drawn)
    evaluated = torch.cat([y for _, y in data.val_dataloader()])
    assert torch.equal(evaluated, data.parts[1])


def test_training_from_scratch_uses_all_training_images_and_cutout() -> None:
    data = TrainData(Fake(image_size=8, test_images=30), batch_size=32, cutout=4)
    data.setup("fit")
    assert sum(len(y) for _, y in data.train_dataloader()) == 512
    assert sum(len(y) for _, y in data.test_dataloader()) == 30
    zero_share = lambda batches: torch.cat([x for x, _ in batches]).eq(0).float().mean()  # noqa: E731
    assert zero_share(data.train_dataloader()) > 0.05
    assert zero_share(data.test_dataloader()) < 0.01


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SearchData(Digits(), batch_size=0), "data.batch_size=0"),
        (lambda: SearchData(Digits(), valid_batch_size=0), "data.valid_batch_size=0"),
        (lambda: SearchData(Digits(), train_fraction=1.0), "data.train_fraction=1.0"),
        (lambda: SearchData(Digits(), split="half").setup("fit"), "data.split='half'"),  # type: ignore[arg-type]
        (lambda: SearchData(Digits(), train_images=2000).setup("fit"), "data.train_images=2000 .* holds 719"),
        (lambda: SearchData(Digits(), valid_images=1).setup("fit"), "data.valid_images=1 "),
        (lambda: SearchData(Digits(), train_fraction=0.0001).setup("fit"), "leaves 0 and 1438"),
        (lambda: TrainData(Digits(), cutout=3), "data.cutout=3"),
        (lambda: TrainData(Digits(), batch_size=1), "data.batch_size=1 .* at least 2"),
        (lambda: TrainData(Digits(), progress="no"), "data.progress must be true or false"),  # type: ignore[arg-type]
        (lambda: Folder("x", flip="no"), "dataset.flip must be true or false"),  # type: ignore[arg-type]
        (lambda: Cifar10(download="no"), "dataset.download must be true or false"),  # type: ignore[arg-type]
        (lambda: SearchData(ImageNet("x")).setup("fit"), "dataset=imagenet is for training"),  # type: ignore[arg-type]
        (lambda: ImageNetData(Digits()), "data=imagenet reads dataset=imagenet alone"),  # type: ignore[arg-type]
        (lambda: ImageNet("x", colour_jitter=0.4), "dataset.colour_jitter must be"),  # type: ignore[arg-type]
        (lambda: Digits(image_size=1), "dataset.image_size=1 "),
        (lambda: Digits(test_fraction=0), "dataset.test_fraction=0"),
        (lambda: Digits(image_size=0), "dataset.image_size=0"),
        (lambda: Digits(padding=-1), "dataset.padding=-1"),
        (lambda: Fake(train_images=1), "dataset.train_images=1"),
        (lambda: Cifar10(normalisation="own"), "dataset.normalisation='own'"),  # type: ignore[arg-type]
        (lambda: Folder(), "dataset.root=PATH"),
        (lambda: Folder("x", memory_limit_gb=-1), "dataset.memory_limit_gb=-1"),
        (lambda: Folder("x", cache=""), "dataset.cache=''"),
        (lambda: Folder("x", cache=True), "dataset.cache=True"),  # type: ignore[arg-type]
        (lambda: Folder("x", cache=__file__), "is no folder but a file"),
        (lambda: Cifar10(5), "dataset.root=5 is no folder; .* ./5"),  # type: ignore[arg-type]
        (lambda: Svhn(""), "dataset.root='' is no folder"),
        (lambda: ImageNet16_120(None), "dataset.root=None is no folder"),  # type: ignore[arg-type]
        (lambda: ImageNet(5), "dataset.root=5 is no folder"),  # type: ignore[arg-type]
    ],
)
def test_nonsense_settings_are_refused_in_one_sentence(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        make()
    assert is_one_sentence(error)


def test_training_without_test_images_says_how_to_give_some(tmp_path: Path) -> None:
    data = TrainData(Folder(write_folder(tmp_path, tree_of())))
    with pytest.raises(UserError, match=r"dataset\.test_root=PATH, or .* dataset\.test_fraction=0\.2") as error:
        data.setup("fit")
    assert is_one_sentence(error)


class Recorder(pl.LightningModule):
    """Remembers a checksum of every batch, by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[int, list[float]] = {}
        self.evaluated: list[int] = []

    def training_step(self, batch: dict[str, tuple[Tensor, Tensor]], batch_idx: int) -> Tensor:
        sums = [batch[part][0].double().sum().item() for part in ("train", "valid")]
        self.seen.setdefault(self.current_epoch, []).extend(sums)
        return self.weight**2

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.evaluated.append(len(batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_resumed_lightning_fit_sees_the_batches_of_an_uninterrupted_one(tmp_path: Path) -> None:
    def fit(epochs: int, checkpoint: Path | None = None) -> tuple[Recorder, pl.Trainer]:
        trainer = pl.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        recorder = Recorder()
        trainer.fit(recorder, datamodule=SearchData(Fake(image_size=8), batch_size=64), ckpt_path=checkpoint)
        return recorder, trainer

    whole, _ = fit(4)
    assert sorted(whole.seen) == [0, 1, 2, 3]
    assert len({tuple(sums) for sums in whole.seen.values()}) == 4
    assert sum(whole.evaluated) >= 4 * 256
    stopped, trainer = fit(2)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    resumed, _ = fit(4, tmp_path / "two.ckpt")
    assert stopped.seen | resumed.seen == whole.seen
    assert sorted(resumed.seen) == [2, 3]


class InterruptedStart:
    """A loader that is interrupted while it starts its workers."""

    started = False

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[int]:
        signal.raise_signal(signal.SIGINT)
        self.started = True
        return iter((0, 1))


def test_a_ctrl_c_while_workers_start_is_raised_once_they_have() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    loader = InterruptedStart()
    try:
        with pytest.raises(KeyboardInterrupt):
            next(batches_of(loader))  # type: ignore[arg-type]
        assert loader.started
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_workers_have_ended_when_the_last_batch_is_given() -> None:
    loader = DataLoader(list(range(5)), batch_size=2, num_workers=1)  # type: ignore[arg-type]
    alive = [len(multiprocessing.active_children()) for _ in batches_of(loader)]
    assert alive == [1, 1, 0]


# --- configuration ---


@pytest.mark.parametrize("path", sorted((CONF / "dataset").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_dataset_yaml_builds_and_names_all_settings_with_their_defaults(path: Path, tmp_path: Path) -> None:
    shared = {"seed": 3, "normalisation": "nb201"}
    config = OmegaConf.create({**shared, "dataset": OmegaConf.load(path)}).dataset
    assert isinstance(config, DictConfig)
    kind = get_class(config._target_)
    settings = {f.name: f.default for f in fields(kind)}
    assert {key for key in config if key != "_target_"} == set(settings)
    for name, default in settings.items():
        assert default is MISSING or config[name] == (list(default) if isinstance(default, tuple) else default)
    for data in sorted((CONF / "data").glob("*.yaml")):
        if (data.stem == "imagenet") != (path.stem == "imagenet"):  # its images go through a module of their own
            continue
        root = {"root": str(tmp_path)} if "root" in config else {}
        whole = OmegaConf.create({**shared, "dataset": OmegaConf.merge(config, root), "data": OmegaConf.load(data)})
        module = instantiate(whole.data, _convert_="all")
        assert isinstance(module, SearchData | TrainData | ImageNetData)
        assert (module.seed, module.dataset.name) == (3, path.stem)


@pytest.mark.parametrize(("asked", "got"), [(7, 7), (10_000, 30)])
def test_discretised_accuracy_is_measured_on_evenly_spaced_validation_images(asked, got):
    data = SearchData(Fake(train_images=60, image_size=8), split="index", discrete_images=asked)
    loader = data.val_dataloader()
    images, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
    part = data.parts[1]
    expected = part[torch.tensor([i * 30 // got for i in range(got)])]
    assert torch.equal(labels, data.splits.train.labels[expected])
    plain, _ = next(iter(data.splits.train.batches([expected], 0)))
    assert torch.equal(images, normalise(plain, data.splits.mean, data.splits.std))
    assert data.split_record()["discrete_images"] == got
