"""What needs no torch: a look-up in the table, the skip of finished runs, --help, and refusals of what is seen at once."""

import json
import os
import pty
import random
import subprocess
import sys

import pytest
import yaml
from omegaconf import OmegaConf

from nas_lightning.app.configs import CONFIGS
from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.evaluation import caution_of_a_training
from nas_lightning.app.help import CHOSEN_BY_OTHERS, GROUPS
from nas_lightning.app.job import Job
from nas_lightning.app.lookup import recorded
from nas_lightning.costs import nb201_cost
from nas_lightning.genotypes import NB201_OPERATIONS, nb201_genotype
from nas_lightning.spaces import NB201
from nas_lightning.training.cost import network_cost
from tests.conftest import composed_with_choices

PROGRAM = """
import sys
from nas_lightning.app import launch
program, *sys.argv[1:] = sys.argv[1:]
try:
    launch.start(program)
finally:
    heavy = ("torch", "torchvision", "pytorch_lightning", "wandb", "matplotlib", "sklearn", "scipy")
    print("loaded:", [name for name in heavy if name in sys.modules])
"""


def run(folder, *arguments):
    """(exit status, stdout, stderr) of a program that ends by saying what it has loaded."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], cwd=folder, capture_output=True, text=True)
    assert "loaded: []" in done.stdout, done
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("channels", "cells", "classes", "side"), [(16, 5, 10, 32), (4, 1, 3, 8), (6, 2, 120, 20)])
def test_the_cost_by_arithmetic_is_that_of_the_network(channels, cells, classes, side):
    drawn = random.Random(0)
    some = [tuple(drawn.choices(NB201_OPERATIONS, k=6)) for _ in range(4)]
    for operations in (*some, *((operation,) * 6 for operation in NB201_OPERATIONS)):
        genotype = nb201_genotype(operations)
        counted = network_cost(NB201(channels, cells), genotype, classes, side)
        assert nb201_cost(genotype, channels, cells, classes, side) == counted, operations


def ask(function, folder, *overrides):
    config, choices = composed_with_choices(*overrides, f"run_dir={folder}", config="evaluate")
    return function(config, Job(choices, list(overrides)))


def test_a_look_up_says_what_an_evaluation_says(toy, tmp_path, capsys):
    toy("run", "trainer.max_epochs=1")
    asked = f"run={tmp_path / 'run'}"
    reports, said = [], []
    for function in (recorded, evaluate):
        capsys.readouterr()
        report = ask(function, tmp_path / "a", asked)
        reports.append({key: value for key, value in report.items() if key not in ("finished", "peak_memory_mb")})
        said.append(capsys.readouterr().out)
    assert reports[0] == reports[1]
    found_by = json.loads((tmp_path / "run" / "report.json").read_text())
    assert reports[0]["method"] == found_by["method"]
    assert reports[0]["search"] == {key: found_by[key] for key in ("seed", "overrides", "commit")}
    assert said[0] == said[1]
    assert "if trained on the images of that name" in said[0]
    assert "multiply-adds" in said[0]  # in 80 columns


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("report.json", {"num_classes": "10"}),
        ("report.json", {"image_size": 30}),
        ("config.yaml", {"dataset": {"_target_": "os.system", "command": "false"}}),
        ("config.yaml", {"dataset": {"_target_": "nas_lightning.data.Digits", "image_size": "x"}}),
        ("genotype.json", {"space": "darts"}),
        ("genotype.json", None),
    ],
)
def test_records_with_anything_unusual_are_left_to_the_evaluation(file, change, toy, tmp_path):
    toy("run", "trainer.max_epochs=1")
    path = tmp_path / "run" / file
    read = yaml.safe_load if file == "config.yaml" else json.loads
    path.write_text("{" if change is None else json.dumps(read(path.read_text()) | change))
    assert ask(recorded, tmp_path / "a", f"run={tmp_path / 'run'}") is None
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("more", ["space.C=4", "dataset=cifar10", "dataset.image_size=8", "train=true", "export=onnx"])
def test_other_settings_are_left_to_the_evaluation(more, toy, tmp_path):
    toy("run", "trainer.max_epochs=1")
    assert ask(recorded, tmp_path / "a", f"run={tmp_path / 'run'}", more) is None


def test_a_look_up_and_the_skip_of_finished_runs_load_no_torch(toy, tmp_path):
    report = toy("run", "trainer.max_epochs=1")
    code, out, err = run(tmp_path, "evaluate", "run=run")
    assert (code, err) == (0, "")
    assert report["architecture"] in out
    for program, overrides, name in (
        ("train", ("seed=3",), "seed=3"),
        ("evaluate", ("train=true", "genotype=1"), "genotype=1,train=True"),
    ):
        folder = tmp_path / "runs" / program / name
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps(report | {"config": {}}))
        code, out, err = run(tmp_path, program, "-m", f"name={program}", *overrides)
        assert (code, err) == (0, "")
        assert f"runs/{program}/{name} is finished: skipped." in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("train", "run_dir=run"), "run holds a finished run"),
        (("train", "trainer.max_epochs=0"), "trainer.max_epochs must be a whole number of at least 1, got 0."),
        (("evaluate", "run=nowhere"), "run=nowhere is no folder of a search"),
        (("tune", "trainer.precision=8"), "trainer.precision=8 is not offered"),
        (
            ("train", "dataset=folder", "dataset.root=photos", "dataset.image_size=0"),
            "dataset.image_size=0 is no size in pixels",
        ),
        (
            ("train", "dataset=folder", "dataset.root=photos"),
            "the class b of photos has 1 training image that can be decoded",
        ),
        (("tune", "dataset=folder", "dataset.root=photos/a"), "photos/a holds 0 class folder(s)"),
        (("train", "dataset=folder", "dataset.root=empty"), "the class folder empty/d holds no images"),
        (("train", "dataset=folder", "dataset.root=no"), "dataset.root=no does not exist"),
        (("train", "dataset=folder"), "dataset=folder needs images; give a folder or zip"),
        (
            ("evaluate", "train=true", "genotype=NASNet", "dataset=folder", "dataset.root=no"),
            "dataset.root=no does not exist",
        ),
    ],
)
def test_what_is_seen_at_once_is_refused_before_torch_is_loaded(arguments, sentence, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.json").touch()
    for path in ("photos/a/0.png", "photos/a/1.png", "photos/b/0.png", "empty/c/0.png", "empty/d/notes.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    code, _, err = run(tmp_path, *arguments)
    assert code == 1
    assert err.startswith(sentence)
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "is_said"), [('{"kind": "evaluation"}', True), ('{"kind": "search"}', False), ("[]", False)]
)
def test_a_training_is_told_from_a_search(content, is_said, tmp_path, caplog):
    (tmp_path / "report.json").write_text(content)
    caution_of_a_training(OmegaConf.create({"run": str(tmp_path)}))
    assert ("is a training" in caplog.text) is is_said


COMMAND = """
import sys
from nas_lightning.app.command import main
try:
    sys.exit(main())
finally:
    print("loaded:", [name for name in ("torch", "pytorch_lightning", "hydra") if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("fit", "--help"), 0, "usage: nas-lightning fit"),
        (("predict", "--help"), 0, "usage: nas-lightning predict"),
        (("fit", "no"), 1, "dataset.root=no does not exist"),
        (("fit", "photos"), 1, "the class b of photos has 1 training image"),
    ],
)
def test_the_ways_of_photos_say_what_is_seen_at_once_before_anything_is_loaded(arguments, code, said, tmp_path):
    for path in ("photos/a/0.png", "photos/a/1.png", "photos/b/0.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    done = subprocess.run([sys.executable, "-c", COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "loaded: []" in done.stdout) == (code, True), done
    assert (done.stderr or done.stdout).startswith(said)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        (
            ("-c", PROGRAM, "train", "dataset=fake", "benchmark=no.csv", "run_dir=run"),
            ["train: reading", "run: loading"],
        ),
        (("-c", COMMAND, "predict", "folder", "image.png"), ["folder: loading PyTorch ..."]),
    ],
)
def test_who_waits_at_a_terminal_is_told_at_once(program, lines, tmp_path):
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, *program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs) as waiting:
        with os.fdopen(ours, "rb") as terminal:
            told = [terminal.readline().decode() for _ in lines]
        waiting.kill()
    os.close(theirs)
    assert all(line.startswith(start) for line, start in zip(told, lines, strict=True)), told


@pytest.mark.parametrize("program", ["train", "evaluate", "tune"])
def test_help_is_sentences_examples_and_every_group_of_the_program(program, tmp_path):
    (tmp_path / "own" / "relaxation").mkdir(parents=True)
    (tmp_path / "own" / "relaxation" / "mine.yaml").touch()
    code, out, err = run(tmp_path, program, "seed=3", "--config-dir", "own", "-h")
    assert (code, err) == (0, "")
    assert out.count("\n  # ") == 5
    assert "powered by Hydra" not in out
    assert (", mine, " in out.partition("\nrelaxation: ")[2].partition("\n")[0]) == ("relaxation: " in out)
    for group in ("space", "dataset", "logger", "debug"):
        assert f"\n{group}: {', '.join(sorted(path.stem for path in (CONFIGS / group).glob('*.yaml')))}\n" in out


def test_every_group_has_its_line_in_help():
    groups = {path.parent.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml")} - {"."}
    assert groups == {*GROUPS, *CHOSEN_BY_OTHERS}
