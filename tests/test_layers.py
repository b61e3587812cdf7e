"""Imports point down only."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "nas_lightning"
FRAMEWORKS = {"pytorch_lightning", "hydra", "wandb"}
# part of the package -> what it must not import
FORBIDDEN = {
    "genotype.py": {*FRAMEWORKS, "torch"},
    "darts_genotype.py": {*FRAMEWORKS, "torch"},
    "files.py": {*FRAMEWORKS, "torch"},
    "relaxations": FRAMEWORKS,
    "schedules": {*FRAMEWORKS, "torch"},
    "spaces": FRAMEWORKS,
    "banks": FRAMEWORKS,
    "supernet.py": FRAMEWORKS,
    "network.py": FRAMEWORKS,
    "active.py": FRAMEWORKS,
    "graphs.py": FRAMEWORKS,
    "architecture.py": FRAMEWORKS,
    "bilevel.py": FRAMEWORKS,
    "quiet.py": {*FRAMEWORKS, "torch"},
    "distributed.py": {"hydra", "wandb", "nas_lightning.module", "nas_lightning.callbacks", "nas_lightning.data"},
    "benchmarks": FRAMEWORKS,
    "data": {"hydra", "wandb", "nas_lightning.spaces", "nas_lightning.module"},
    "module.py": {"hydra", "wandb", "nas_lightning.callbacks", "nas_lightning.data"},
    "callbacks": {"hydra", "wandb", "nas_lightning.data", "nas_lightning.reports"},
    "reports": {*FRAMEWORKS, "torch", "nas_lightning.module", "nas_lightning.spaces"},
}


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
    files = [path] if path.is_file() else sorted(path.glob("*.py"))
    assert files
    for file in files:
        for module in imported(file):
            wrong = [name for name in FORBIDDEN[part] if module == name or module.startswith(name + ".")]
            assert not wrong, f"{file.relative_to(PACKAGE.parent)} imports {module}"
