"""The types and keys of a configuration, and what of Lightning's Trainer may be set."""

import inspect
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

import pytest
import pytorch_lightning as pl
from omegaconf import OmegaConf

from nas_lightning.app import trainer_settings
from nas_lightning.app.schema import check_settings, nearest
from nas_lightning.app.trainer_settings import check_run_settings, check_search_settings
from nas_lightning.errors import UserError
from nas_lightning.plain import fits, in_words, is_plain, takes_mapping
from nas_lightning.records.folder import flat
from tests.conftest import composed


@cache
def base(config):
    return composed("run_dir=x", config=config)


def changed(changes, config="train"):
    """The composed config with `changes`, as overrides of the command line make them."""
    made = base(config).copy()
    OmegaConf.set_struct(made, False)
    for key, value in changes.items():
        OmegaConf.update(made, key, value, merge=False)
    return made


def refusal(changes, config="train", overrides=()):
    with pytest.raises(UserError) as raised:
        check_settings(changed(changes, config), overrides)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, float, True), (1.0, int, False), (True, int, False), (True, float, False), (1, bool, False), ("1", int, False),
        (None, int, False), (None, int | None, True), ([1, 2], tuple[int, int], True), ([1, 2, 3], tuple[int, int], False),
        ([1, 2], tuple[int, ...], True), ([1, "2"], Sequence[int], False), (1, Sequence[int], False),
        ("ab", Sequence[str], False),
        ("a", Literal["a", "b"], True), ("c", Literal["a", "b"], False), (True, Literal[1, "a"], False), (1, Literal[1], True),
        ({"a": 1}, Mapping[str, Any], True), ({"_a": 1}, Mapping[str, Any], False), ({"a": {}}, Mapping[str, Any], False),
        ({}, float, False), ([], str, False), (1, pl.Trainer, False), (1, float | pl.Trainer, True),
        ("a", float | pl.Trainer, False),
    ],
)  # fmt: skip
def test_a_value_fits_its_type(value, kind, expected):
    assert fits(value, kind) == expected


def test_types_are_told_in_words():
    assert in_words(int | float | None) == "a number or null"
    assert in_words(Literal["a", "b"]) == "one of a, b"
    assert in_words(tuple[int, bool]) == "a list of 2: a whole number, true or false"
    assert in_words(Sequence[str] | None) == "a list, each text or null"
    assert is_plain(float | pl.Trainer)
    assert not is_plain(pl.Trainer | None)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Mapping[str, Any], True), (dict[str, int] | None, True), (dict, True), (Any, True), (int | None, False),
        (pl.Trainer | None, False), (Sequence[int], False), (Literal["a"], False),
    ],
)  # fmt: skip
def test_a_type_takes_mappings(kind, expected):
    assert takes_mapping(kind) == expected


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("model.arch_clip", {"mode": "none", "value": 5.0}, "model.arch_clip names no class; choose a yaml of its group, or"),
        ("data.dataset", {"root": "x"}, "data.dataset names no class; choose"),
        ("normalisation", "???", "normalisation is ???, which stands for a value that is missing; give one."),
        ("sched.lam", "???", "sched.lam is ???"),
        ("strengths", {"nb201": 0.24, "darts": ""}, "strengths.darts must be a number, got ''"),
        ("strengths", {"s1": True}, "strengths.s1 must be a number, got True"),
        ("family.normalisation", {}, "family.normalisation must be text or null, got {}"),
        ("family.normalisation", 1, "family.normalisation must be text or null, got 1"),
    ],
)  # fmt: skip
def test_what_stands_for_nothing_is_refused(key, value, sentence):
    changes = {key: value} if key != "family.normalisation" else {key: value, "normalisation": None}
    assert refusal(changes).startswith(sentence)


@pytest.mark.parametrize("config", ["train", "evaluate", "tune"])
def test_what_is_composed_fits(config):
    check_settings(base(config), [])


@pytest.mark.parametrize("value", [[], {}, None, 1, True])
@pytest.mark.parametrize("config", ["train", "evaluate", "tune"])
def test_a_class_is_named_by_a_text(config, value):
    values = flat(OmegaConf.to_container(base(config), resolve=True))
    targets = [key for key in values if key.endswith("._target_")]
    assert len(targets) > 5
    for key in targets:
        # A node that refers to another shows its class too.
        assert re.match(
            rf"[\w.]+\._target_ must be the name of a class, got {re.escape(repr(value))}",
            refusal({key: value}, config),
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", ["name", "sched.lam", "data.split_seed", "model.weight_clip", "protocol.adam.betas"])
def test_no_number_is_infinite(key, value):
    sentence = refusal({key: [0.5, value] if key.endswith("betas") else value})
    assert sentence.startswith(f"{key}[1]={value} is no" if key.endswith("betas") else f"{key}={value} is no")
    assert "finite" in sentence


@pytest.mark.parametrize("key", ["space.C", "sched.t0", "protocol.adam.weight_decay", "seed", "name"])
@pytest.mark.parametrize("value", [10**30, -(10**30), 1e308, -1e39])
def test_no_number_is_larger_than_pytorchs(key, value):
    assert refusal({key: value}).startswith(f"{key}={value} is larger than any number PyTorch computes with")
    check_settings(changed({key: 2**63 - 1}), [])


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("arch_optimizer.lr", False, "arch_optimizer.lr must be a number, got False"),
        ("protocol.adam.lr", True, "protocol.adam.lr must be a number, got True"),
        ("protocol.adam.betas", [0.5], "protocol.adam.betas must be a list of 2: a number, a number, got [0.5]"),
        ("trainer.graphs", 1, "trainer.graphs must be true or false, got 1"),
        ("trainer.max_epochs", True, "trainer.max_epochs must be a whole number"),
        ("space.C", [16], "space.C must be a whole number, got [16]"),
        ("space.none", "yes", "space.none must be true or false, got 'yes'"),
        ("space.none", 0, "space.none must be true or false, got 0"),
        ("sched.lam", {"a": 1}, "sched.lam must be a number, got {'a': 1}"),
        ("sched.entropy_reduce", "median", "sched.entropy_reduce must be one of mean"),
        ("model.weight_optimizer.momentum", None, "model.weight_optimizer.momentum must be a number, got None"),
        ("model.weight_optimizer.nesterov", "no", "model.weight_optimizer.nesterov must be true or false"),
        ("model.arch_clip.value", "high", "model.arch_clip.value must be a number"),
        ("dataset.root", 2024, "quote it twice: dataset.root=\"'2024'\""),
        ("name", ["a"], "name must be "),
        ("data", {"batch_size": 3}, "data names no class; choose a yaml of the group data, or give it a _target_"),
        ("model.unknown", {}, "model: SupernetModule has no setting unknown; correct or drop model.unknown"),
        ("logger", {"_target_": "nas_lightning.app.loggers.WandbLogger", "_partial_": True, "x": 1}, "has no setting x"),
        ("model.weight_optimizer.rate", 1, "SGD has no setting rate; correct or drop model.weight_optimizer.rate"),
        ("trainer._partial_", True, "trainer._partial_=true makes no object where one is needed; drop it"),
        ("model.weight_optimizer._partial_", "x", "model.weight_optimizer._partial_ must be true or false, got 'x'"),
        ("sched._convert_", 3, "sched._convert_ must be one of none, partial, object, all, got 3"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_named_where_it_is_written(key, value, sentence):
    settings = {key: value}
    if key == "dataset.root":
        settings = {"dataset": {"_target_": "nas_lightning.data.Folder", "root": value}}
    assert sentence in refusal(settings)


def test_a_choice_or_a_users_class_is_not_asked_for_a_type():
    check_settings(changed({"model.weight_clip": {"_target_": "builtins.float"}}), [])
    check_settings(changed({"sched": {"_target_": "no.such.module.Class", "anything": "x"}}), [])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("+epochs=1", "epochs is read by nothing; did you mean trainer.max_epochs?"),
        ("+max_epochs=1", "max_epochs is read by nothing; did you mean trainer.max_epochs?"),
        ("+gpus=1", "gpus is read by nothing; did you mean trainer.devices?"),
        ("++bilevle.order=both", "bilevle.order is read by nothing; did you mean bilevel.order?"),
        ("+protocol.sped=1", "protocol.sped is read by nothing"),
        ("+zzz.yyy=1", "zzz.yyy is read by nothing; correct the name, or drop it."),
        ("+tune.trials=3", "tune.trials is read by nothing"),
    ],
)
def test_an_added_key_that_nothing_reads_is_refused(override, sentence):
    key, _, value = override.lstrip("+").partition("=")
    assert sentence in refusal({key: value}, overrides=[override])


def test_a_name_that_another_section_has_is_meant_there():
    raw = OmegaConf.to_container(base("train"), resolve=False)
    assert nearest("dataset.lam", raw) == "did you mean sched.lam?"
    assert nearest("output_dir", raw) == "did you mean run_dir?"


@pytest.mark.parametrize(
    "override",
    [
        "+trainer.deterministic=true",
        "+sched.more=1",
        "+callbacks.mine.x=1",
        "+protocol.space.C=3",
        "+rate=2",
        "+lr@lr=x",
    ],
)
def test_an_added_key_that_something_reads_is_taken(override):
    key, _, value = override.lstrip("+").partition("=")
    settings = {"rate": 1, "sched.own": "${rate}", "space.C": "${oc.select:protocol.space.C,16}"}
    if "@" not in key:
        settings[key] = {"true": True}.get(value, int(value) if value.isdigit() else value)
    made = changed(settings)
    check_settings(made, [override])


def test_a_key_of_the_recipe_that_nothing_reads_is_refused():
    assert "recipe.epochs is read by nothing" in refusal({"recipe.epochs": 3}, "evaluate")
    check_settings(changed({"recipe.rate": 0.1, "recipe.optimizer.lr": "${recipe.rate}"}, "evaluate"), [])


def test_every_argument_of_lightnings_trainer_is_used_free_or_refused():
    ours = [*trainer_settings.USED, *trainer_settings.FREE, *trainer_settings.REFUSED]
    assert len(ours) == len({*ours})
    assert {*inspect.signature(pl.Trainer).parameters} <= {*ours}


@pytest.mark.parametrize("key", sorted(trainer_settings.REFUSED))
def test_a_refused_argument_of_the_trainer_is_one_sentence(key):
    with pytest.raises(UserError, match=rf"^trainer.{key}=1 is not offered: [^\n]+\.$"):
        check_run_settings(changed({f"trainer.{key}": 1}))


@pytest.mark.parametrize("limit", [0, 0.0, -1, -0.5, 1.5])
@pytest.mark.parametrize("key", ["limit_train_batches", "limit_val_batches"])
def test_limits_leave_something_to_do(key, limit):
    with pytest.raises(UserError, match=f"trainer.{key} must be a share above 0 and up to 1.0, or a number of batches"):
        check_run_settings(changed({f"trainer.{key}": limit}))
    for good in (1, 7, 0.5, 1.0, None):
        check_run_settings(changed({f"trainer.{key}": good}))


def test_what_manual_optimisation_does_not_hear_is_refused_in_a_search_alone():
    for key, value in {
        "gradient_clip_val": 5.0,
        "accumulate_grad_batches": 2,
        "gradient_clip_algorithm": "value",
    }.items():
        config = changed({f"trainer.{key}": value})
        check_run_settings(config)
        with pytest.raises(UserError, match=f"trainer.{key}={value}: it does not act on manual optimisation"):
            check_search_settings(config)
