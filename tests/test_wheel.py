"""The package as a user installs it: a wheel alone, run from a folder that holds nothing but the user's own files."""

import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.conftest import ROOT, TOY

OWN_CLASS = """
from nas_lightning.relaxations import Softmax

class Mine(Softmax):
    pass
"""

# bash asks a completion function by variables, and is told by one.
ASK = r"""
eval "$(nas-lightning -sc install=bash)"
function=$(complete -p nas-lightning | sed -E 's/.* -F ([^ ]+) .*/\1/')
for COMP_LINE in "$@"; do
    COMP_POINT=${#COMP_LINE}
    COMP_WORDS=($COMP_LINE)
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    $function
    echo "${COMPREPLY[@]}"
done
"""


def files(folder):
    paths = (path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path) for path in paths if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    subprocess.run([*build, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def user(wheel, tmp_path_factory):
    """user(program, *arguments) -> the finished process, in an empty folder of the user's with the wheel's command in PATH.

    The environment is fresh but for the packages that the wheel requires, which it borrows from this one. A .pth in a
    borrowed folder, such as that of a checkout installed there, has no effect.
    """
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    pip = (sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "--quiet")
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "borrowed.pth").write_text("\n".join(borrowed))
    folder = tmp_path_factory.mktemp("user")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    variables |= {"PATH": f"{environment / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

    def run(*command):
        done = subprocess.run(command, cwd=folder, env=variables, text=True, capture_output=True, timeout=240)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    run.folder = folder
    assert Path(run("python", "-c", "import nas_lightning; print(nas_lightning.__file__)").stdout).is_relative_to(
        packages
    )
    return run


@pytest.fixture(scope="module")
def searched(user):
    """The report of a search with a relaxation of the user's own."""
    (user.folder / "own.py").write_text(OWN_CLASS)
    (user.folder / "mine" / "relaxation").mkdir(parents=True)
    (user.folder / "mine" / "relaxation" / "mine.yaml").write_text("_target_: own.Mine\n")
    arguments = ("--config-dir", "mine", "relaxation=mine", *TOY, "run_dir=runs/toy/default")
    done = user("nas-lightning", "train", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads((user.folder / "runs" / "toy" / "default" / "report.json").read_text())


def test_wheel_holds_the_package_its_configs_and_nothing_else(wheel):
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name and not name.endswith("/")}
    assert {"nas_lightning/py.typed", "nas_lightning/conf/train.yaml"} <= held
    assert held == {f"nas_lightning/{name}" for name in files("nas_lightning") | {f"conf/{n}" for n in files("conf")}}


def test_a_search_by_the_wheel_uses_own_configs_and_classes_and_says_so(searched, user, wheel):
    assert searched["relaxation"] == "mine"
    assert searched["config"]["relaxation"]["_target_"] == "own.Mine"
    assert (searched["source"], searched["commit"], searched["dirty"]) == ("wheel", None, None)
    assert wheel.name.startswith(f"nas_lightning-{searched['versions']['nas-lightning']}-")
    assert searched["command"][0] == "nas-lightning train"
    assert str(user.folder.parent) not in json.dumps(searched)


def test_what_was_found_is_evaluated_and_reported(searched, user):
    done = user("nas-lightning", "evaluate", "run=runs/toy/default")
    assert done.returncode == 0, done.stderr
    assert searched["architecture"] in done.stdout
    evaluated = json.loads((user.folder / "runs/evaluate/run=runs_toy_default/report.json").read_text())
    assert evaluated["table"][0] == "the package's own table"
    assert "cifar10_test_200" in evaluated["scores"]
    done = user("nas-lightning", "report", "summary", "runs", "--format=csv")
    assert done.returncode == 0, done.stderr
    assert "entropy" in done.stdout


def test_help_is_there_without_torch(user):
    code = "import sys; from nas_lightning.app.command import main; main(); sys.exit('torch' in sys.modules)"
    done = user("python", "-c", code, "--help")
    assert done.returncode == 0
    assert "nas-lightning train" in done.stdout
    relaxations = sorted(path.stem for path in (ROOT / "conf" / "relaxation").iterdir())
    assert f"relaxation: {', '.join(relaxations)}\n" in user("nas-lightning", "train", "--help").stdout
    assert "usage: nas-lightning report" in user("nas-lightning", "report", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "nas-lightning needs a program; give one of train, evaluate, tune, fit, predict, report, or --help."),
        (
            ("serach",),
            "nas-lightning has no program serach; give one of train, evaluate, tune, fit, predict, report, or --help.",
        ),
        (
            ("train", "--config-dir", "nowhere"),
            "--config-dir nowhere is no folder; give the one that holds your configs, such as relaxation/mine.yaml.",
        ),
    ],
)
def test_what_cannot_be_run_is_one_sentence(arguments, sentence, user):
    done = user("nas-lightning", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence + "\n")


@pytest.mark.parametrize("arguments", ["--help", "train --help", "train --cfg job"])
def test_a_reader_that_leaves_does_no_harm(arguments, user):
    done = user("bash", "-c", f"nas-lightning {arguments} | true")
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_programs_groups_options_and_own_configs(searched, user):
    lines = {
        "nas-lightning tr": ["train"],
        "nas-lightning train spa": ["space.", "space="],
        "nas-lightning evaluate recipe=dr": ["recipe=drnas"],
        "nas-lightning train --config-dir mine relaxation=m": ["relaxation=mine"],
        "nas-lightning train --config-di": [],
    }
    done = user("bash", "-c", ASK, "bash", *lines)
    assert [line.split() for line in done.stdout.splitlines()] == list(lines.values())
    assert done.stderr == ""
