"""Imports point down only, and every module can be the first one that a program imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "nas_lightning"
FRAMEWORKS = {"pytorch_lightning", "hydra", "wandb"}
ABOVE = {f"nas_lightning.{name}" for name in ("supernet", "training", "callbacks", "app", "reports", "data", "tabular")}
AXIS = {*FRAMEWORKS, *ABOVE}
# part of the package -> what it must not import
FORBIDDEN = {
    "genotypes": {*FRAMEWORKS, "torch", "numpy"},
    "records": {*FRAMEWORKS, "torch", *ABOVE},
    "streams.py": {*FRAMEWORKS, "torch", *ABOVE},
    "cells.py": AXIS,
    "relaxations": AXIS,
    "schedules": {*AXIS, "torch"},
    "bilevel": AXIS,
    "derive": AXIS,
    "penalties": AXIS,
    "perturbations": AXIS,
    "decisions": AXIS,
    "stages": AXIS,
    "selection": {*AXIS, "torch"},
    "stop": {*AXIS, "torch"},
    "ramps.py": AXIS,
    "optimizers": AXIS,
    "spaces": AXIS,
    "supernet": {"hydra", "wandb", *(ABOVE - {"nas_lightning.supernet"})},
    "training": {
        "wandb",
        "nas_lightning.supernet",
        "nas_lightning.callbacks",
        "nas_lightning.data",
        "nas_lightning.app",
    },
    "callbacks": {"hydra", "wandb", "nas_lightning.data", "nas_lightning.reports", "nas_lightning.app"},
    "data": {"hydra", "wandb", "nas_lightning.spaces", *(ABOVE - {"nas_lightning.data"})},
    "tabular": {*FRAMEWORKS, *(ABOVE - {"nas_lightning.tabular"})},
    "reports": {*FRAMEWORKS, "torch", *(ABOVE - {"nas_lightning.reports"}), "nas_lightning.spaces"},
}
MODULES = sorted(
    ".".join(("nas_lightning", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
)


def imported(path):
    """Every module that `path` names in an import, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("part", sorted(FORBIDDEN))
def test_imports_point_down(part):
    path = PACKAGE / part
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert files
    for file in files:
        for module in imported(file):
            wrong = [name for name in FORBIDDEN[part] if module == name or module.startswith(name + ".")]
            assert not wrong, f"{file.relative_to(PACKAGE.parent)} imports {module}"


def test_every_folder_but_the_top_has_its_rule():
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} <= {*FORBIDDEN, "app"}


def functions(folder):
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.name}: {node.name}", node.end_lineno - node.lineno + 1


def test_no_function_is_longer_than_a_screen():
    root = PACKAGE.parent
    everything = [*functions(PACKAGE), *functions(root / "speed"), *functions(root / "tests")]
    assert [name for name, lines in everything if lines >= 60] == []


def compared(path):
    """Every text that a condition of `path` compares with."""
    for node in ast.walk(ast.parse(path.read_text())):
        tests = [getattr(node, "test", None), *getattr(node, "ifs", ())]
        if isinstance(node, ast.Match):
            tests += [case.pattern for case in node.cases]
        for test in filter(None, tests):
            yield from (part.value for part in ast.walk(test) if isinstance(part, ast.Constant))


def test_no_condition_asks_for_a_space_or_a_method_by_its_name():
    conf = PACKAGE.parent / "conf"
    names = {path.stem for group in ("space", "method", "family") for path in (conf / group).glob("*.yaml")}
    asked = {(path.name, text) for path in sorted(PACKAGE.rglob("*.py")) for text in compared(path) if text in names}
    assert asked == set()


def texts_compared_with(tree):
    """Every text that stands on a side of a comparison, wherever it is; a constant of the module stands for its texts."""
    constants = {}
    for node in tree.body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if isinstance(getattr(node, "value", None), ast.Constant | ast.Tuple | ast.List | ast.Set):
            constants |= {target.id: node.value for target in targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        if isinstance(node, ast.MatchValue):
            sides = [node.value]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("startswith", "endswith"):
            sides = node.args
        named = [
            constants[part.id] for side in sides for part in ast.walk(side) if getattr(part, "id", "") in constants
        ]
        for side in (*sides, *named):
            yield from (part.value for part in ast.walk(side) if isinstance(part, ast.Constant))


# (module, text) that is a method's name and means something else there
OTHER_MEANINGS = {("spaces/darts/space.py", "darts")}  # the set of candidates that `none` may be added to


def test_nothing_is_compared_with_the_name_of_a_method():
    methods = {path.stem for path in (PACKAGE.parent / "conf" / "method").glob("*.yaml")}
    assert len(methods) > 30
    found = {
        (path.relative_to(PACKAGE).as_posix(), text)
        for path in PACKAGE.rglob("*.py")
        for text in texts_compared_with(ast.parse(path.read_text()))
        if text in methods
    }
    assert found == OTHER_MEANINGS


@pytest.mark.parametrize(
    ("program", "is_seen"),
    [
        ("same = name == 'edd'", True),
        ("wrong = 'edd' != name", True),
        ("known = [x for x in y if x in ('darts', 'edd')]", True),
        ("OURS = {'edd'}\ndef known(name):\n    return name not in OURS", True),
        ("OURS: str = 'edd'\nknown = lambda name: name == OURS", True),
        ("match name:\n    case 'darts' | 'edd':\n        pass", True),
        ("known = name.startswith('edd')", True),
        ("made = {'edd': 1}[name]", False),
        ("name = 'edd'\nprint('edd')", False),
    ],
)
def test_a_comparison_is_seen_wherever_it_stands(program, is_seen):
    assert ("edd" in {*texts_compared_with(ast.parse(program))}) == is_seen


def test_every_module_can_be_imported_first():
    """Each in a process of its own, forked after the heavy libraries, so that no order of imports hides a circle."""
    program = """
import os, sys
import hydra, numpy, pytorch_lightning, torch, torchvision, matplotlib
for name in sys.argv[1:]:
    if os.fork() == 0:
        try:
            __import__(name)
        except BaseException as error:
            print(name, repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    os.wait()
"""
    done = subprocess.run([sys.executable, "-c", program, *MODULES], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert (done.stdout, done.returncode) == ("", 0)
