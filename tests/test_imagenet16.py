"""ImageNet16-120 from the published batches, and pickles that are read without running them."""

import io
import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas_lightning.data import ImageNet16_120, SearchData, TrainData
from nas_lightning.data.plain_pickle import read_plain_pickle
from nas_lightning.errors import UserError

TRAIN = [f"train_data_batch_{number}" for number in range(1, 11)]
LABELS = [1, 120, 121, 1000, 60]


def batch(seed, labels=LABELS):
    data = np.random.default_rng(seed).integers(0, 256, (len(labels), 768), dtype=np.uint8)
    return {"data": data, "labels": list(labels), "mean": data.mean(0)}


def write_batches(root, protocol=4, **changed):
    """The eleven files in the published format, or changed[name] in the place of one."""
    root.mkdir(exist_ok=True)
    batches = {name: batch(seed) for seed, name in enumerate([*TRAIN, "val_data"])} | changed
    for name, content in batches.items():
        (root / name).write_bytes(pickle.dumps(content, protocol))
    return batches


@pytest.mark.parametrize("protocol", range(6))
def test_the_first_120_classes_of_the_published_batches_in_the_order_of_the_files(protocol, tmp_path, caplog):
    batches = write_batches(tmp_path, protocol)
    splits = ImageNet16_120(root=str(tmp_path)).load(progress=False)
    expected = [
        (row.reshape(3, 16, 16), label - 1)
        for name in TRAIN
        for row, label in zip(batches[name]["data"], batches[name]["labels"], strict=True)
        if 1 <= label <= 120
    ]
    assert splits.train.labels.tolist() == [label for _, label in expected] == [0, 119, 59] * 10
    assert np.array_equal(splits.train.pixels, np.stack([image for image, _ in expected]))
    assert splits.test.labels.tolist() == [0, 119, 59]
    assert splits.mean == pytest.approx((0.481098, 0.457490, 0.407882), abs=1e-6)
    assert splits.std == pytest.approx((0.247922, 0.240235, 0.255255), abs=1e-6)
    assert "holds 30 training and 3 test images of 120 classes, where ImageNet16-120 has 151700 and 6000" in caplog.text


def test_a_search_crops_with_two_pixels_flips_and_takes_alphas_half_of_the_test_images(tmp_path):
    write_batches(tmp_path)
    dataset = ImageNet16_120(root=str(tmp_path))
    data = SearchData(dataset, batch_size=4, alpha_images="test_half", split="index")
    assert (data._augmented().padding, data._augmented().flip, data.num_classes, data.image_size) == (2, True, 120, 16)
    assert [len(part) for part in data.parts] == [30, 2]
    assert sum(len(y) for _, y in TrainData(dataset, batch_size=4).test_dataloader()) == 3
    assert ImageNet16_120(root=str(tmp_path), image_size=8).load(progress=False).train.side == 8


def test_labels_may_be_an_array_and_the_files_those_of_python_2(tmp_path):
    write_batches(tmp_path, val_data={**batch(0), "labels": np.array(LABELS)})
    # Python 2 wrote text and bytes as one, with STRING opcodes, here by hand.
    raw = bytes(range(256)) * 3
    python2 = (
        b"\x80\x02}q\x00(U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87R"
        b"(K\x01K\x01M\x00\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
        b"b\x89T" + len(raw).to_bytes(4, "little") + raw + b"tbU\x06labels]K\x07au."
    )
    pickletools.dis(python2, io.StringIO())
    (tmp_path / TRAIN[0]).write_bytes(python2)
    splits = ImageNet16_120(root=str(tmp_path)).load(progress=False)
    assert splits.train.labels[0] == 6
    assert splits.train.pixels[0].flatten().tolist() == list(raw)
    assert splits.test.labels.tolist() == [0, 119, 59]


def write_folder(root, classes, parts=("train", "val")):
    for part in parts:
        for number in range(classes):
            folder = root / part / f"n{number:03}"
            folder.mkdir(parents=True)
            for copy in range(2):
                Image.new("RGB", (16, 16), (number, 0, 0)).save(folder / f"{copy}.png")
    return str(root)


def test_an_image_folder_of_the_120_classes_is_normalised_alike(tmp_path):
    splits = ImageNet16_120(root=write_folder(tmp_path / "whole", 120)).load(progress=False)
    assert sorted(splits.train.labels.tolist()) == sorted(2 * [*range(120)])
    assert len(splits.test) == 240
    assert splits.mean[0] == pytest.approx(122.68 / 255)
    for name, classes, parts in (("few", 3, ("train", "val")), ("untested", 120, ("train",))):
        with pytest.raises(UserError, match=r"dataset=imagenet16_120 needs 120 of ImageNet's") as error:
            ImageNet16_120(root=write_folder(tmp_path / name, classes, parts)).load(progress=False)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"data": np.zeros((2, 768), np.uint8)},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2]},
        {"data": np.zeros((2, 768), np.float32), "labels": [1, 2]},
        {"data": np.zeros((2, 768), np.uint8), "labels": [1]},
        {"data": np.zeros((2, 768), np.uint8), "labels": ["1", "2"]},
        {"data": np.zeros((2, 768), np.uint8), "labels": [1.5, 2]},
        {"data": np.zeros((2, 768), np.uint8), "labels": 2},
    ],
)
def test_another_content_is_refused_in_one_sentence(content, tmp_path):
    write_batches(tmp_path, train_data_batch_3=content)
    with pytest.raises(UserError, match="train_data_batch_3 holds no `data` of uint8 rows of 768") as error:
        ImageNet16_120(root=str(tmp_path)).load(progress=False)
    assert "\n" not in str(error.value)


def test_missing_files_are_named(tmp_path):
    write_batches(tmp_path)
    (tmp_path / TRAIN[4]).unlink()
    with pytest.raises(UserError, match=r"lacks train_data_batch_5 in .*dataset\.root") as error:
        ImageNet16_120(root=str(tmp_path)).load(progress=False)
    assert "\n" not in str(error.value)


# ---- pickles ----


class Runs:
    """A pickle that leaves a file behind where it is loaded."""

    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


def refused(tmp_path, content):
    path = tmp_path / "batch"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    with pytest.raises(UserError) as error:
        read_plain_pickle(path)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("give the published file.")
    return str(error.value)


def test_code_in_a_pickle_is_named_and_does_not_run(tmp_path):
    left = tmp_path / "left"
    for call, arguments, name in (
        (os.mkdir, (str(left),), "posix.mkdir"),
        (eval, (f"__import__('pathlib').Path({str(left)!r}).touch()",), "builtins.eval"),
        (np.load, (str(left),), "numpy.load"),
        (getattr, ("text", "upper"), "builtins.getattr"),
        (np.dtype, ("O",), "an array of 'O'"),
        (np.ndarray, ((2,),), "numpy.ndarray called as a function"),
    ):
        message = refused(tmp_path, {"data": [Runs(call, *arguments)]})
        assert name in message
    # Not even where a pickle names them through what is allowed.
    assert "os.system" in refused(tmp_path, b"\x80\x04cos\nsystem\n.")
    assert "numpy.dtype.__init__" in refused(tmp_path, b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.")
    assert not left.exists()


def test_arrays_of_objects_and_damaged_pickles_are_refused(tmp_path):
    assert "array of" in refused(tmp_path, {"data": np.array([{}, []], dtype=object)})
    assert "array of" in refused(tmp_path, np.array(["text"]))
    whole = pickle.dumps(batch(0))
    for damaged in (
        b"",
        b"text\n",
        whole[: len(whole) // 2],
        whole[:-1],
        whole.replace(b"\x4b\x05\x4d", b"\x4b\x06\x4d"),
    ):
        assert "cannot be read as a pickle of arrays" in refused(tmp_path, damaged)
    bomb = b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n)R(K\x01"
    bomb += b"J\xff\xff\xff\x7f\x85cnumpy\ndtype\n\x8c\x02f8\x85R\x89C\x01xtb."
    assert "an array of shape (2147483647,) from 1 bytes" in refused(tmp_path, bomb)


@pytest.mark.parametrize("kind", ["<i4", ">i4", "u1", "<f8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_plain_arrays_are_read_as_numpy_reads_them(kind, order, tmp_path):
    array = np.asarray(np.arange(12).reshape(3, 4) % 5, dtype=kind, order=order)
    for protocol in range(6):
        path = Path(tmp_path / "array")
        path.write_bytes(pickle.dumps({"a": array, "b": ["text", 1, 2.5, None, True, (b"x",)]}, protocol))
        read = read_plain_pickle(path)
        assert np.array_equal(read["a"], array)
        assert read["b"] == ["text", 1, 2.5, None, True, (b"x",)]
        assert torch.equal(torch.tensor(read["a"].tolist()), torch.tensor(array.tolist()))
