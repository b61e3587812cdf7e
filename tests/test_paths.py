"""Paths on the command line, as a user has them: with blanks, commas, brackets, quotes, and never as anything but a text."""

import os

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from nas_lightning.errors import UserError
from nas_lightning.records.overrides import quote_values

KEYS = (
    "dataset.root",
    "+dataset.test_root",
    "dataset.cache",
    "run_dir",
    "benchmark.path",
    "data.split_file",
    "hydra.sweep.dir",
)
NAMES = (
    "My photos", "a=b", "a,b", "x [1]", "photos (2)", "{x}", "Fotos ä ö", "it's", "back\\", "a:b", "x~y", "~~", "50%", "@at",
    "#tag", "2024", "1e5", "true", "inf", "choice(a,b)",
)  # fmt: skip


def understood(*arguments):
    """What Hydra makes of the first argument: a text, or the values of a sweep."""
    (override,) = OverridesParser.create().parse_overrides(quote_values(arguments)[:1])
    if override.is_sweep_override():
        values = [f"x={value}" for value in override.sweep_string_iterator()]
        return [understood(value) for value in values]
    value = getattr(override.value(), "text", override.value())
    return OmegaConf.create({"value": value}).value


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("there", [False, True])
def test_a_path_is_a_text_whatever_its_name(key, there, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        if there:
            (tmp_path / name).mkdir()
        assert understood(f"{key}={name}") == name
        assert quote_values(quote_values([f"{key}={name}"])) == quote_values([f"{key}={name}"])


def test_what_exists_is_not_interpolated_and_what_does_not_is_as_hydra_has_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_SECRET", "s3cret")
    name = "x${oc.env:NAS_SECRET}"
    assert understood(f"run_dir={name}") == "xs3cret"
    (tmp_path / name).mkdir()
    assert understood(f"run_dir={name}") == name


def test_in_a_sweep_a_comma_separates_paths_but_within_one_that_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert understood("dataset.root=a b,c=d", "-m") == ["a b", "c=d"]
    assert understood("dataset.root=choice(a,b)", "--multirun") == ["a", "b"]
    assert understood("hydra.sweep.dir=a,b", "-m") == "a,b"
    (tmp_path / "a b,c=d").mkdir()
    assert understood("dataset.root=a b,c=d", "-m") == "a b,c=d"


def test_home_null_and_hydras_quotes_keep_their_meaning(monkeypatch):
    monkeypatch.setenv("HOME", "/home/any one")
    assert understood("dataset.root=~/photos") == "/home/any one/photos"
    assert understood("dataset.root=~/a,~/b", "-m") == ["/home/any one/a", "/home/any one/b"]
    assert understood("dataset.cache=null") is None
    assert understood("run_dir='runs/a b'") == "runs/a b"


def test_other_keys_are_left_alone():
    arguments = [
        "sched.lam=0.1,0.2",
        "name=a b",
        "'space.drop_path={start: 0}'",
        "-m",
        "--config-dir",
        "x",
        "~benchmark",
    ]
    assert quote_values(arguments) == arguments


def test_a_path_that_would_act_on_the_terminal_is_refused():
    with pytest.raises(UserError, match=r"cannot be printed; rename it\.$"):
        quote_values(["dataset.root=a\x1b[2J"])
    assert os.sep in quote_values(["dataset.root=a/b"])[0]
