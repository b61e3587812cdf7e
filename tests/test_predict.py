"""A trained network in use: load(...).predict, `nas-lightning predict`, ONNX files that know how to read images."""

import copy
import itertools
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import nas_lightning
from nas_lightning.app import command
from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.job import Job
from nas_lightning.build import build
from nas_lightning.classifier import Classifier
from nas_lightning.data import Digits, Folder, ImageNet
from nas_lightning.data.augment import normalise
from nas_lightning.data.images import resize
from nas_lightning.errors import UserError
from nas_lightning.genotypes.nb201 import parse_nb201
from nas_lightning.reports.model_card import model_card
from nas_lightning.spaces import NB201
from nas_lightning.training.export import export_network, save_weights
from nas_lightning.training.interface import Interface, kept_names
from tests import hostile
from tests.conftest import ROOT, composed

NAMES = ("cat | dog", "é`x`", "zebra")  # as folders may be called
SIDE = 12
TINY = (
    "dataset=folder", f"dataset.image_size={SIDE}", "dataset.test_fraction=0.3", "dataset.cache=null", "space.C=4",
    "space.N=1", "trainer.max_epochs=6", "trainer.accelerator=cpu", "data.batch_size=8", "benchmark=none", "baselines=false",
    "train=true",
)  # fmt: skip
GENOTYPE = f"genotype='{hostile.ARCHITECTURE}'"


def photo(seed, width=23, height=17, mode="RGB"):
    """Smooth colours, as photos have, with noise."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(256, (1, 3, 4, 4), generator=generator).float()
    smooth = torch.nn.functional.interpolate(blocks, (height, width), mode="bilinear")
    noisy = smooth + 10 * torch.randn(smooth.shape, generator=generator)
    return Image.fromarray(noisy.clamp(0, 255).byte()[0].permute(1, 2, 0).numpy()).convert(mode)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """images/ of three classes, and trained/, the folder of a training on them."""
    place = tmp_path_factory.mktemp("predict")
    for label, name in enumerate(NAMES):
        (place / "images" / name).mkdir(parents=True)
        for number in range(8):
            Image.blend(photo(label), photo(100 * label + number + 9), 0.3).save(
                place / "images" / name / f"{number}.png"
            )
    overrides = (*TINY, f"dataset.root={place / 'images'}")
    config = composed(*overrides, GENOTYPE, f"run_dir={place / 'trained'}", config="evaluate")
    evaluate(config, Job({"space": "nb201", "dataset": "folder", "recipe": "nb201"}, list(overrides)))
    return place


@pytest.fixture
def network(place):
    return nas_lightning.load(place / "trained")


def untrained(folder, interface, count=5, **changes):
    """The folder of a network that nobody has trained."""
    genotype = parse_nb201(hostile.ARCHITECTURE)
    torch.manual_seed(0)
    save_weights(NB201(4, 1).network(genotype, count), folder, interface)
    report = {
        "kind": "evaluation", "genotype": json.loads(genotype.to_json()), "config": {"space": hostile.SPACE},
        "num_classes": count, "image_size": interface.image_size, "classes": interface.classes,
        "normalisation": interface.normalisation, "resize": interface.resize, **changes,
    }  # fmt: skip
    (folder / "report.json").write_text(json.dumps({key: value for key, value in report.items() if value != "absent"}))
    return folder


# --- what a training keeps


def test_report_weights_and_card_carry_names_size_and_normalisation(place):
    report = json.loads((place / "trained" / "report.json").read_text())
    splits = Folder(str(place / "images"), image_size=SIDE, test_fraction=0.3, cache=None).load(progress=False)
    assert tuple(report["classes"]) == splits.train.classes == tuple(sorted(NAMES))
    assert report["normalisation"] == [[*splits.mean], [*splits.std]]
    assert (report["image_size"], report["resize"]) == (SIDE, None)
    state = torch.load(place / "trained" / "found" / "weights.pt", weights_only=True)
    assert {name: json.loads(text) for name, text in state.interface.items()} == {
        "classes": report["classes"], "image_size": SIDE, "mean": [*splits.mean], "std": [*splits.std]
    }  # fmt: skip
    card = (place / "trained" / "MODEL_CARD.md").read_text()
    assert r"| classes | cat \| dog, zebra, é&#96;x&#96; |" in card
    assert f"the largest centred square scaled to {SIDE}x{SIDE}" in card
    assert str([round(value, 5) for value in splits.mean]) in card
    of_imagenet = model_card({**report, "resize": 256, "image_size": 224, "classes": None}, "x")
    assert "the short side scaled to 256, of that the centre 224x224" in of_imagenet
    assert "| classes | not kept |" in of_imagenet


def test_names_that_no_report_could_hold_are_left_out():
    assert kept_names([*"ab"]) == ("a", "b")
    assert kept_names([str(number) for number in range(10_001)]) is None
    assert kept_names(["x" * 200] * 2_000) is None


# --- load


def test_what_is_loaded_is_a_module_whose_state_is_the_networks(place, network):
    assert isinstance(network, nn.Module)
    assert not network.training
    assert not network.network.training
    state = torch.load(place / "trained" / "found" / "weights.pt", weights_only=True)
    assert network.state_dict().keys() == state.keys()
    other = NB201(4, 1).network(parse_nb201(hostile.ARCHITECTURE), 3)
    other.load_state_dict(network.state_dict())
    changed = {name: value + 1 for name, value in state.items()}
    network.load_state_dict(changed)
    assert all(torch.equal(value, changed[name]) for name, value in network.network.state_dict().items())
    whole, again = (
        nn.Sequential(copy.deepcopy(each), nn.ReLU()) for each in (network, nas_lightning.load(place / "trained"))
    )
    again.load_state_dict(whole.state_dict())  # as a part of a larger module
    assert all(torch.equal(value, changed[name.removeprefix("0.")]) for name, value in again.state_dict().items())
    with pytest.raises(RuntimeError, match="Missing key"):
        network.load_state_dict(dict(list(state.items())[1:]))


def test_what_is_loaded_is_traced_saved_and_exported_as_any_module(network, tmp_path):
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    expected = network(x)
    assert torch.equal(network.network(x), expected)
    assert torch.allclose(torch.jit.trace(network, x)(x), expected, atol=1e-6)
    assert torch.allclose(torch.export.export(network, (x,)).module()(x), expected, atol=1e-6)
    torch.save(network, tmp_path / "whole.pt")
    assert torch.equal(torch.load(tmp_path / "whole.pt", weights_only=False)(x), expected)


def test_the_training_measured_what_predict_says(place, network):
    """The test accuracy of report.json, from the files."""
    report = json.loads((place / "trained" / "report.json").read_text())
    images = Folder(str(place / "images"), image_size=SIDE, test_fraction=0.3, cache=None)
    data = build(composed(*TINY, f"dataset.root={place / 'images'}", config="evaluate").data)
    test = torch.cat([x for x, _ in data.val_dataloader()])
    hits = 0
    for name in images.load(progress=False).train.classes:
        for path in (place / "images" / name).iterdir():
            pixels = network.transform(Image.open(path))
            if any(torch.equal(pixels, each) for each in test):  # to the bit
                hits += network.predict(path)[0][0] == name
    assert hits / len(test) == pytest.approx(report["test_accuracy"])


# --- transform


def read_in_training(folder, image, file_name, **saved):
    """What a training sees of the image's file, which is folder/a/0<file name>."""
    for label, number in itertools.product("ab", "01"):
        (folder / label).mkdir(exist_ok=True)
        image.save(folder / label / f"{number}{file_name}", **saved)
    return Folder(str(folder), image_size=SIDE, cache=None).load(progress=False).train.pixels[:1]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_transform_makes_the_pixels_of_the_trainings_reader(mode, network, tmp_path):
    """Of a folder, for every mode that a file can have."""
    grey = np.asarray(photo(5).convert("L"))
    deep = {"I;16": Image.fromarray(grey.astype(np.uint16) * 257), "F": Image.fromarray(grey.astype(np.float32) / 255)}
    image = deep[mode] if mode in deep else photo(5).convert(mode)
    name = {"CMYK": "x.jpg", "F": "x.tiff"}.get(mode, "x.png")
    expected = normalise(read_in_training(tmp_path, image, name), *network.interface.normalisation)[0]
    path = tmp_path / "a" / f"0{name}"
    with Image.open(path) as opened:
        assert opened.mode == mode
        assert torch.equal(network.transform(opened), expected)
    assert network.predict(path) == network.predict(expected)


@pytest.mark.parametrize("mode", ["HSV", "YCbCr", "PA", "I"])
def test_modes_that_no_file_has_are_read_too(mode, network):
    if mode == "I":
        grey = photo(5).convert("L")
        image, same = Image.fromarray(np.asarray(grey).astype(np.int32) * 257), grey
    else:
        image = photo(5).convert("RGBA" if mode == "PA" else "RGB").convert(mode)
        same = image.convert("RGB")
    assert image.mode == mode
    assert torch.equal(network.transform(image), network.transform(same))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_says(orientation, network, tmp_path):
    """By a table of the standard; in the training too."""
    upright = np.asarray(photo(6))
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright), 7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_in_training(tmp_path, Image.fromarray(np.ascontiguousarray(stored)), "x.png", exif=exif)
    expected = network.transform(Image.fromarray(upright))
    with Image.open(tmp_path / "a" / "0x.png") as image:
        assert torch.equal(network.transform(image), expected)
    assert torch.equal(normalise(read, *network.interface.normalisation)[0], expected)


def test_damaged_exif_turns_nothing(network, tmp_path):
    photo(7).save(tmp_path / "x.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12broken")
    with Image.open(tmp_path / "x.jpg") as image:
        assert torch.equal(network.transform(image), network.transform(image.copy().convert("RGB")))


@pytest.mark.parametrize("size", [(40, 30), (30, 41), (24, 24), (17, 90)])
def test_images_of_imagenet_are_cut_out_as_its_test_images(size, tmp_path):
    dataset = ImageNet(image_size=16, resize=20)
    colours = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    network = nas_lightning.load(untrained(tmp_path, Interface(16, None, colours, 20)))
    image = photo(8, *size)
    assert torch.allclose(network.transform(image), dataset.test_transform()(image), atol=1e-6)


def test_images_of_tensor_sets_are_scaled_alike():
    """The digits to the bit; where a set's tensors are scaled down, PyTorch and Pillow may round one level apart."""
    from sklearn.datasets import load_digits

    splits = Digits().load(progress=False)
    network = Classifier(nn.Identity(), Interface(16, None, (splits.mean, splits.std), None))
    grey = np.round(load_digits().images[0] * (255 / 16)).astype(np.uint8)
    transformed = network.transform(Image.fromarray(grey))
    pixels = resize(torch.from_numpy(grey)[None, None].repeat(1, 3, 1, 1), 16)
    assert torch.equal(transformed, normalise(pixels, splits.mean, splits.std)[0])
    photos = np.stack([np.asarray(photo(seed, 32, 32)) for seed in range(20)])
    small = resize(torch.from_numpy(photos).permute(0, 3, 1, 2), 20)
    plain = Classifier(nn.Identity(), Interface(20, None, ((0.0,) * 3, (1 / 255,) * 3), None))
    ours = torch.stack([plain.transform(Image.fromarray(each)) for each in photos])
    assert (ours - small).abs().max() < 1.01


# --- predict


def test_predictions_are_the_softmax_by_name_the_likeliest_first(place, network):
    path = place / "images" / NAMES[2] / "0.png"
    with Image.open(path) as image:
        x = network.transform(image)
        by_image = network.predict(image)
    shares = network(x[None]).double().exp().detach()[0]
    expected = dict(zip(sorted(NAMES), (shares / shares.sum()).tolist(), strict=True))
    prediction = network.predict(path)
    assert prediction == by_image == network.predict(str(path)) == network.predict(x)
    assert [name for name, _ in prediction] == sorted(NAMES, key=lambda name: -expected[name])
    assert dict(prediction) == pytest.approx(expected, abs=1e-6)
    pair = network.predict(torch.stack([x, -x]))
    assert [dict(each) for each in pair] == [pytest.approx(dict(network.predict(each)), abs=1e-6) for each in (x, -x)]
    assert network.predict(x.double()) == prediction


def test_folders_of_before_have_numbers_for_names(tmp_path, capsys):
    colours = ((0.5,) * 3, (0.25,) * 3)
    old = untrained(tmp_path / "old", Interface(SIDE, None, colours, None), classes="absent", resize="absent")
    network = nas_lightning.load(old)
    assert network.classes is None
    assert network.interface.resize is None
    x = torch.zeros(3, SIDE, SIDE)
    assert sorted(name for name, _ in network.predict(x)) == [f"class {number}" for number in range(5)]
    photo(0).save(tmp_path / "x.png")
    assert network.predict(tmp_path / "x.png")
    config = {"space": hostile.SPACE, "dataset": {"resize": 14}}
    imagenet = untrained(tmp_path / "imagenet", Interface(SIDE, None, colours, None), resize="absent", config=config)
    assert nas_lightning.load(imagenet).interface.resize == 14
    bare = nas_lightning.load(untrained(tmp_path / "bare", Interface(SIDE, None, None, None), normalisation="absent"))
    assert len(bare.predict(x)) == 5
    with pytest.raises(UserError, match=r"report.json has no normalisation"):
        bare.predict(tmp_path / "x.png")


def ran(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["nas-lightning", *map(str, arguments)])
    status = command.main()
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_program_prints_names_and_probabilities(place, network, capsys, monkeypatch):
    paths = [place / "images" / name / "0.png" for name in NAMES[:2]]
    status, out, err = ran(capsys, monkeypatch, "predict", place / "trained", *paths)
    assert (status, err) == (0, "")
    expected = []
    for path in paths:
        expected.append(str(path))
        expected += [f"{100 * share:7.2f} %  {name}" for name, share in network.predict(path)]
    assert out.splitlines() == expected


def test_the_five_likeliest_are_printed_and_no_name_acts(tmp_path, capsys, monkeypatch):
    names = ("a\x1b[31m", "two\nlines", "\u202er", "=1", "[bold]", "f", "g")
    folder = untrained(tmp_path, Interface(SIDE, names, ((0.5,) * 3, (0.25,) * 3), None), count=7)
    photo(1).save(tmp_path / "x.png")
    status, out, _ = ran(capsys, monkeypatch, "predict", folder, tmp_path / "x.png")
    assert status == 0
    assert len(out.splitlines()) == 6
    assert all(line.isprintable() for line in out.splitlines())


def test_what_cannot_be_predicted_is_one_sentence_and_nothing_is_printed(place, tmp_path, capsys, monkeypatch):
    trained, image = place / "trained", place / "images" / NAMES[0] / "0.png"
    unweighted = tmp_path / "unweighted"
    shutil.copytree(trained, unweighted)
    shutil.rmtree(unweighted / "found")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(image.read_bytes()[:200])
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.onnx").write_bytes(b"\x08\x07\x12\x07pytorch")
    for arguments, sentence in (
        ((unweighted, image), "unweighted holds no trained network; give the folder of a finished evaluation"),
        ((tmp_path / "nowhere", image), "nowhere holds no evaluation"),
        ((other, image), "other holds no evaluation"),
        ((other / "model.onnx", image), "model.onnx is a file, and networks are loaded from a folder"),
        ((trained, image, tmp_path / "text.png"), "text.png cannot be read as an image (no image that Pillow knows)"),
        ((trained, image, tmp_path / "cut.png"), "cut.png cannot be read as an image"),
        ((trained, tmp_path / "none.png"), "none.png cannot be read as an image"),
        ((trained, tmp_path), f"{tmp_path} cannot be read as an image"),
    ):
        before = sorted(tmp_path.rglob("*"))
        status, out, err = ran(capsys, monkeypatch, "predict", *arguments)
        assert (status, out) == (1, "")
        assert sentence in err
        assert err.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (torch.zeros(3, SIDE, SIDE + 1), r"got torch.float32 \[3, 12, 13\]"),
        (torch.zeros(SIDE, SIDE), "normalised float tensors"),
        (torch.zeros(3, SIDE, SIDE, dtype=torch.uint8), "got torch.uint8"),
        (None, "got NoneType"),
        (np.zeros((3, SIDE, SIDE)), "got ndarray"),
    ],
)
def test_what_is_no_image_is_one_sentence(given, fault, network):
    with pytest.raises(UserError, match=fault):
        network.predict(given)
    with pytest.raises(UserError, match=r"transform takes an image of Pillow"):
        network.transform(given)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"classes": ["a"]}, "its classes are not 5 names"),
        ({"classes": [1, 2, 3, 4, 5]}, "its classes are not 5 names"),
        ({"classes": "abcde"}, "its classes are not 5 names"),
        ({"normalisation": [[0.5] * 3, [0, 1, 1]]}, "its normalisation is no"),
        ({"normalisation": [[0.5] * 3, [float("nan")] * 3]}, "its normalisation is no"),
        ({"normalisation": [0.5, 0.5]}, "its normalisation is no"),
        ({"resize": 10**9}, "resize=1000000000"),
        ({"resize": 3}, "resize=3"),
        ({"resize": "256"}, "resize='256'"),
    ],
)
def test_a_report_from_anybody_is_taken_as_names_and_numbers_alone(changes, fault, tmp_path):
    untrained(tmp_path, Interface(SIDE, None, None, None), **changes)
    with pytest.raises(UserError, match=rf"holds no evaluation \({fault}"):
        nas_lightning.load(tmp_path)


# --- ONNX


def session(path):
    return pytest.importorskip("onnxruntime", reason="of the extra `export`").InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )


def softmax(logits):
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def with_preprocessing(place):
    """By the program's own settings, after the training."""
    pytest.importorskip("onnxscript", reason="of the extra `export`")
    overrides = (*TINY, f"dataset.root={place / 'images'}", "export=onnx", "export.preprocess=true")
    config = composed(*overrides, GENOTYPE, f"run_dir={place / 'trained'}", config="evaluate")
    assert evaluate(config, Job({"dataset": "folder"}, list(overrides))) is None
    return (place / "trained" / "model.onnx").rename(place / "whole.onnx")


def test_exported_files_carry_names_size_and_normalisation(place, with_preprocessing, network):
    expected = network.interface.texts()
    assert set(expected) == {"classes", "image_size", "mean", "std"}
    assert session(with_preprocessing).get_modelmeta().custom_metadata_map == expected
    held = dict.fromkeys(expected, "")
    torch.export.load(export_network(place / "trained", "torch"), extra_files=held)
    assert {name: text if isinstance(text, str) else text.decode() for name, text in held.items()} == expected


def levels(pixels, interface):
    mean, std = (torch.tensor(values)[:, None, None] for values in interface.normalisation)
    return (pixels * std + mean) * 255


@pytest.mark.parametrize(("width", "height"), [(SIDE, SIDE), (23, 17), (18, 41), (90, 100), (7, 5)])
def test_the_graph_reads_images_of_any_size_as_predict_does(width, height, network, with_preprocessing):
    images = [photo(seed, width, height) for seed in range(3)]
    (logits,) = session(with_preprocessing).run(None, {"pixels": np.stack([np.asarray(image) for image in images])})
    expected = [dict(network.predict(image)) for image in images]
    for shares, prediction in zip(softmax(logits), expected, strict=True):
        assert dict(zip(network.classes, shares, strict=True)) == pytest.approx(prediction, abs=0.02)


@pytest.mark.parametrize("resize", [None, 20])
@pytest.mark.parametrize(("width", "height"), [(16, 16), (23, 17), (18, 41), (90, 101), (7, 5)])
def test_the_graphs_pixels_differ_by_two_levels_at_most(resize, width, height):
    onnx = pytest.importorskip("onnx", reason="of the extra `export`")
    from nas_lightning.training.onnx_graph import with_preprocessing

    interface = Interface(16, None, ((0.4, 0.5, 0.6), (0.2, 0.3, 1e-5)), resize)
    identity = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> g (float[B, 3, 16, 16] images) => (float[B, 3, 16, 16] logits) '
        "{ logits = Identity (images) }"
    )
    image = photo(3, width, height)
    graph = session(with_preprocessing(identity, interface).SerializeToString())
    (pixels,) = graph.run(None, {"pixels": np.asarray(image)[None]})
    expected = Classifier(nn.Identity(), interface).transform(image)
    difference = levels(torch.from_numpy(pixels[0]), interface) - levels(expected, interface)
    assert difference.abs().max() < 2.01
    assert difference.abs().mean() < 0.5


def test_the_five_lines_run_the_file_without_this_package(place, with_preprocessing, network):
    pytest.importorskip("onnxruntime", reason="of the extra `export`")
    script = ROOT / "examples" / "classify.py"
    code = [line for line in script.read_text().splitlines() if line and not line.startswith('"""')]
    assert len(code) == 5
    blocked = "import runpy, sys; sys.modules.update(nas_lightning=None, torch=None); del sys.argv[0]; "
    names = set()
    run = f"{blocked}runpy.run_path(sys.argv[0], run_name='__main__')"
    for name in NAMES:
        path = place / "images" / name / "3.png"
        arguments = (sys.executable, "-c", run, str(script), str(with_preprocessing), str(path))
        done = subprocess.run(arguments, capture_output=True, text=True, cwd=place)
        assert (done.stdout, done.stderr) == (f"{network.predict(path)[0][0]}\n", "")
        names.add(done.stdout)
    assert len(names) > 1
    chance = np.random.default_rng(0)
    drawn = (Image.fromarray(chance.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(500))
    image, stored = next(
        (image, stored)
        for image in drawn
        if network.predict(image)[0][0] != network.predict(stored := image.transpose(Image.Transpose.ROTATE_90))[0][0]
    )
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, as phones store photos
    stored.save(place / "turned.png", exif=exif)
    arguments = (sys.executable, "-c", run, str(script), str(with_preprocessing), str(place / "turned.png"))
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=place)
    assert (done.stdout, done.stderr) == (f"{network.predict(image)[0][0]}\n", "")
    plain = export_network(place / "trained", "onnx")
    done = subprocess.run([*arguments[:-2], plain, arguments[-1]], capture_output=True, text=True, cwd=place)
    assert (done.stdout, done.stderr) == ("", f"{plain} reads no photos: it needs export.preprocess=true.\n")


def test_an_export_that_fails_leaves_no_file(place, tmp_path):
    folder = untrained(tmp_path, Interface(SIDE, None, None, None), normalisation="absent")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"report.json has no normalisation"):
        export_network(folder, "onnx", preprocess=True)
    assert sorted(tmp_path.rglob("*")) == before
