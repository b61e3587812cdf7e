"""The W&B workspace: its panels show what runs really log, and it is built without an account."""

import csv
import json
import sys

import pytest

from nas_lightning.app.dashboard import SECTIONS, main

PANELS = [panel for panels in SECTIONS.values() for panel in panels]


def test_every_panel_shows_a_column_of_a_search(toy, tmp_path):
    toy("run", "callbacks=hessian_eigenvalue")
    with (tmp_path / "run" / "metrics.csv").open() as file:
        columns = set(next(csv.reader(file)))
    shown = {metric for panel in PANELS for metric in panel.metrics}
    assert {metric for metric in shown if not metric.startswith("table/")} <= columns
    assert {media for panel in PANELS for media in panel.media} == {
        "cell",
        "beta",
    }  # tests/test_loggers.py has their keys


def test_dry_run_prints_the_workspace_without_a_key(capsys, monkeypatch):
    pytest.importorskip("wandb_workspaces")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert main(["--dry-run"]) == 0
    sections = json.loads(capsys.readouterr().out)["spec"]["section"]["panel_bank_config"]["sections"]
    assert [section["name"] for section in sections] == list(SECTIONS)
    plots = [panel["config"] for section in sections for panel in section["panels"] if panel["config"].get("metrics")]
    assert {plot["x_axis"] for plot in plots} == {"epoch"}
    assert [plot["metrics"] for plot in plots] == [list(panel.metrics) for panel in PANELS if panel.metrics]


def test_without_the_extra_or_the_entity_there_is_one_sentence(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    for arguments, sentence in ((["--dry-run"], "nas-lightning[dashboard]"), ([], "--entity")):
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
