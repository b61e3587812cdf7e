"""Searches and trainings from Python are those of the command line; a folder of photos becomes a network in one command."""

import json
import logging
import math
import random
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image

import nas_lightning as nl
from nas_lightning.app.calls import as_overrides
from nas_lightning.app.command import main
from nas_lightning.app.job import Job
from nas_lightning.app.search import search
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from tests.conftest import ROOT, composed
from tests.test_search import interrupt, rows

SMALL = {
    "space": {"C": 4, "N": 1}, "trainer": {"max_epochs": 2, "accelerator": "cpu"}, "data": {"batch_size": 4},
    "benchmark": "none",
}  # fmt: skip
PHOTOS = "Meine Fotos, 2026 (groß)=x"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """12 + 8 images that differ in their colour, of unequal sizes."""
    place, chance = tmp_path_factory.mktemp("photos") / PHOTOS, np.random.default_rng(0)
    for channel, (name, count) in enumerate({"rote Äpfel": 12, "Birnen, süß": 8}.items()):
        (place / name).mkdir(parents=True)
        for number in range(count):
            pixels = chance.integers(0, 100, (36 + number, 40, 3), dtype=np.uint8)
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(place / name / f"{number}.png")
    (place / "notes.txt").write_text("no image")
    return place


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "value",
    [
        "a", "a b", "a=b,c", "it's", "back\\slash", "ends in \\", "\\'", '"', "${x}", "\\${x}", "null", "true", "1", "1e3", "",
        "ü", "[a]", "{a: 1}", "~x", "a,b", 1, 1.5, -2, 1e-3, True, False, None, ["a b", 1, None],
        [0.5, 0.9], ("x", "y"), Path("/a b/c"),
    ],
)  # fmt: skip
def test_a_value_is_the_same_on_the_command_line(value):
    (override,) = as_overrides({"name": value})
    parsed = OverridesParser.create().parse_override(override).value()
    read = OmegaConf.to_container(OmegaConf.create({"name": parsed}), resolve=True)["name"]
    assert read == (str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value)
    assert type(read) is type(value) or isinstance(value, Path | tuple)


def test_names_below_names_are_dotted_keys():
    assert as_overrides({"trainer": {"max_epochs": 3}, "protocol": {"adam": {"lr": 0.1}}}) == [
        "trainer.max_epochs=3", "protocol.adam.lr=0.1",
    ]  # fmt: skip


def test_what_is_no_value_is_refused():
    with pytest.raises(UserError, match=r"no value of a config; give text, a number"):
        as_overrides({"name": object()})


def test_a_search_from_python_is_that_of_the_command_line(here):
    run = nl.search("seed=3", dataset="fake", method="darts", **SMALL)
    same = ["seed=3", "dataset=fake", "method=darts", *as_overrides(SMALL), f"run_dir={here / 'same'}"]
    expected = search(composed(*same), Job({}, same))
    assert run.genotype == Genotype.read(here / "same" / "genotype.json")
    assert rows(run.folder) == rows(here / "same")
    seconds = ("seconds", "processor_seconds")
    assert all(run.report["final"][key] == value for key, value in expected["final"].items() if key not in seconds)
    assert run.report["overrides"] == same[:-1]
    assert run.report["choices"]["method"] == "darts"
    assert [len(column) for column in run.history.values()] == [2] * len(run.history)
    assert run.history["entropy"] == [float(row["entropy"]) for row in rows(run.folder)]


def test_a_finished_search_is_taken_from_its_folder_unless_it_is_another(here):
    run = nl.search(dataset="fake", run_dir="mine", **SMALL)
    before = (run.folder / "report.json").stat().st_mtime_ns
    assert nl.search(dataset="fake", run_dir="mine", **SMALL) == run
    assert (run.folder / "report.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"mine holds .* seed=0, now it is 1"):
        nl.search(dataset="fake", run_dir="mine", seed=1, **SMALL)


def test_an_interrupted_call_goes_on(here, monkeypatch):
    whole = nl.search(dataset="fake", run_dir="whole", **SMALL)
    with monkeypatch.context() as patch:
        interrupt(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            nl.search(dataset="fake", run_dir="stopped", **SMALL)
    assert not (here / "stopped" / "report.json").exists()
    assert rows(nl.search(dataset="fake", run_dir="stopped", **SMALL).folder) == rows(whole.folder)


def test_a_call_leaves_random_states_warnings_and_the_screen_alone(here, capfd):
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = random.random(), np.random.random(), torch.rand(1).item()
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    filters = list(warnings.filters)
    nl.search(dataset="fake", **SMALL)
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected
    assert warnings.filters == filters
    assert capfd.readouterr() == ("", "")
    nl.search(dataset="fake", quiet=False, seed=1, **SMALL)
    assert "epoch 2/2" in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: nl.search(dataset="nowhere"),
            "dataset='nowhere' is neither a folder or zip of images nor one of cifar10",
        ),
        (lambda: nl.search(space="nb202"), r"space=nb202: no such choice; did you mean nb201\?"),
        (lambda: nl.search("epochs=3"), r"there is no epochs; did you mean trainer.max_epochs\?"),
        (lambda: nl.search(spaces="nb201"), r"there is no spaces; did you mean space\?"),
        (lambda: nl.search(dataset="fake", space={"C": 0}), r"space.C must be a whole number of at least 1, got 0"),
        (lambda: nl.search("seed=${x}", dataset="fake"), r"cannot be resolved \(Interpolation key 'x' not found\)"),
        (lambda: nl.fit("nowhere"), r"'nowhere' is no architecture"),
        (lambda: nl.predict("nowhere", "x.png"), r"nowhere"),
    ],
)
def test_what_the_command_line_refuses_is_one_sentence_and_leaves_nothing(call, sentence, here):
    with pytest.raises(UserError, match=sentence) as refusal:
        call()
    assert "\n" not in str(refusal.value)
    assert not [path for path in here.rglob("*") if path.is_file()]


@pytest.mark.drawings
def test_from_photos_to_names_in_three_lines(photos, here):
    run = nl.search("dataset.test_fraction=0.25", dataset=photos, **SMALL)
    net = nl.fit(run, **SMALL, baselines=False)
    answer = nl.predict(net, photos / "Birnen, süß" / "0.png")
    assert sorted(name for name, _ in answer) == ["Birnen, süß", "rote Äpfel"]
    assert sum(share for _, share in answer) == pytest.approx(1)
    assert nl.predict(str(net.folder), photos / "Birnen, süß" / "0.png") == answer
    assert net.report["image_size"] == 32
    assert set(net.history) >= {"test_accuracy", "train_loss"}
    assert run.figures["cell"].read_text() == run._repr_svg_()
    assert net.classifier.classes == ("Birnen, süß", "rote Äpfel") or [*net.classifier.classes] == [
        "Birnen, süß",
        "rote Äpfel",
    ]


def test_what_is_trained_is_of_the_searchs_space_and_stem(photos, here):
    small = {**SMALL, "space": {"C": 4, "num_cells": 3}}
    run = nl.search("dataset.test_fraction=0.25", "space=darts", "space.stem=imagenet", dataset=photos, **small)
    net = nl.fit(run, "space.auxiliary_head=false", baselines=False, **small)
    assert net.report["config"]["space"]["stem"] == "imagenet"
    assert net.report["space"] == "darts"


def test_the_notebook_runs(here, monkeypatch):
    """Cell by cell, as a notebook does."""
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    cells = json.loads((ROOT / "docs" / "photos.ipynb").read_text())["cells"]
    names: dict[str, object] = {}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    plt.close("all")
    assert names["net"].report["test_accuracy"] > 0.5  # of three classes
    assert {name for name, _ in nl.predict(names["net"], next(Path("photos/two").iterdir()))} == {"zero", "one", "two"}


QUICK = (
    "trainer.accelerator=cpu", "space.C=4", "space.N=1", "trainer.max_epochs=1", "data.batch_size=4", "train.baselines=false",
    "train.data.valid_fraction=0.2",
)  # fmt: skip


def command(monkeypatch, capfd, *arguments):
    monkeypatch.setattr(sys, "argv", ["nas-lightning", "fit", *map(str, arguments)])
    status = main()
    return status, *capfd.readouterr()


def test_fit_goes_from_photos_to_an_onnx_file_in_one_command(photos, here, monkeypatch, capfd, caplog):
    caplog.set_level(logging.INFO)
    status, said, _ = command(monkeypatch, capfd, photos, *QUICK)
    assert not status
    lines = said.splitlines()
    assert lines[0].endswith(f"{PHOTOS}: 20 images of 2 classes, used at 32 pixels.")
    assert lines[1:3] == ["        8 Birnen, süß", "       12 rote Äpfel"]
    assert lines[3] == "They are 40 to 40 pixels wide and 36 to 47 high; the largest centred square is used."
    assert lines[4] == "20% of each class are held out as test images, which nothing is trained on."
    assert "1 file that is no image is left out (1 .txt)." in caplog.text
    folder = next(Path("runs").iterdir())
    assert lines[-1].startswith("nas-lightning predict ")
    report = json.loads((folder / "network" / "report.json").read_text())
    assert math.isfinite(report["test_accuracy"])
    assert report["config"]["space"]["stem"] == "cifar"  # of 32 pixels nothing would be left
    session = onnxruntime.InferenceSession(str(folder / "network" / "model.onnx"))
    pixels = np.asarray(Image.open(photos / "rote Äpfel" / "0.png"))[None]
    (answer,) = session.run(None, {session.get_inputs()[0].name: pixels})
    shares = dict(nl.predict(folder / "network", photos / "rote Äpfel" / "0.png"))
    expected = [shares[name] for name in report["classes"]]
    assert np.exp(answer).ravel() / np.exp(answer).sum() == pytest.approx(expected, abs=1e-4)
    exported = next((f"{line}\n" for line in lines if line.startswith("Exported to ")), "")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = command(monkeypatch, capfd, photos, *QUICK)
    assert not again[0], again[2]
    assert again[1].splitlines()[-1] == lines[-1]
    assert again[1][again[1].index("found: ") :] == said[said.index("found: ") :].replace(exported, "")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    (folder / "network" / "model.onnx").unlink()  # as an interrupt before the export leaves it
    assert command(monkeypatch, capfd, photos, *QUICK)[1].splitlines()[-1] == lines[-1]
    assert (folder / "network" / "model.onnx").exists()


def test_a_setting_that_one_part_has_is_for_that_part(photos, here, monkeypatch, capfd):
    own = here / "own"
    shutil.copytree(photos, own)
    (own / "rote Äpfel" / "broken.png").write_bytes(b"no image")
    settings = ("method=darts", "~export", "baselines=[]", "dataset.skip_broken=true", "dataset.cache=null")
    *quick, _, _ = QUICK
    status, said, error = command(monkeypatch, capfd, own, *quick, *settings, "-o", "out")
    assert not status, error
    searched, trained = (json.loads(Path(f"out/{part}/report.json").read_text()) for part in ("search", "network"))
    assert searched["method"] == "darts"
    assert searched["config"]["dataset"]["skip_broken"] is trained["config"]["dataset"]["skip_broken"] is True
    assert not Path("out/network/model.onnx").exists()
    assert "model.onnx" not in said
    assert "13 rote Äpfel\nThose that cannot be decoded are still among these" in said


def test_fit_has_sizes_for_either_space(photos, here, monkeypatch, capfd):
    quick = [text for text in QUICK if text != "space.N=1"]
    budget = "budget={params: 1e6}"
    status, _, error = command(monkeypatch, capfd, photos, *quick, "space=darts", "train.~export", budget, "-o", "out")
    assert not status, error
    searched, trained = (json.loads(Path(f"out/{part}/report.json").read_text()) for part in ("search", "network"))
    assert (searched["config"]["space"]["num_cells"], trained["config"]["space"]["num_cells"]) == (5, 8)
    assert searched["config"]["budget"]["space"] == {"num_cells": 8, "auxiliary_head": False, "C": 4}
    assert trained["budget"]["costs"]["params"] == trained["networks"]["found"]["params"] <= 1e6
    config = composed("experiment=photos", "dataset.root=x", "run_dir=x")
    assert (config.space.C, config.space.N, config.space.stem) == (16, 1, "imagenet")


def test_fit_goes_on_where_nobody_reads_any_more(photos, here):
    asked = shlex.join(
        [
            sys.executable,
            "-c",
            "from nas_lightning.app.command import main; main()",
            "fit",
            str(photos),
            *QUICK,
            "train.~export",
        ]
    )
    done = subprocess.run(["bash", "-c", f"{asked} -o out 2>&1 | head -n 1"], capture_output=True, text=True, cwd=here)
    assert Path("out/network/report.json").exists(), done
    assert len(done.stdout.splitlines()) == 1


def test_a_setting_is_for_both_parts_or_for_one(photos, here, monkeypatch, capfd):
    *quick, _, _ = QUICK
    command(
        monkeypatch, capfd, photos, *quick, "-o", "out", "search.seed=4", "train.seed=5", "train.baselines=false",
        "train.~export", "train.data.valid_fraction=null", "budget.params=1e6", "train.space.N=2",
    )  # fmt: skip
    searched, trained = (json.loads(Path(f"out/{part}/report.json").read_text()) for part in ("search", "network"))
    assert (searched["seed"], trained["seed"]) == (4, 5)
    assert searched["config"]["space"]["C"] == trained["config"]["space"]["C"] == 4
    assert searched["method"] == "pcd + budget.params=1e+06"
    assert searched["config"]["budget"]["space"] == {"C": 4, "N": 2}
    assert searched["budget"]["costs"]["params"] == trained["params"]
    assert not Path("out/network/model.onnx").exists()


def test_fit_names_the_way_to_start_elsewhere(photos, here, monkeypatch, capfd):
    assert command(monkeypatch, capfd)[2].startswith("nas-lightning fit needs a folder or zip of <class>/<image>")
    report = here / "out" / "search" / "report.json"
    assert not command(monkeypatch, capfd, photos, *QUICK, "-o", "out", "train.baselines=[]", "train.~export")[0]
    assert report.exists()
    status, _, error = command(monkeypatch, capfd, photos, *QUICK, "-o", "out", "search.seed=4")
    assert status == 1
    assert error.endswith("set it back to go on, delete the folder to start anew, or give -o <another folder>.\n"), (
        error
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("nowhere", "does not exist"),
        ("one class", "holds 1 class folder"),
        ("one image", "the class b of .* has 1 training image that can be decoded, but each class needs 2"),
        ("broken", "4 of 4 images .* cannot be decoded"),
        ("epochs=3", "there is no epochs; did you mean trainer.max_epochs"),
        ("train.epochs=3", "there is no epochs"),
        ("train.baselines=[resnet19]", "torchvision, which has no 'resnet19'"),
        ("train.data.valid_fraction=x", "data.valid_fraction must be a number"),
        ("dataset.image_size=100000", "dataset.image_size=100000 is no size in pixels; give 2 to 8192"),
        ("dataset=digits", "dataset=digits: the images of fit are those of PHOTOS"),
        ("search.dataset.root=x", "search.dataset.root=x: the images of fit"),
        ("run_dir=x", "run_dir=x: fit has a folder .* give -o FOLDER"),
        ("train.budget.params=5", "a budget is for both parts; give budget.params=5, and search.budget.weight=0"),
        ("-o=", "-o names no folder"),
        ("-o=photos/a/0.png/x", "-o photos/a/0.png/x: photos/a/0.png is a file; give a folder"),
        ("-o=photos/out", "-o photos/out is inside photos"),
    ],
)
def test_fit_of_what_is_no_folder_of_photos_is_one_sentence(change, sentence, here, monkeypatch, capfd):
    counts = {"one class": {"a": 3}, "one image": {"a": 3, "b": 1}}.get(change, {"a": 2, "b": 2})
    for name, count in counts.items():
        (here / "photos" / name).mkdir(parents=True)
        for number in range(count):
            path = here / "photos" / name / f"{number}.png"
            Image.new("RGB", (32, 32), (number, 0, 0)).save(path)
            if change == "broken":
                path.write_bytes(b"no image")
    before = sorted(here.rglob("*"))
    extra = change.split("=", 1) if change.startswith("-o") else [change] if "=" in change else []
    status, _, error = command(monkeypatch, capfd, "nowhere" if change == "nowhere" else "photos", *QUICK, *extra)
    assert status == 1
    assert len(error.splitlines()) == 1
    assert re.search(sentence, error), error
    assert sorted(here.rglob("*")) == before
