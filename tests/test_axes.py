"""Every choice on every axis of a search: toy searches of all yamls, what is refused, a user's own choices."""

import json
import textwrap

import pytest
import torch

from nas_lightning.app.axes import EPOCH_AXES, MODULE_AXES, build_epoch_axes, build_module
from nas_lightning.build import build, build_axis
from nas_lightning.errors import UserError
from nas_lightning.penalties import Penalty
from nas_lightning.supernet.compatible import check_ends
from tests.axes import options, toy_choice
from tests.conftest import TOY, composed
from tests.test_search import interrupt, rows, weights

# Schedules and spaces that have no method of their own are in test_schedules.py and the spaces' own tests.
GROUPS = [group for group in (*MODULE_AXES, *EPOCH_AXES) if group not in ("space", "sched")]
CHOICES = [(group, option) for group in GROUPS for option in options(group)]


def space_of(group, option):
    """NAS-Bench-201, or the DARTS space for a derive rule that keeps two edges a node."""
    if group == "derive" and option != "every_edge":
        return ("space=darts",)
    return ("space=nb201",)


@pytest.mark.parametrize(("group", "option"), CHOICES)
def test_interrupted_search_equals_uninterrupted_with_every_choice(group, option, toy, tmp_path, monkeypatch):
    overrides = (*space_of(group, option), *toy_choice(group, option))
    whole = toy("whole", *overrides)
    if whole["epochs"] > 2:
        interrupt(monkeypatch, epoch=2)
        with pytest.raises(SystemExit):
            toy("stopped", *overrides)
    resumed = toy("stopped", *overrides)
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    ours, theirs = weights(tmp_path / "stopped"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert resumed["architecture"] == whole["architecture"]
    assert resumed["selection"] == whole["selection"]


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_of_a_group_composes_to_something_else(group):
    built = [composed(*toy_choice(group, option), "run_dir=x")[group] for option in options(group)]
    assert len({repr(node) for node in built}) == len(built) > 0


def test_the_report_records_every_groups_choice(tmp_path):
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig

    from nas_lightning.app.job import Job
    from nas_lightning.app.search import search
    from tests.conftest import ROOT

    overrides = [*TOY, "trainer.max_epochs=1", "penalty=beta_decay", "stop=two_skips", f"run_dir={tmp_path}/run"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", overrides, return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        choices = dict(HydraConfig.get().runtime.choices)
        plain = compose("train", overrides)
    report = search(plain, Job(choices, overrides))
    assert report["choices"]["penalty"] == "beta_decay"
    assert report["choices"]["stop"] == "two_skips"
    assert {*MODULE_AXES, *EPOCH_AXES, "method", "protocol", "dataset", "callbacks"} <= report["choices"].keys()
    assert json.loads((tmp_path / "run" / "report.json").read_text())["choices"] == report["choices"]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("derive=darts",), r"derive: the rule Probabilities does not fit space nb201 .*leave derive=null"),
        (
            ("space=darts", "derive=every_edge"),
            "derive: the rule EveryEdge does not fit",
        ),
        (
            ("bilevel=second_order", "trainer.graphs=true"),
            "trainer.graphs=true cannot be had with a bilevel step that looks",
        ),
        (
            ("model.weight_clip_includes_arch=true", "trainer.graphs=true"),
            "trainer.graphs=true cannot be had with model",
        ),
        (("perturbation=random_ball", "model.weight_clip_includes_arch=true"), "perturbation cannot be had with model"),
        (
            ("stages=darts_pt", "stages.stages.search.epochs=3"),
            r"search 3 \+ projection 2 epochs and the run trainer.max_epochs=4; make them add up",
        ),
        (
            ("stages=darts_pt", "decision=edge_confidence"),
            "decision and a decision of stages",
        ),
        (("stages=darts_pt", "stop=two_skips"), "stop cannot be had with stages"),
        (("stages=darts_pt", "stages.stages.search=3", "trainer.max_epochs=4"), "stages.stages must name parts"),
        (
            ("penalty._target_=nas_lightning.penalties.BetaDeca", "penalty=beta_decay"),
            "penalty: _target_=.*cannot be found",
        ),
        (
            ("relaxation._target_=nas_lightning.relaxation.Softmax",),
            "relaxation: _target_=nas_lightning.relaxation.Softmax",
        ),
        (
            ("penalty=beta_decay", "penalty._target_=nas_lightning.ramps.Ramp", "~penalty.weight"),
            "refuses its settings",
        ),
        (("penalty=beta_decay", "penalty.weight=5"), "penalty.weight must be a ramp"),
        (("penalty=beta_decay", "penalty.weight.end=much"), "penalty.weight.end must be a number"),
        (("penalty=beta_decay", "+penalty.weight.until=0"), "0 <= begin < until <= 1"),
        (("perturbation=adversarial_ball", "perturbation.steps=0"), "perturbation.steps must be"),
        (("perturbation=random_ball", "perturbation.radius.start=-1"), "perturbation.radius must be"),
        (("bilevel=second_order", "bilevel.radius=0"), "bilevel.radius must be"),
        (("bilevel.batch=test",), "bilevel.batch must be"),
        (("decision=edge_confidence", "decision.criterion=3"), "decision.criterion must be 1 or 2"),
        (("decision=edge_confidence", "decision.interval=0"), "decision.interval must be"),
        (("stop=two_skips", "stop.limit=0"), "stop.limit must be"),
        (("selection=two_skips", "selection.before=perhaps"), "selection.before must be true or false"),
        (("stop=eigenvalue", "stop.window=0"), "stop.window must be"),
        (("stop=eigenvalue", "stop.factor=0.9"), "stop.factor must be a number of at least 1"),
        (("selection=before_eigenvalue_jump", "selection.delta=1.5"), "selection.delta must be"),
        (("stop=eigenvalue", "trainer.compile=true"), "trainer.compile=true cannot be had with hessian_eigenvalue"),
        (
            ("callbacks=hessian_eigenvalue", "trainer.compile=true"),
            "trainer.compile=true cannot be had with hessian_eig",
        ),
        (("stop=stable_ranking", "stop.patience=1"), "stop.patience must be"),
        (("selection=stable_ranking", "selection.without=none"), "selection.without must be a list, each text"),
        (("stop=first_epoch", "stop.epochs=0"), "stop.epochs must be"),
        (
            ("method=darts_plus", "space=s4"),
            r"stop waits for 2 skip connections in the cell normal, which has 0 at most in this space \(of noise, "
            r"sep_conv_3x3\), so that it never sees them; set another space= or method=, or stop=null\.",
        ),
        (
            ("stop=two_skips", "stop.limit=9", "space=darts"),
            "which has 8 at most .* set stop.limit=8 or less, or stop=null",
        ),
        (("stop=two_skips", "stop.limit=7"), "which has 6 at most .* set stop.limit=6 or less"),
        (
            ("stop=stable_ranking", "space=s2"),
            r"stop finds no edge with two operations to rank in this space .*; set stop.without=\[\] to rank all",
        ),
        (
            ("selection=stable_ranking", "space=s3"),
            r"selection finds no edge .*; set selection.without=\[\] to rank all, or",
        ),
        (("decision=edge_confidence", "decision.start=1.5"), "decision.start must be a number of epochs"),
        (("decision=edge_confidence", "decision.by=chance"), "decision.by must be one of probability, accuracy, loss"),
        (("stages=darts_pt", "stages.stages.projection.decision.none=no"), "decision.none must be true or false"),
        (
            ("bilevel=fixed", "penalty=beta_decay"),
            "penalty or budget, a term of alpha's loss, cannot be had with a bilevel without",
        ),
        (
            ("model.arch_start=4", "trainer.max_epochs=4"),
            r"model.arch_start=4 leaves none of the 4 epochs of trainer.max",
        ),
        (("model.arch_start=0.9", "trainer.max_epochs=4"), "model.arch_start=0.9 leaves none of the 4 epochs"),
        (("bilevel=fixed", "model.weight_clip_includes_arch=true"), "cannot be had with a bilevel without one"),
        (
            ("method=sdarts_rs_pt", "stages.stages.search.epochs=2", "stages.stages.projection.epochs=2"),
            "a ramp goes from begin=0.0 to until=2 of the run",
        ),
        (("selection=best_discrete", "selection.metric=table/cifar10_test_200"), "holds test accuracies"),
        (("selection=best_discrete", "selection.mode=most"), "selection.mode must be"),
        (("method=fair_darts", "perturbation=random_ball"), "perturbation, which leads back to the simplex"),
        (("method=gdas", "trainer.graphs=true"), "trainer.graphs=true cannot be had with a relaxation that computes"),
        (("method=gdas", "relaxation.unsampled=one"), "relaxation.unsampled must be"),
        (("relaxation=simplex",), "arch_optimizer: Adam does not keep alpha on the simplex"),
        (("arch_optimizer=exponentiated_gradient",), "ExponentiatedGradient moves points of the simplex"),
        (
            ("penalty=beta_decay", "+penalty.wieght=7"),
            r"BetaDecay has no setting wieght\); drop it by ~penalty.wieght, or",
        ),
        (
            ("method=gaea_erm", "bilevel=second_order"),
            r"SecondOrder has no setting batch\); drop it by ~bilevel.batch, or",
        ),
        (
            ("method=darts_pt", "stages.epochs=3"),
            "stages.epochs=3 is to be the run's length, which is trainer.max_epochs=4",
        ),
        (("stages=darts_pt", "stages.epochs=10"), "stages.epochs=10 is to be the run's length"),
        (("sched.epochs=7",), "sched.epochs=7 is to be the run's length"),
        (("method=sgas", "decision.epochs=50"), "decision.epochs=50 is to be the run's length"),
        (("method=darts_es", "stop.epochs=5"), "stop.epochs=5 is to be the run's length"),
        (
            ("method=drnas_progressive", "stages.stages.narrow.arch_start=3"),
            "stages: narrow has 2 of the run's epochs and alpha's first step after arch_start=3 of them",
        ),
        (
            ("method=drnas_progressive", "stages.stages.narrow.arch_start=2", "stages.stages.wide.arch_start=2"),
            "stages: alpha rests in all of them",
        ),
        (
            ("method=drnas_progressive", "stages.stages.wide.keep=9"),
            "stages.stages.wide.keep=9 is more than the 5 operations",
        ),
        (
            ("method=beta_darts", "penalty.weight.end=-50"),
            "penalty.weight must have ends of 0 or more, got 0.0 and -50",
        ),
        (("method=sgas", "decision.start=100"), "decision.start=100 comes too late in a run of trainer.max_epochs=4"),
        (("method=sgas", "decision.start=3"), "decision.start=3 comes too late"),
        (
            ("method=gaea", "arch_optimizer.floor=0.2"),
            "arch_optimizer.floor=0.2 leaves the weights of 5 operations no room",
        ),
        (("arch_optimizer.lr=0",), "arch_optimizer: Adam with lr=0 never moves alpha"),
        (
            ("stop=stable_ranking", "stop.without=[foo]"),
            "stop.without names 'foo', which is no operation of this space; there",
        ),
        (
            ("method=darts_plus", "selection.limit=99"),
            "selection waits for 99 skip connections in the cell cell, which has 6",
        ),
        (
            ("method=gaea", "sched=edd"),
            r"sched: EntropyDynamicDecay moves the temperature, which the relaxation \(Simplex\) does not",
        ),
        (
            ("method=edd", "relaxation=dirichlet"),
            r"which the relaxation \(Dirichlet\) does not look at; set sched=constant",
        ),
        (
            ("method=darts", "penalty=dirichlet_kl"),
            "DirichletKL takes alpha for the parameters of Dirichlet, which Softmax does not; set relaxation=dirichlet",
        ),
        (
            ("method=random", "decision=edge_confidence"),
            "decision is never asked in a search that stop ends after one epoch",
        ),
        (("method=darts", "model.discretise=with_auxiliary"), "measures beside space.auxiliary_skip, which is null"),
        (
            ("method=darts_v2", "space.skip_dropout={start: 0.3, end: 0}"),
            "looks ahead and would take that for curvature",
        ),
        (
            ("space=s4", "space.skip_dropout={start: 0.3, end: 0}"),
            "space.skip_dropout acts on candidate skip connections",
        ),
        (("method=edd", "space.auxiliary_mean=true"), "is the mean with space.auxiliary_skip, which is null; give one"),
        (
            ("arch_optimizer.lr=-1",),
            r"arch_optimizer \(by default of protocol.adam\) refuses its settings \(Invalid learning rate",
        ),
        (("model.weight_optimizer.lr=-1",), r"model.weight_optimizer refuses its settings \(Invalid learning rate: -1"),
        (
            ("method=r_darts_dp", "space.drop_path={start: 0, end: abc}"),
            "space.drop_path: a ramp's end must be a finite number, got 'abc'",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence_and_writes_nothing(overrides, sentence, toy, tmp_path):
    with pytest.raises(UserError, match=sentence) as error:
        toy("run", *sorted(overrides, key=lambda override: "_target_" in override or override.startswith("~")))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "config.yaml").exists()


# What waits for something -> the spaces that have nothing of it.
WITHOUT = {
    "stop=two_skips": {"s4"},
    "stop=stable_ranking": {"s2", "s3", "s4"},
    "selection=stable_ranking": {"s2", "s3", "s4"},
    "stop.without=[] stop=stable_ranking": set(),
}


@pytest.mark.parametrize("choice", WITHOUT)
def test_what_waits_for_something_is_refused_in_the_spaces_that_never_have_it(choice):
    refused = set()
    for space in options("space"):
        config = composed(f"space={space}", *choice.split(), "run_dir=x")
        try:
            check_ends(build(config.space), build(config.stop), build(config.selection))
        except UserError:
            refused.add(space)
    assert refused == WITHOUT[choice]


def test_a_selection_by_an_unknown_column_is_one_sentence(toy):
    with pytest.raises(UserError, match=r"selection.metric=accuracy is no column of metrics.csv; it has"):
        toy("run", "selection=best_discrete", "selection.metric=accuracy", "trainer.max_epochs=1")


@pytest.fixture
def users_module(tmp_path, monkeypatch):
    """A module of a user's own on the path."""
    (tmp_path / "mine.py").write_text(
        textwrap.dedent(
            """
            import pytorch_lightning as pl
            from nas_lightning.relaxations import Relaxation

            class Half:
                def update(self, epoch): ...

            class Unfinished(Relaxation):
                pass

            class Seen(pl.Callback):
                epochs = []
                def on_train_epoch_end(self, trainer, module):
                    Seen.epochs.append((trainer.current_epoch, float(module.architecture.temperature)))
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    import importlib

    importlib.invalidate_caches()
    yield importlib.import_module("mine")
    import sys

    del sys.modules["mine"]


@pytest.mark.parametrize(
    ("group", "target", "sentence"),
    [
        (
            "sched",
            "mine.Half",
            "sched: mine.Half lacks initial, which every TemperatureSchedule has; see docs/extending.md.",
        ),
        ("penalty", "mine.Half", "penalty: mine.Half lacks __call__, which every Penalty has; see docs/extending.md."),
        ("relaxation", "mine.Unfinished", "relaxation: mine.Unfinished lacks __call__; see docs/extending.md."),
    ],
)
def test_a_class_that_lacks_a_method_is_named_with_its_group(group, target, sentence, users_module):
    from omegaconf import OmegaConf

    protocol = {**MODULE_AXES, **EPOCH_AXES}[group]
    with pytest.raises(UserError) as error:
        build_axis(OmegaConf.create({group: {"_target_": target}}), group, protocol)
    assert str(error.value) == sentence


def test_a_group_that_names_no_class_is_one_sentence():
    from omegaconf import OmegaConf

    with pytest.raises(UserError, match="penalty=beta_decay names no class; choose a yaml of the group penalty"):
        build_axis(OmegaConf.create({"penalty": "beta_decay"}), "penalty", Penalty)


@pytest.mark.parametrize(
    "callbacks",
    ["+callbacks._target_=mine.Seen", "+callbacks.one._target_=mine.Seen", "callbacks=[{_target_:mine.Seen}]"],
)
def test_a_users_own_callbacks_run(callbacks, toy, users_module):
    from omegaconf import OmegaConf

    from nas_lightning.app.axes import user_callbacks

    users_module.Seen.epochs.clear()
    key, _, value = callbacks.lstrip("+").partition("=")
    if key == "callbacks":
        node = OmegaConf.create([{"_target_": "mine.Seen"}])
    else:
        node = OmegaConf.from_dotlist([f"{key}={value}"]).callbacks
    (callback,) = user_callbacks(node)
    assert type(callback) is users_module.Seen


def test_what_is_no_callback_is_refused(users_module):
    from omegaconf import OmegaConf

    from nas_lightning.app.axes import user_callbacks

    with pytest.raises(UserError, match=r"mine.Half"):
        user_callbacks(OmegaConf.create({"_target_": "mine.Half"}))


def test_the_axes_that_are_built_are_the_groups_of_the_config():
    config = composed(*TOY, "run_dir=x")
    build_module(config, 10)
    assert {name for name, axis in build_epoch_axes(config).items() if axis is not None} == {"sched"}
    assert {*MODULE_AXES, *EPOCH_AXES} <= {*config}


def test_a_search_that_had_stopped_when_it_was_killed_does_not_go_on(toy, tmp_path):
    settings = ("stop=two_skips", "stop.limit=1", "trainer.max_epochs=8", "seed=3")
    whole = toy("run", *settings)
    assert whole["epochs"] < 8  # else another seed
    (tmp_path / "run" / "report.json").unlink()
    again = toy("run", *settings)
    assert (again["epochs"], again["architecture"]) == (whole["epochs"], whole["architecture"])
    assert len(rows(tmp_path / "run")) == whole["epochs"]
