"""Image files as users have them: formats, orientation, bit depth, layouts of folders and zips, what is broken."""

import io
import struct
import sys
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, features

from nas_lightning.data import Folder, ImageNet, ImageNet16_120, ImageNetData, Images
from nas_lightning.data import cache as cache_module
from nas_lightning.data.decode import _reads_heif
from nas_lightning.data.imagenet import MEAN, STD
from nas_lightning.errors import UserError
from nas_lightning.image_tree import open_tree
from tests.test_data import SHARED, encoded, image, is_one_sentence, tree_of, write_folder, write_zip

WRITE = pytest.mark.parametrize("write", [write_folder, write_zip])


def by_folder(root, **settings):
    """uint8 [N, S, S, 3] of the training images as dataset=folder has them."""
    images = Folder(str(root), cache=None, **settings).load(progress=False).train
    return next(images.batches([torch.arange(len(images))], 0))[0].permute(0, 2, 3, 1).numpy()


def by_imagenet(root, side=8):
    """The same of the test images as dataset=imagenet has them, whose transform leaves images of `side` as they are."""
    data = ImageNetData(ImageNet(str(root), 2, side, side), num_workers=0)
    pixels = torch.cat([x for x, _ in data.val_dataloader()])
    return (255 * (pixels * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None])).permute(0, 2, 3, 1)


def both_read(tmp_path, files):
    """What both readers make of `files`, {name: bytes}; checked to be equal. float [N, S, S, 3] in the order of the names."""
    classes = {f"{name}/{file}": data for name in "ab" for file, data in files.items()}
    tree = {f"{split}/{name}": data for split in ("train", "val") for name, data in classes.items()}
    root = write_folder(tmp_path / "images", tree)
    searched, trained = by_folder(root), by_imagenet(root).numpy()
    assert len(searched) == len(trained) == 2 * len(files)
    np.testing.assert_allclose(searched[::2], trained[: len(files)], atol=1e-3)
    return searched[::2]


# --- pixels ---

UPRIGHT = {  # EXIF's orientation -> how the stored rows and columns are shown
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: stored.transpose(1, 0, 2)[:, ::-1],
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: stored.transpose(1, 0, 2)[::-1],
}


def with_exif(picture, orientation, kind="PNG"):
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, kind, exif=exif.tobytes())
    return buffer.getvalue()


def test_images_are_turned_upright_by_their_exif_orientation(tmp_path):
    got = both_read(tmp_path, {f"{number}.png": with_exif(image(number), number) for number in UPRIGHT})
    for pixels, (number, upright) in zip(got, UPRIGHT.items(), strict=True):
        assert np.array_equal(pixels, upright(np.asarray(image(number))))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_orientation_counts_in_every_format_that_has_one(kind, tmp_path):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="the extra heif is not installed").register_heif_opener()
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no avif")
    stored = np.zeros((64, 64, 3), np.uint8)
    stored[:32, :32], stored[32:, :32] = 255, 128  # no two orientations are alike
    suffix = {"HEIF": "heic"}.get(kind, kind.lower())
    files = {f"{number}.{suffix}": with_exif(Image.fromarray(stored), number, kind) for number in UPRIGHT}
    root = write_folder(tmp_path, {f"{name}/{file}": data for name in "ab" for file, data in files.items()})
    for pixels, upright in zip(by_folder(root)[::2], UPRIGHT.values(), strict=True):
        assert np.abs(pixels.astype(int)[4::8, 4::8] - upright(stored)[4::8, 4::8]).max() < 20


def test_an_oblong_photo_is_turned_before_its_centre_is_cut_out(tmp_path):
    stored = image(1, (12, 8))
    files = {f"{name}/{i}.png": with_exif(stored, 6) for name in "ab" for i in range(2)}
    shown = UPRIGHT[6](np.asarray(stored))
    assert shown.shape == (12, 8, 3)
    assert np.array_equal(by_folder(write_folder(tmp_path, files), image_size=8)[0], shown[2:10])


def test_a_jpeg_with_exif_that_cannot_be_read_is_as_without(tmp_path):
    plain = encoded(image(0), "JPEG")
    segment = b"Exif\0\0" + b"nonsense, no TIFF header"
    broken = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, two = both_read(tmp_path, {"0.jpg": plain, "1.jpg": broken})
    assert np.array_equal(one, two)


def test_jpegs_without_exif_are_what_pillow_decodes_to_the_bit(tmp_path):
    files = {f"{i}.jpg": encoded(image(i), "JPEG") for i in range(5)}
    for pixels, data in zip(both_read(tmp_path, files), files.values(), strict=True):
        assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data (NAS_LIGHTNING_SHARED) is absent")
def test_the_cifar10_zip_of_the_committed_results_has_the_pixels_it_had():
    root = SHARED / "cifar10-train.zip"
    images = Folder(str(root), memory_limit_gb=0)
    train = images._image_set(images._tree, images._train_files, tuple(images._train_files), True, False)[0]
    chosen = torch.arange(0, len(train), 250)
    pixels, _ = next(train.batches([chosen], 0))
    with zipfile.ZipFile(root) as archive:
        for index, got in zip(chosen.tolist(), pixels, strict=True):
            expected = np.asarray(Image.open(io.BytesIO(archive.read(str(train.paths[index])))).convert("RGB"))
            assert np.array_equal(got.permute(1, 2, 0), expected)


def png16(values):
    """A PNG of 16 bits a value, [H, W] or [H, W, 3]."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, *colours = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2 if colours else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(data, side, bits, kind):
    """A grey TIFF of one strip. kind: 1 unsigned, 2 signed, 3 float."""
    tags = {256: side, 257: side, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: side, 279: len(data), 339: kind}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory


def packed12(values):
    """12 bits a value, the first in the upper bits, as TIFF packs them."""
    bits = "".join(f"{value:012b}" for value in values.flatten().tolist())
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def test_deep_images_are_scaled_alike_by_every_reader(tmp_path):
    generator = np.random.default_rng(0)
    deep, colours = generator.integers(0, 2**16, (8, 8)), generator.integers(0, 2**16, (8, 8, 3))
    twelve, floats = generator.integers(0, 2**12, (8, 8)), generator.random((8, 8)).astype(np.float32)
    files = {
        "0.png": png16(deep),
        "1.tif": tiff(deep.astype("<u2").tobytes(), 8, 16, 1),
        "2.pgm": b"P5 8 8 65535 " + deep.astype(">u2").tobytes(),
        "3.png": png16(colours),
        "4.tif": tiff(packed12(twelve), 8, 12, 1),
        "5.pgm": b"P5 8 8 4095 " + twelve.astype(">u2").tobytes(),
        "6.tif": tiff(floats.astype("<f4").tobytes(), 8, 32, 3),
    }
    expected = [deep // 256, deep // 256, deep // 256, colours // 256, twelve // 16, twelve // 16]
    expected.append(np.array([[round(255 * float(value)) for value in row] for row in floats]))
    for pixels, values, name in zip(both_read(tmp_path, files), expected, files, strict=True):
        assert np.array_equal(pixels, values if values.ndim == 3 else np.dstack([values] * 3)), name


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(np.full((8, 8), 70000, "<i4").tobytes(), 8, 32, 2), "go from 70000 to 70000, beyond the 0 to 65535"),
        (tiff(np.full((8, 8), -1, "<i2").tobytes(), 8, 16, 2), "go from -1 to -1, beyond"),
        (tiff(np.full((8, 8), 200, "<f4").tobytes(), 8, 32, 3), "go from 200 to 200, not from 0 to 1"),
        (tiff(np.full((8, 8), np.nan, "<f4").tobytes(), 8, 32, 3), "go from nan to nan"),
    ],
)
def test_values_of_no_known_range_are_refused_rather_than_clipped(data, reason, tmp_path):
    root = write_folder(tmp_path, tree_of() | {"cat/7.tif": data})
    with pytest.raises(UserError, match=rf"cat/7\.tif .*{reason}") as error:
        by_folder(root)
    assert is_one_sentence(error)


@pytest.mark.parametrize(
    ("suffix", "kind", "feature"),
    [
        (".jfif", "JPEG", "jpg"),
        (".jp2", "JPEG2000", "jpg_2000"),
        (".J2K", "JPEG2000", "jpg_2000"),
        (".avif", "AVIF", "avif"),
    ],
)
def test_newer_formats_are_read(suffix, kind, feature, tmp_path):
    if not features.check(feature):
        pytest.skip(f"this Pillow has no {feature}")
    data = encoded(image(0), kind)
    (pixels,) = both_read(tmp_path, {f"0{suffix}": data, f"1{suffix}": data})[:1]
    assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_heic_is_read_by_the_extra(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    pillow_heif.register_heif_opener()
    data = encoded(image(0, (64, 64)), "HEIF")
    files = {f"{name}/{i}.HEIC": data for name in "ab" for i in range(2)}
    pixels = by_folder(write_folder(tmp_path, files))
    assert np.array_equal(pixels[0], np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.fixture
def no_heif(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(
        Image, "ID", [kind for kind in Image.ID if kind != "HEIF"]
    )  # a test before may have registered it
    _reads_heif.cache_clear()
    yield
    _reads_heif.cache_clear()


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


@pytest.mark.usefixtures("no_heif")
def test_heic_without_the_extra_is_named_and_counted(caplog, tmp_path):
    root = write_folder(tmp_path, tree_of() | {"cat/7.heic": HEIC, "dog/8.HEIF": HEIC})
    with pytest.raises(
        UserError, match=r"2 of 11 images \(.*cat/7\.heic: .*pip install pillow-heif.*dog/8\.HEIF: "
    ) as error:
        by_folder(root)
    assert is_one_sentence(error)
    assert len(by_folder(root, skip_broken=True)) == 9
    assert "2 of 11 images" in caplog.messages[-1]


def test_files_of_other_kinds_are_counted(caplog, tmp_path):
    caplog.set_level("INFO")
    by_folder(write_folder(tmp_path, tree_of() | {"cat/a.jxl": b"1", "cat/b.JXL": b"1", "dog/README": b"1"}))
    assert "3 files that are no images are left out (2 .jxl, 1 without a suffix)" in caplog.text


# --- layouts ---


@WRITE
@pytest.mark.parametrize("train", ["train", "Train", "training", "TRAINING"])
@pytest.mark.parametrize("test", ["Test", "testing", "val", "Valid", "VALIDATION"])
def test_splits_are_no_classes_whatever_their_case(write, train, test, tmp_path):
    files = tree_of(f"{train}/") | tree_of(f"{test}/", {"cat": 2, "dog": 4})
    splits = Folder(write(tmp_path / "data", files), cache=None).load(progress=False)
    assert splits.train.classes == splits.test.classes == ("cat", "dog")
    assert (len(splits.train), torch.bincount(splits.test.labels).tolist()) == (9, [2, 4])
    tests = Folder(write(tmp_path / "plain", tree_of()), test_root=write(tmp_path / "apart", files), cache=None)
    assert len(tests.load(progress=False).test) == 6


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (tree_of("train/") | tree_of("Train/"), "holds Train and train, which are one split"),
        (tree_of("Test/") | tree_of("val/"), r"holds Test and val, which are splits and no classes"),
        (tree_of(counts={"Train": 3, "Test": 3}), r"holds Test and Train, which are splits and no classes"),
        (tree_of() | tree_of("val/"), "holds the split val beside the folder cat; put the class folders"),
    ],
)
def test_splits_that_cannot_be_told_are_refused(files, message, tmp_path):
    with pytest.raises(UserError, match=message) as error:
        by_folder(write_zip(tmp_path / "data", files))
    assert is_one_sentence(error)


def test_a_class_of_trains_is_one_with_a_word(caplog, tmp_path):
    root = write_folder(tmp_path, tree_of(counts={"car": 2, "train": 2}))
    assert Folder(root, cache=None).load(progress=False).train.classes == ("car", "train")
    assert "train is taken for a class" in caplog.text


def test_imagenets_splits_may_be_called_otherwise_and_stand_in_a_zip(tmp_path):
    root = write_zip(tmp_path / "data", tree_of("pets/Training/") | tree_of("pets/Valid/", {"cat": 2, "dog": 4}))
    data = ImageNetData(ImageNet(root, 2, 8, 8), num_workers=0)
    assert data.split_record() == {"mode": "train/val", "train_images": 9, "test_images": 6}
    assert torch.cat([y for _, y in data.val_dataloader()]).tolist() == [0] * 2 + [1] * 4


def test_hidden_folders_are_no_classes_anywhere(tmp_path):
    hidden = {
        ".ipynb_checkpoints/0.png": b"x",
        ".git/1.png": b"x",
        "cat/.ipynb_checkpoints/0.png": b"x",
        "cat/._0.png": b"x",
    }
    files = {f"{part}/{name}": data for part in ("train", "val") for name, data in (tree_of() | hidden).items()}
    root = write_folder(tmp_path, files)
    assert len(by_folder(root)) == 9
    assert [len(part) for part in ImageNetData(ImageNet(root, 2, 8, 8)).folders] == [9, 9]
    assert Folder(root).num_classes == 2


def test_imagenet16_may_be_in_folders_of_any_case(tmp_path):
    few = write_folder(tmp_path, tree_of("Train/") | tree_of("Val/"))
    with pytest.raises(UserError, match=r"has 2 class folders and its test images; .* needs 120"):
        ImageNet16_120(few, image_size=8).load(progress=False)


def test_a_link_back_is_not_followed(tmp_path):
    root = tmp_path / "data"
    write_folder(root, tree_of())
    elsewhere = tmp_path / "elsewhere"
    write_folder(elsewhere, {"more/9.png": encoded(image(9))})
    for link, target in {
        root / "itself": root,
        root / "cat" / "up": root,
        root / "dog" / "higher": tmp_path,
        root / "cat" / "more": elsewhere,  # leads out, which is meant, and back
        elsewhere / "back": root,
        elsewhere / "more" / "here": elsewhere / "more",
    }.items():
        link.symlink_to(target, target_is_directory=True)
    tree = open_tree(str(root), "dataset.root")
    images = {str(path) for paths in tree.files.values() for path in paths}
    assert images == {*tree_of(), "cat/more/more/9.png"}
    assert sorted(map(str, tree.folders)) == [".", "cat", "cat/more", "cat/more/more", "dog"]


def test_a_dangling_link_is_a_broken_image(tmp_path):
    root = write_folder(tmp_path, tree_of())
    (tmp_path / "cat" / "9.png").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"cat/9\.png in .* cannot be decoded \(it cannot be read") as error:
        Folder(root, cache=str(tmp_path.parent / "cache")).load(progress=False)
    assert is_one_sentence(error)


# --- zips ---


def renamed(rename):
    return {rename(name): data for name, data in tree_of("train/").items()}


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"./{name}",
        lambda name: f"/{name}",
        lambda name: name.replace("/", "\\"),
        lambda name: f".\\{name}",
    ],
)
def test_zip_members_however_their_paths_are_written(rename, tmp_path):
    files = {rename("train/cat/"): b""} | renamed(rename)
    root = write_zip(tmp_path / "odd", files)
    plain = write_zip(tmp_path / "plain", tree_of("train/"))
    assert np.array_equal(by_folder(root), by_folder(plain))
    kept = Folder(root, cache=str(tmp_path / "cache"))
    for _ in range(2):
        assert len(kept.load(progress=False).train) == 9


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_stands_twice_is_read_once_or_refused(tmp_path):
    files = list(tree_of().items())
    for name, more in (
        ("same", [files[0], ("./" + files[1][0], files[1][1])]),
        ("other", [(files[0][0], files[1][1])]),
    ):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for path, data in [*files, *more]:
                archive.writestr(path, data)
    assert len(by_folder(tmp_path / "same.zip")) == 9
    with pytest.raises(UserError, match=r"other\.zip holds cat/0\.png twice with different content") as error:
        by_folder(tmp_path / "other.zip")
    assert is_one_sentence(error)


# --- broken images ---

BROKEN = {"cat/7.png": encoded(image(7))[:60], "cat/8.jpg": b"", "dog/9.png": b"no image"}


@WRITE
@pytest.mark.parametrize("gigabytes", [0.0, 4.0])
@pytest.mark.parametrize("workers", [0, 1])
def test_all_broken_images_are_named_in_one_go(write, gigabytes, workers, tmp_path):
    train = write(tmp_path / "data", {f"train/{name}": data for name, data in (tree_of() | BROKEN).items()})

    def read():
        images = Folder(train, memory_limit_gb=gigabytes, cache=None).load(progress=False).train
        list(images.batches([torch.arange(len(images))], workers))

    with pytest.raises(UserError, match="3 of 12 images") as error:
        read()
    assert is_one_sentence(error)
    assert all(f"train/{name}: " in str(error.value) for name in BROKEN)
    assert "dataset.skip_broken=true" in str(error.value)


def test_broken_training_and_test_images_are_named_together(tmp_path):
    files = tree_of("train/") | tree_of("test/") | {"train/cat/7.png": b"x", "test/dog/8.png": b"x"}
    with pytest.raises(UserError, match=r"2 of 20 images \(.*test/dog/8\.png.*train/cat/7\.png"):
        by_folder(write_folder(tmp_path, files))


def test_of_many_broken_images_the_rest_is_in_the_log(caplog, tmp_path):
    files = tree_of() | {f"cat/broken{i}.png": b"x" for i in range(30)}
    with pytest.raises(UserError, match=r"30 of 39 images .* and 20 more, all named in the log") as error:
        by_folder(write_folder(tmp_path, files))
    assert is_one_sentence(error)
    assert all(f"cat/broken{i}.png" in caplog.text for i in range(30))


@WRITE
@pytest.mark.parametrize("gigabytes", [0.0, 4.0])
def test_skip_broken_leaves_them_out_and_counts_them(write, gigabytes, caplog, tmp_path):
    files = {f"train/{name}": data for name, data in (tree_of() | BROKEN).items()}
    files |= tree_of("test/", {"cat": 2, "dog": 2}) | {"test/cat/7.png": b"x"}
    settings = {"memory_limit_gb": gigabytes, "skip_broken": True, "cache": str(tmp_path / "cache")}
    splits = Folder(write(tmp_path / "data", files), **settings).load(progress=False)
    assert "4 of 17 images" in caplog.text
    assert "left out (dataset.skip_broken=true)" in caplog.text
    assert (len(splits.train), len(splits.test)) == (9, 4)
    pixels, labels = next(splits.train.batches([torch.arange(9)], 0))
    for label, count in ((0, 6), (1, 3)):
        for i, got in enumerate(pixels[labels == label]):
            assert np.array_equal(got.permute(1, 2, 0), np.asarray(image(100 * label + i)))
        assert int((labels == label).sum()) == count


def test_an_image_of_another_size_is_not_skipped(tmp_path):
    root = write_folder(tmp_path, tree_of() | {"dog/7.png": encoded(image(7, (9, 9)))})
    with pytest.raises(UserError, match=r"dog/7\.png .* is 9x9"):
        by_folder(root, skip_broken=True, image_size=None)


def test_what_is_broken_is_not_kept_for_the_next_run(tmp_path):
    root = write_folder(tmp_path / "data", tree_of() | {"cat/7.png": b"x"})
    folder = Folder(root, cache=str(tmp_path / "cache"), skip_broken=True)
    assert len(folder.load(progress=False).train) == 9
    assert not (tmp_path / "cache").exists()


def test_pixels_kept_by_the_rules_of_before_are_decoded_anew(monkeypatch, tmp_path):
    root, cache = write_folder(tmp_path / "data", tree_of()), tmp_path / "cache"
    with monkeypatch.context() as before:
        before.setattr(cache_module, "_FORMAT", 1)
        before.setattr(cache_module, "decode_all", lambda decoder, paths, _: (torch.zeros(9, 3, 8, 8).byte(), {}))
        Folder(root, cache=str(cache)).load(progress=False)
    images = Folder(root, cache=str(cache)).load(progress=False).train
    assert isinstance(images, Images)
    assert np.array_equal(images.pixels.permute(0, 2, 3, 1), by_folder(root))


@pytest.mark.parametrize("workers", [0, 1])
def test_imagenet_names_all_broken_images_or_leaves_them_out(workers, caplog, tmp_path):
    files = {f"{part}/{name}": data for part in ("train", "val") for name, data in (tree_of() | BROKEN).items()}
    root = write_folder(tmp_path, files)
    with pytest.raises(UserError, match="3 of 12 images") as error:
        list(ImageNetData(ImageNet(root, 2, 8, 8), num_workers=workers).train_dataloader())
    assert is_one_sentence(error)
    data = ImageNetData(ImageNet(root, 2, 8, 8, skip_broken=True), num_workers=workers)
    assert data.split_record()["train_images"] == 9
    assert torch.cat([y for _, y in data.val_dataloader()]).tolist() == [0] * 6 + [1] * 3
    assert caplog.text.count("3 of 12 images") == 2


# --- too little ---


@WRITE
@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        ({"cat/0.png": encoded(image(0))}, {}, r"1 class folder\(s\)"),
        ({"0.png": encoded(image(0))}, {}, r"0 class folder\(s\)"),
        ({"notes.txt": b"x"}, {}, r"0 class folder\(s\)"),
        ({"a/0.png": b"x", "a/1.png": b"x", "b/0.png": b"x"}, {}, "3 of 3 images .* cannot be decoded"),
        ({"a/0.png": b"x", "a/1.png": b"x", "b/0.png": b"x"}, {"image_size": 8}, "3 of 3 images .* cannot be decoded"),
        ({"a/0.png": b"x", "b/0.png": b"x"}, {"image_size": 8, "skip_broken": True}, "class a of .* has 0 training images"),
        (tree_of(counts={"cat": 3, "dog": 1}), {}, "the class dog of .* has 1 training image that"),
        (tree_of(counts={"cat": 3, "dog": 1}) | {"dog/9.png": b"x"}, {"skip_broken": True}, "class dog of .* has 1 training"),
    ],
)  # fmt: skip
def test_too_little_to_search_on_is_one_sentence(write, files, settings, message, tmp_path):
    folder = Folder(write(tmp_path / "data", files), cache=None, **settings)
    with pytest.raises(UserError, match=message) as error:
        folder.load(progress=False)
    assert is_one_sentence(error)
