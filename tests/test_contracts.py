"""Own classes and yamls that are not what their axis asks for: one sentence that says which and what is wrong."""

import importlib
import subprocess
import sys
import textwrap

import pytest
import torch
from omegaconf import OmegaConf

from nas_lightning.app.axes import EPOCH_AXES, MODULE_AXES, build_data, build_epoch_axes, build_module, user_callbacks
from nas_lightning.build import build, build_axis
from nas_lightning.data import Images
from nas_lightning.errors import UserError, brief
from tests.axes import options, toy_choice
from tests.conftest import ROOT, TOY, composed

MODULE = """
import pytorch_lightning as pl
import torch
from nas_lightning.data import Images, Splits
from nas_lightning.errors import UserError
from nas_lightning.relaxations import Relaxation
from nas_lightning.schedules import ScheduleState

NUMBER = 3

class Picky:
    def __init__(self, least=0):
        raise UserError("least must be positive.")

class Penalty:
    answer = None
    def __call__(self, view, progress):
        return self.answer
class OfNothing(Penalty): pass
class Whole(Penalty): answer = 0
class Detached(Penalty): answer = torch.zeros(())
class PerEdge(Penalty):
    def __call__(self, view, progress):
        return next(iter(view.values())).alpha_EO
class OldPenalty:
    def __call__(self, view): ...

class Soft(Relaxation):
    def __call__(self, alpha_EO, mask_EO, temperature, drawn=None):
        return (alpha_EO / temperature).softmax(-1)
class Infinite(Soft):
    def __call__(self, alpha_EO, mask_EO, temperature, drawn=None):
        return alpha_EO.sqrt() * mask_EO
class Doubled(Soft):
    def __call__(self, alpha_EO, mask_EO, temperature, drawn=None):
        return 2 * super().__call__(alpha_EO.masked_fill(~mask_EO, -1e30), mask_EO, temperature)
class RowSums(Soft):
    def __call__(self, alpha_EO, mask_EO, temperature, drawn=None):
        return alpha_EO.sum(-1)
class DrawnAlways(Soft):
    def __call__(self, alpha_EO, mask_EO, temperature, drawn): ...
class Few(Soft):
    def __call__(self, alpha_EO): ...
class OtherStart(Soft):
    def initial(self, mask_EO, generator):
        return torch.zeros(2)

class Perturbation:
    drawn, moved = {}, None
    def draw(self, view, generator):
        return self.drawn
    def __call__(self, betas, loss, view, progress, drawn):
        return self.moved
class DrawsNothing(Perturbation): drawn = None
class MovesNothing(Perturbation): pass
class OneEdge(Perturbation):
    def __call__(self, betas, loss, view, progress, drawn):
        return {name: beta[:1] for name, beta in betas.items()}

class Bilevel:
    looks_ahead, order, batches = False, "arch_first", ("valid",)
    def alpha_gradients(self, losses, batches, drawn, ahead): ...
class Sideways(Bilevel): order = "both"
class OnTest(Bilevel): batches = ("test",)
class OldBilevel(Bilevel):
    def alpha_gradients(self, valid_loss, alphas): ...

class Decision:
    answer = None
    def __call__(self, epoch, epochs, view, probe, state, generator):
        return self.answer
class Listed(Decision): answer = [], {}
class Unheard(Decision): answer = {"nowhere": torch.ones(6, 5, dtype=torch.bool)}, {}
class Shares(Decision): answer = {"cell": torch.ones(6, 5)}, {}
class Short(Decision): answer = {"cell": torch.ones(1, 5, dtype=torch.bool)}, {}
class Keeps(Decision): answer = {}, {"what": torch.zeros(1)}

class Stop:
    def __call__(self, records):
        return 0, "a selection's answer"

class Selection:
    answer = 1
    def __call__(self, records):
        return self.answer
class Beyond(Selection): answer = 99, "the last"
class FromTheEnd(Selection): answer = -1, "the last"
class Wordless(Selection): answer = 0, None

class Rule:
    sentence = "nothing"
    def __call__(self, view):
        return 5

class Schedule:
    temperature = 0.0
    def initial(self):
        return ScheduleState(1.0)
    def update(self, epoch, observed, previous):
        return ScheduleState(self.temperature)
class NoNumber(Schedule): temperature = float("nan")
class Bare(Schedule):
    def initial(self):
        return 1.0

class Plain: pass
class OldCallback(pl.Callback):
    def on_train_epoch_end(self, trainer): ...

class Dataset:
    name, num_classes, side, padding, flip = "mine", 2, 8, None, True
    pixels, labels = torch.zeros(64, 3, 8, 8, dtype=torch.uint8), torch.arange(64) % 2
    def load(self, progress):
        images = Images(self.pixels, self.labels, ("a", "b"))
        return Splits(images, images, (0.5,) * 3, (0.5,) * 3)
class ThreeLabels(Dataset): labels = torch.arange(64) % 3
class ThreeNames(Dataset):
    def load(self, progress):
        images = Images(self.pixels, self.labels, ("a", "b", "c"))
        return Splits(images, images, (0.5,) * 3, (0.5,) * 3)
class OtherSide(Dataset): pixels = torch.zeros(64, 3, 16, 16, dtype=torch.uint8)
class Alone(Dataset):
    def load(self, progress):
        return Images(self.pixels, self.labels, ("a", "b"))
class OldDataset(Dataset):
    def load(self): ...

class Steps:
    def __init__(self, params, lr): ...
"""


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    """MODULE, on the path."""
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("mine", None)


def with_class(group, target, **settings):
    config = composed(*TOY, "run_dir=x")
    OmegaConf.set_struct(config, False)
    config[group] = {"_target_": target, **settings}
    return config


def refusal(build, *arguments):
    with pytest.raises(UserError) as error:
        build(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("group", "target", "sentence"),
    [
        (
            "penalty",
            "mine.OldPenalty",
            "penalty: mine.OldPenalty: its __call__ cannot be called with (view, progress): ",
        ),
        (
            "penalty",
            "mine.NUMBER",
            "penalty: _target_=mine.NUMBER is no class, nor a function; correct the yaml of penalty.",
        ),
        ("penalty", "mine", "penalty: _target_=mine is no class, nor a function"),
        ("penalty", "mine.Picky", "penalty: least must be positive."),
        ("penalty", "mine.OfNothing", "penalty: OfNothing gives None, no scalar tensor attached to alpha"),
        ("penalty", "mine.Whole", "penalty: Whole gives 0, no scalar"),
        ("penalty", "mine.Detached", "penalty: Detached gives a tensor [], no scalar"),
        ("penalty", "mine.PerEdge", "penalty: PerEdge gives a tensor [6, 5], no scalar"),
        ("relaxation", "mine.Soft", "relaxation: Soft gives weight to an operation that is no candidate"),
        ("relaxation", "mine.Infinite", "relaxation: Infinite gives weights that are not finite"),
        (
            "relaxation",
            "mine.Doubled",
            "relaxation: Doubled gives weights that do not sum to 1; set sums_to_one = False",
        ),
        ("relaxation", "mine.RowSums", "relaxation: RowSums gives a tensor [6] for alpha [6, 5]"),
        ("relaxation", "mine.OtherStart", "relaxation: OtherStart starts with alpha [2] where the mask is [6, 5]"),
        ("relaxation", "mine.Few", "relaxation: mine.Few: its __call__ cannot be called with (alpha_EO, mask_EO, "),
        ("relaxation", "mine.DrawnAlways", "relaxation: mine.DrawnAlways: its __call__ cannot be called with"),
        (
            "relaxation",
            "mine.Plain",
            "relaxation: mine.Plain is no nas_lightning.relaxations.Relaxation; derive it from",
        ),
        ("perturbation", "mine.DrawsNothing", "perturbation: DrawsNothing draws None, no tensors by cell type"),
        ("bilevel", "mine.Sideways", "bilevel: Sideways has the order 'both'"),
        ("bilevel", "mine.OnTest", "bilevel: OnTest has the batches ('test',)"),
        ("bilevel", "mine.OldBilevel", "bilevel: mine.OldBilevel: its alpha_gradients cannot be called with"),
        (
            "derive",
            "mine.Rule",
            "derive: the rule Rule does not fit space nb201 (the derive rule Rule gives 5, no tuple",
        ),
    ],
)
def test_a_part_of_the_module_is_refused_when_it_is_built(group, target, sentence):
    assert refusal(build_module, with_class(group, target), 10).startswith(sentence)


def first_choice(group):
    """What the first option of the group is, as plain data."""
    config = composed(*toy_choice(group, options(group)[0]), "trainer.max_epochs=4", "run_dir=x")
    return OmegaConf.to_container(config[group], resolve=True)


@pytest.mark.parametrize("group", [*MODULE_AXES, *EPOCH_AXES])
def test_a_choice_of_another_axis_is_refused_on_every_axis(group):
    for other in {*MODULE_AXES, *EPOCH_AXES} - {group}:
        node = first_choice(other)
        sentence = refusal(build_axis, OmegaConf.create({group: node}), group, {**MODULE_AXES, **EPOCH_AXES}[group])
        assert sentence.startswith(f"{group}: {node['_target_'].rpartition('.')[0]}.")


@pytest.mark.parametrize("group", [*MODULE_AXES, *EPOCH_AXES])
def test_a_factory_is_refused_on_every_axis(group):
    node = {**first_choice(group), "_partial_": True}
    sentence = refusal(build_axis, OmegaConf.create({group: node}), group, {**MODULE_AXES, **EPOCH_AXES}[group])
    assert sentence.startswith(f"{group}: _partial_ makes no ")


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ("_target_: nas_lightning.decisions.Nothing", "cannot be found"),
        ("_target_: mine.Plain", "mine.Plain lacks __call__, which every Decision has"),
        ("{_target_: nas_lightning.stop.SkipLimit, limit: 1}", "SkipLimit is no Decision, it belongs elsewhere"),
        ("edge_confidence", "builtins.str lacks __call__, which every Decision has"),
    ],
)
def test_the_decision_of_a_stage_is_held_to_its_protocol_too(choice, sentence):
    config = composed(*TOY, *toy_choice("stages", "darts_pt"), "run_dir=x")
    OmegaConf.set_struct(config, False)
    config.stages.stages.projection.decision = OmegaConf.create(choice) if ":" in choice else choice
    said = refusal(build_epoch_axes, config)
    assert said.startswith("stages.stages.projection.decision: ")
    assert sentence in said


def test_a_stage_that_rounds_to_no_epoch_is_refused():
    said = refusal(build_epoch_axes, composed(*TOY, "stages=darts_pt", "trainer.max_epochs=1", "run_dir=x"))
    assert said == "stages: search has none of the run's 1 epochs; make trainer.max_epochs larger."


@pytest.mark.parametrize(
    ("group", "target", "sentence"),
    [
        ("decision", "mine.Decision", "decision: Decision answers None; it is the masks by cell type"),
        ("decision", "mine.Listed", "decision: Listed answers ([], {}); it is the masks"),
        (
            "decision",
            "mine.Unheard",
            "a decision gives a mask nowhere [6, 5] of torch.bool; masks are torch.bool: cell [6, 5].",
        ),
        ("decision", "mine.Shares", "a decision gives a mask cell [6, 5] of torch.float32"),
        ("decision", "mine.Short", "a decision gives a mask cell [1, 5] of torch.bool"),
        ("decision", "mine.Keeps", "decision: Keeps remembers what is no plain data"),
        ("stop", "mine.Stop", 'stop: Stop answers (0, "a selection\'s answer"), not True or False'),
        ("selection", "mine.Selection", "selection: Selection answers 1; it is an epoch from 0 to 1 and"),
        ("selection", "mine.Beyond", "selection: Beyond answers (99, 'the last'); it is an epoch from 0 to 1 and"),
        ("selection", "mine.FromTheEnd", "selection: FromTheEnd answers (-1, 'the last')"),
        ("selection", "mine.Wordless", "selection: Wordless answers (0, None)"),
        ("sched", "mine.Schedule", "sched: Schedule gives the temperature 0.0; it must be a positive number"),
        ("sched", "mine.NoNumber", "sched: NoNumber gives the temperature nan"),
        ("sched", "mine.Bare", "sched: Bare gives 1.0, no ScheduleState"),
        ("bilevel", "mine.Bilevel", "bilevel: Bilevel gives None; it is loss, logits and a gradient for each"),
        ("perturbation", "mine.MovesNothing", "perturbation: MovesNothing gives no beta [E, O] for each cell type"),
        ("perturbation", "mine.OneEdge", "perturbation: OneEdge gives no beta [E, O] for each cell type"),
    ],
)
def test_a_wrong_answer_during_the_search_is_one_sentence(group, target, sentence, tmp_path):
    from nas_lightning.app.job import Job
    from nas_lightning.app.search import search

    config = with_class(group, target)
    config.trainer.max_epochs, config.run_dir = 2, str(tmp_path / "run")
    assert refusal(search, config, Job({}, [])).startswith(sentence)


def test_a_search_that_a_selection_refused_goes_on_with_another(toy, tmp_path):
    with pytest.raises(UserError, match="no column"):
        toy("run", "selection=best_discrete", "selection.metric=accuracy", "trainer.max_epochs=1")
    assert toy("run", "selection=best_discrete", "trainer.max_epochs=1")["epochs"] == 1


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("mine.Nothing", "dataset: _target_=mine.Nothing cannot be found"),
        ("mine.NUMBER", "dataset: _target_=mine.NUMBER is no class"),
        (
            "mine.Plain",
            "dataset: mine.Plain lacks flip, load, name, num_classes, padding, side, which every Dataset has",
        ),
        ("mine.OldDataset", "dataset: mine.OldDataset: its load cannot be called with (progress)"),
        ("nas_lightning.stop.SkipLimit", "dataset: nas_lightning.stop.skips.SkipLimit lacks flip"),
        ("mine.ThreeLabels", "dataset mine: its labels go from 0 to 2 where it says num_classes=2"),
        ("mine.ThreeNames", "dataset mine: it names 3 classes where it says num_classes=2"),
        ("mine.OtherSide", "dataset mine: its images have side 16 where it says 8"),
        ("mine.Alone", "dataset mine: load gives Images, no Splits"),
    ],
)
def test_a_data_set_is_held_to_its_protocol_and_to_its_word(target, sentence):
    config = with_class("dataset", target)
    assert refusal(lambda: build_data(config, of_search=True).split_record()).startswith(sentence)


def test_the_data_sets_are_data_sets_the_one_of_imagenet_too():
    config = composed("space=darts", "recipe=imagenet_darts", "dataset.root=x", "run_dir=x", config="evaluate")
    build_data(config, of_search=False)


@pytest.mark.parametrize(
    ("program", "data", "sentence"),
    [
        ("evaluate", "search", "data: SearchData makes no batches for a training; give data=train."),
        ("train", "train", "data: TrainData makes no batches for a search; give data=search."),
    ],
)
def test_images_of_the_other_program_are_refused(program, data, sentence):
    config = composed(f"data={data}", "dataset=fake", "run_dir=x", config=program)
    assert refusal(lambda: build_data(config, of_search=program == "train")) == sentence


@pytest.mark.parametrize(
    ("pixels", "labels"),
    [
        (torch.zeros(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64)),
        (torch.zeros(4, 8, 8, 3, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)),
        (torch.zeros(4, 3, 8, 6, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64)),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(4)),
        (torch.zeros(4, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)),
    ],
)
def test_images_are_bytes_of_square_pictures_with_a_label_each(pixels, labels):
    assert refusal(Images, pixels, labels, ()).startswith("dataset: images are uint8 [N, 3, S, S] and labels int64 [N]")


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        (
            {"_target_": "mine.Plain"},
            "callbacks: mine.Plain is no pytorch_lightning.callbacks.Callback; derive it from",
        ),
        ({"a": {"_target_": "mine.Plain"}}, "callbacks.a: mine.Plain is no "),
        ([{"_target_": "mine.Nothing"}], "callbacks[0]: _target_=mine.Nothing cannot be found"),
        ({"a": 5}, "callbacks.a=5 names no class; choose a yaml of the group callbacks"),
        ({"_target_": "mine.OldCallback"}, "callbacks: mine.OldCallback: its on_train_epoch_end cannot be called with"),
    ],
)
def test_callbacks_are_lightnings(node, sentence):
    assert refusal(user_callbacks, OmegaConf.create(node)).startswith(sentence)


@pytest.mark.parametrize(
    ("group", "settings", "sentence"),
    [
        ("arch_optimizer", {"_target_": "torch.optim.Adm"}, "arch_optimizer: _target_=torch.optim.Adm cannot be found"),
        (
            "arch_optimizer",
            {"_target_": "mine.Steps", "_partial_": True},
            "arch_optimizer: mine.Steps is no torch.optim.Opt",
        ),
        (
            "arch_optimizer",
            {"_target_": "torch.optim.SGD"},
            "arch_optimizer: torch.optim.SGD is made when the parameters",
        ),
        ("lr", {"_target_": "torch.optim.lr_scheduler.Cosine", "_partial_": True}, "lr: _target_=torch.optim.lr_sched"),
    ],
)
def test_what_makes_an_optimiser_is_named_by_its_group(group, settings, sentence):
    config = composed(*TOY, "run_dir=x")
    OmegaConf.set_struct(config, False)
    config[group] = settings
    assert refusal(build_module, config, 10).startswith(sentence)


def test_a_class_within_a_class_is_named_by_its_key():
    node = OmegaConf.create({"penalty": {"_target_": "mine.Penalty", "weight": {"_target_": "mine.Ramp"}}})
    assert refusal(build, node.penalty).startswith("penalty.weight: _target_=mine.Ramp cannot be found")


def test_a_value_is_shown_in_one_short_line():
    assert brief(torch.zeros(100, 100)).count("\n") == 0
    assert len(brief(list(range(10_000)))) < 80
    assert brief(None) == "None"


# ---- from the command line ----


def said(folder, *arguments, program="train"):
    command = (sys.executable, str(ROOT / f"{program}.py"), *arguments)
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


@pytest.mark.parametrize("name", ["penalty/beta_decay.yaml", "train.yaml", "hydra/launcher/joblib.yaml"])
def test_a_yaml_with_the_name_of_one_of_ours_is_refused(name, tmp_path):
    write(tmp_path / "own" / name, "_target_: mine.Penalty\n")
    sentence = f"own/{name} would be ignored, for nas_lightning has a yaml of this name; rename yours.\n"
    assert said(tmp_path, "--config-dir", "own") == sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.py", "own"]


def test_our_own_folder_may_be_given():
    from nas_lightning.app.launch import _check_names

    _check_names(ROOT / "conf")


@pytest.mark.parametrize(
    ("name", "text", "override", "sentence"),
    [
        ("penalty/broken", "a: b\n  c: [", "penalty=broken", "own/penalty/broken.yaml cannot be read (mapping values"),
        ("space/bare", "_target_: mine.Space", "space=bare", "own/space/bare.yaml names no family, whose protocol"),
        ("penalty/x", "", "penalty=null", "give one of beta_decay, dirichlet_kl, x, zero_one, or ~penalty for none."),
        ("penalty/x", "", "penalty=3", "give one of beta_decay, dirichlet_kl, x, zero_one."),
        ("penalty/x", "", "sched=null", "give one of constant, "),
    ],
)
def test_a_group_that_hydra_would_answer_with_a_traceback_is_one_sentence(name, text, override, sentence, tmp_path):
    write(tmp_path / "own" / f"{name}.yaml", text)
    answer = said(tmp_path, "--config-dir", "own", override)
    assert answer.startswith(f"{override}: ")
    assert sentence in answer
    assert answer.count("\n") == 1


def test_a_methods_choice_is_taken_away_again():
    assert composed("method=sgas", "run_dir=x").decision is not None
    assert composed("method=sgas", "~decision", "run_dir=x").decision is None


def test_the_search_for_hyperparameters_that_help_names_can_be_had():
    """Its ranges are of settings that the command's own choices have."""
    from nas_lightning.app import command, tune

    (line,) = (line for line in command._HELP.splitlines() if line.startswith("nas-lightning tune"))
    overrides = [word for word in line.split() if "=" in word]
    config = composed(*overrides, "run_dir=x", config="tune")
    tune._check(config, tune._spans(config.tune.space), tune._import_optuna())
