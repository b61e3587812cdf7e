"""Every yaml is a choice of its own and of use to someone; methods are what is compared, protocols how."""

import itertools
import re
import shlex
from functools import cache

import pytest
import yaml
from omegaconf import OmegaConf

from nas_lightning.app.axes import build_epoch_axes
from nas_lightning.app.configs import with_keys_of_run
from tests.axes import options
from tests.conftest import ROOT, composed

CONF = ROOT / "conf"


METHODS, EXPERIMENTS, SPACES, FAMILIES = (options(group) for group in ("method", "experiment", "space", "family"))


# ---- methods and protocols ----


def test_no_two_methods_are_the_same():
    configs = {OmegaConf.to_yaml(composed(f"method={method}", "run_dir=x"), resolve=True) for method in METHODS}
    assert len(configs) == len(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_at_most_five_lines(method):
    lines = (CONF / "method" / f"{method}.yaml").read_text().splitlines()
    assert len([line for line in lines if line and not line.startswith("#")]) <= 5


def recipe(config):
    """Batch size, epochs, the weights' rate and its schedule, when alpha starts."""
    chosen = (config.data.batch_size, config.trainer.max_epochs, config.model.weight_optimizer.lr, config.lr)
    return repr((*chosen, config.model.weight_scheduler, config.model.arch_start))


@pytest.mark.parametrize("space", SPACES)
def test_all_methods_have_one_recipe_unless_their_own_are_asked_for(space):
    assert len({recipe(composed(f"space={space}", f"method={method}", "run_dir=x")) for method in METHODS}) == 1


PUBLISHED = {
    name: (method, family)
    for method, family in itertools.product(METHODS, FAMILIES)
    for name in (method, f"{method}_{family}")
    if name in options("published")
}


def test_every_published_recipe_is_of_a_method():
    assert sorted(PUBLISHED) == options("published")


def published(method, space, *overrides):
    return composed(f"method={method}", f"space={space}", "protocol=published", *overrides, "run_dir=x")


def values(config):
    model, alpha = config.model, config.model.arch_optimizer
    rates = (model.weight_optimizer.lr, config.lr.eta_min, alpha.lr, alpha.weight_decay)
    return (config.data.batch_size, *rates, model.arch_start, model.weight_optimizer.weight_decay, config.bilevel.order)


DARTS = (64, 0.025, 1e-3, 3e-4, 1e-3, 0, 3e-4, "arch_first")


def test_published_recipes_of_the_darts_family_are_that_of_darts():
    assert values(published("darts", "darts")) == values(published("darts", "s3")) == DARTS
    assert published("darts", "darts").data.valid_batch == "shuffled"
    for method in ("darts_v2", "sdarts_rs", "sdarts_adv", "beta_darts"):
        assert values(published(method, "darts")) == values(published(method, "s3")) == DARTS
    assert values(published("darts_minus", "darts")) == values(published("darts_minus", "s4")) == DARTS
    assert {published("darts_minus", space).data.valid_batch for space in ("darts", "s4")} == {"in_turn"}
    assert values(published("r_darts_dp", "s1")) == DARTS
    assert values(published("r_darts_l2", "s1")) == (*DARTS[:6], 81e-4, "arch_first")
    assert [published(f"r_darts_{form}", "s1").data.cutout for form in ("dp", "l2")] == [16, 0]
    second_order = ("darts_v2", "darts_es", "r_darts_dp", "r_darts_l2")
    steps = {published(method, "s1").bilevel._target_ for method in second_order}
    assert steps == {"nas_lightning.bilevel.SecondOrder"}
    for method in ("darts_es", "darts_plus", "darts_pt", "sdarts_rs_pt", "sgas", "sgas_2", "sgas_pt"):
        assert values(published(method, "darts"))[:-1] == DARTS[:-1]
        assert published(method, "darts").space.none == method.startswith("sgas")
    assert values(published("sgas", "darts")) == DARTS


def test_published_recipes_of_pc_darts_and_of_what_stands_on_its_supernet():
    pc_darts = published("pc_darts", "darts")
    assert values(pc_darts) == (256, 0.1, 0, 6e-4, 1e-3, 0.3, 3e-4, "arch_first")
    assert values(published("pc_darts", "s1")) == DARTS
    assert values(published("edd_pc", "darts")) == values(pc_darts)
    assert published("edd_pc", "darts").sched.warmup == 0.4
    gaea_pc = published("gaea_pc", "darts")
    assert (gaea_pc.data.batch_size, gaea_pc.model.weight_optimizer.lr, gaea_pc.lr.eta_min) == (256, 0.1, 0)
    assert (gaea_pc.model.arch_start, gaea_pc.arch_optimizer.edge_lr) == (0, 0.1)


def test_published_recipes_of_the_programs_for_nas_bench_201():
    darts = dict.fromkeys(("darts", "darts_v2", "darts_es", "darts_plus"), 50)
    for method, epochs in {"gdas": 250, "ets_gdas": 250, **darts}.items():  # AutoDL-Projects
        own = published(method, "nb201")
        order = "arch_first" if method in ("darts_v2", "darts_es") else "weights_first"
        assert values(own) == (*DARTS[:6], 5e-4, order)
        assert own.trainer.max_epochs == own.lr.T_max == epochs
        assert (own.model.weight_clip_includes_arch, own.space.conv_bias) == (True, True)
        assert own.model.weight_optimizer.nesterov
    smooth = published("sdarts_rs", "nb201")  # SmoothDARTS nasbench201, and what was made from it
    assert (smooth.trainer.max_epochs, smooth.lr.T_max, smooth.model.weight_optimizer.nesterov) == (100, 100, False)
    for method in ("sdarts_rs", "sdarts_adv", "beta_darts", "darts_minus"):
        own = published(method, "nb201")
        assert values(own) == DARTS
        assert (own.trainer, own.lr, own.model, own.data) == (smooth.trainer, smooth.lr, smooth.model, smooth.data)
    gaea = published("gaea", "nb201")
    assert (gaea.data.batch_size, gaea.trainer.max_epochs, gaea.lr.T_max) == (64, 25, 50)
    assert (gaea.bilevel.order, gaea.arch_optimizer.lr) == ("arch_first", 0.1)
    assert gaea.model.weight_optimizer.nesterov is False
    assert [published("gaea_erm", space).bilevel.batch for space in ("nb201", "darts")] == ["valid", "train"]


def test_published_recipes_of_drnas_fair_darts_and_surgenas():
    drnas, kl = published("drnas", "nb201"), (64, 0.025, 1e-3, 3e-4, 0, 0, 3e-4, "arch_first")
    assert values(drnas) == kl
    assert (drnas.trainer.max_epochs, drnas.model.weight_optimizer.nesterov) == (100, False)
    assert values(published("drnas_l2", "nb201")) == (*kl[:4], 1e-3, *kl[5:])
    progressive = published("drnas_progressive", "darts")
    assert values(progressive) == (64, 0.1, 0, 6e-4, 1e-3, 0, 3e-4, "arch_first")
    assert (progressive.space.num_cells, progressive.stages.stages.wide.partial) == (20, 4)
    fair_darts = (128, 0.005, 1e-3, 3e-3, 1e-3, 0, 3e-4, "arch_first")
    assert values(published("fair_darts", "darts")) == values(published("fair_darts", "s2")) == fair_darts
    assert values(published("fair_darts", "nb201")) == (*fair_darts[:6], 5e-4, "weights_first")
    surgenas = (160, 0.025, 3e-4, 3e-4, 0, 0, 3e-4, "arch_first")
    assert values(published("surgenas_lhd", "darts")) == values(published("surgenas_ods", "darts")) == surgenas


@pytest.mark.parametrize("method", ["darts_pt", "darts_pt_blank", "sdarts_rs_pt"])
@pytest.mark.parametrize(("space", "search", "projection"), [("nb201", 100, 25), ("darts", 50, 81), ("s2", 50, 81)])
def test_published_recipes_of_darts_pt_have_its_programs_two_stages(method, space, search, projection):
    config = published(method, space)
    parts = build_epoch_axes(config)["stages"]
    assert [parts.at(epoch)[1] for epoch in (search - 1, search)] == [search - 1, 0]
    assert (config.trainer.max_epochs, config.lr.T_max) == (search + projection, search)
    assert config.data.discrete_images == 50_000


def test_published_supernets():
    supernets = {  # C, none, partial, edge weights
        ("gaea", "nb201"): (24, False, 1, False),
        ("pc_darts", "darts"): (16, True, 4, True),
        ("pc_darts", "s2"): (16, False, 4, False),
        ("gaea_pc", "darts"): (16, True, 4, True),
        ("darts", "darts"): (16, True, 1, False),
        ("darts_v2", "darts"): (16, True, 1, False),
        ("darts", "s2"): (16, False, 1, False),
        ("darts_v2", "s2"): (16, False, 1, False),
        ("darts_minus", "darts"): (16, True, 1, False),
        ("drnas_progressive", "darts"): (36, False, 6, False),
        ("drnas_progressive", "nb201"): (16, True, 4, False),
        ("edd", "darts"): (16, False, 1, False),
    }
    for (method, space), supernet in supernets.items():
        own = published(method, space).space
        assert (own.C, own.none, own.partial, own.edge_weights) == supernet
    assert published("gaea", "nb201", "space.C=8", "space.none=true").space.C == 8
    assert published("darts", "darts", "space.none=false").space.none is False
    for method in ("sdarts_rs", "beta_darts", "fair_darts"):  # DARTS' recipe, not its supernet
        assert published(method, "darts").space == published("edd", "darts").space
    assert published("sdarts_adv", "darts").space == {**published("edd", "darts").space, "running_statistics": True}
    for method, space in (("edd", "nb201"), ("edd", "s2"), ("pc_darts", "nb201")):  # the space's own
        assert published(method, space).data == composed(f"space={space}", "run_dir=x").data


def test_pcds_decay_is_the_programs_with_the_released_protocol():
    def decay(space, *overrides):
        return composed("method=pcd", f"space={space}", *overrides, "run_dir=x").sched.decay

    assert [decay(space, "protocol=released") for space in ("nb201", "darts", "s1", "s4")] == [0.11, 0.11, 0.1, 0.1]
    assert [decay(space) for space in ("nb201", "s1")] == [0.11, 0.11]
    assert decay("s1", "protocol=released", "sched.decay=0.2") == 0.2


IMAGES = {
    # space, data set, method, protocol -> data.alpha_images, split, valid_batch
    ("nb201", "cifar10", "edd", "own"): ("held_out", "nas_bench_201", "replacement"),
    ("nb201", "cifar10", "gdas", "published"): ("held_out", "nas_bench_201", "replacement"),
    ("nb201", "cifar10", "sdarts_adv", "published"): ("held_out", "index", "shuffled"),
    ("nb201", "cifar100", "darts_pt", "published"): ("held_out", "index", "shuffled"),
    ("nb201", "imagenet16_120", "beta_darts", "published"): ("held_out", "index", "shuffled"),
    ("nb201", "cifar100", "surgenas_ods", "published"): ("train_all", "nas_bench_201", "replacement"),
    ("darts", "cifar10", "surgenas_lhd", "published"): ("train_all", "index", "shuffled"),
    ("nb201", "folder", "edd", "own"): ("held_out", "seed", "replacement"),
    ("nb201", "cifar100", "edd", "own"): ("test_half", "nas_bench_201", "replacement"),
    ("nb201", "imagenet16_120", "gdas", "published"): ("test_half", "nas_bench_201", "replacement"),
    ("nb201", "cifar100", "gaea", "published"): ("test_half", "nas_bench_201", "replacement"),
    ("nb201", "cifar100", "gaea_erm", "published"): ("train_all", "nas_bench_201", "shuffled"),
    ("nb201", "cifar100", "drnas_l2", "published"): ("held_out", "index", "shuffled"),
    ("darts", "cifar10", "edd", "own"): ("held_out", "index", "shuffled"),
    ("darts", "cifar100", "pc_darts", "published"): ("held_out", "index", "shuffled"),
    ("darts", "cifar10", "edd_pc", "pc_darts"): ("held_out", "index", "shuffled"),
    ("s4", "svhn", "darts", "published"): ("held_out", "index", "shuffled"),
    ("s1", "digits", "edd", "own"): ("held_out", "seed", "shuffled"),
    ("darts", "folder", "edd", "own"): ("held_out", "seed", "shuffled"),
}
"""As the programs have them; images that no program knows are not cut by their order."""


@pytest.mark.parametrize("chosen", IMAGES, ids="-".join)
def test_a_searchs_images_are_those_of_the_programs(chosen):
    space, dataset, method, protocol = chosen
    config = composed(f"space={space}", f"dataset={dataset}", f"method={method}", f"protocol={protocol}", "run_dir=x")
    assert (config.data.alpha_images, config.data.split, config.data.valid_batch) == IMAGES[chosen]
    assert (config.data.cutout, config.data.batch_growth) == (0, None)
    override = composed(
        *(f"{g}={o}" for g, o in zip(("space", "dataset", "method", "protocol"), chosen, strict=True)),
        "data.alpha_images=held_out",
        "data.split=seed",
        "data.valid_batch=replacement",
        "run_dir=x",
    )
    assert (
        override.data
        == composed(
            f"dataset={dataset}",
            f"data.batch_size={config.data.batch_size}",
            f"data.discrete_images={config.data.discrete_images}",
            f"space={space}",
            "data.alpha_images=held_out",
            "data.split=seed",
            "data.valid_batch=replacement",
            "run_dir=x",
        ).data
    )


def test_reduced_searches_in_the_darts_space_have_the_batches_of_those_in_results():
    assert composed("experiment=darts_reduced", "run_dir=x").data.valid_batch == "replacement"


@pytest.mark.parametrize(
    ("method", "batch"),
    [("darts", 256), ("gaea", 160), ("gaea_erm", 160), ("drnas", 256), ("drnas_l2", 256), ("drnas_progressive", 256)],
)
def test_the_edd_authors_own_runs_of_other_methods_differ_from_the_published_ones_in_the_batch(method, batch):
    theirs = composed(f"method={method}", "space=nb201", "protocol=edd_paper", "run_dir=x")
    assert theirs.data.batch_size == batch
    none = ("space.none=true", "+protocol.space.none=true") if method.startswith("gaea") else ()
    wanted = published(method, "nb201", f"data.batch_size={batch}", *(o.replace("+", "") for o in none))
    assert theirs == wanted


@pytest.mark.parametrize(("method", "space"), [("gdas", "nb201"), ("edd", "nb201"), ("darts", "s1"), ("edd", "darts")])
def test_what_the_edd_authors_did_not_change_is_as_published(method, space):
    assert composed(f"method={method}", f"space={space}", "protocol=edd_paper", "run_dir=x") == published(method, space)


def test_published_recipes_are_asked_for_by_one_word_in_a_study_and_the_command_line_wins():
    study = ("experiment=table1", "lr=constant", "data.batch_size=32", "arch_optimizer.weight_decay=0.5")
    config = published("darts", "nb201", *study)
    assert (config.lr, config.model.weight_scheduler, config.data.batch_size) == (None, None, 32)
    assert config.model.arch_optimizer.weight_decay == 0.5
    assert published("darts", "nb201", "experiment=table1").data.batch_size == 64
    assert published("edd", "nb201", "experiment=table1").data.batch_size == 256


def test_the_default_is_edd_with_the_authors_recipe():
    default, edd = composed("run_dir=x"), composed("run_dir=x", "method=edd")
    assert default == edd
    assert edd.sched.lam == 0.06
    assert edd.relaxation.second_temperature == 1
    assert (edd.data.batch_size, edd.model.weight_optimizer.lr, edd.lr, edd.trainer.max_epochs) == (
        256,
        0.025,
        None,
        50,
    )
    assert (edd.arch_optimizer.lr, edd.arch_optimizer.weight_decay) == (3e-4, 0)
    assert edd.model.arch_optimizer == edd.arch_optimizer


def test_a_rate_for_adam_is_no_other_optimisers():
    """An experiment's rate must not reach GAEA's exponentiated gradient, whose rates are of another size."""
    for choices in (("experiment=methods_reduced",), ("protocol=pc_darts",), ("space=darts", "protocol=published")):
        gaea = composed(*choices, "method=gaea", "run_dir=x").arch_optimizer
        assert gaea == {**composed("method=gaea", "run_dir=x").arch_optimizer}
    assert composed("experiment=methods_reduced", "run_dir=x").arch_optimizer.lr == 1e-3


# ---- constants of a schedule in a space ----


@pytest.mark.parametrize("sched", ["edd", "edd_untempered", "edd_reestimate", "edd_released"])
def test_constants_of_a_space_reach_the_readings_of_a_schedule_too(sched):
    warmups = [composed(f"sched={sched}", f"space={space}", "run_dir=x").sched.warmup for space in ("nb201", "s1")]
    assert warmups == [0.2, 0.1]


@pytest.mark.parametrize("protocol", ["own", "pc_darts"])
def test_the_command_line_and_an_experiment_win_over_the_constants_of_a_space(protocol):
    assert composed("sched.warmup=0.3", f"protocol={protocol}", "run_dir=x").sched.warmup == 0.3
    assert composed("experiment=table7_c100", "method=pcd", "run_dir=x").sched.warmup == 0.2
    assert composed("sched=edd_literal", f"protocol={protocol}", "run_dir=x").sched.warmup == 0
    assert composed("sched=edd_readme", "space=s4", "sched.lam=0.1", "run_dir=x").sched.lam == 0.1


def test_lambda_is_the_papers_in_every_space_unless_the_readmes_is_asked_for():
    assert {composed(f"space={space}", "run_dir=x").sched.lam for space in SPACES} == {0.06}
    readme = [composed(f"space=s{i}", "sched=edd_readme", "run_dir=x").sched.lam for i in (1, 2, 3, 4)]
    assert readme == [0.12, 0.24, 0.48, 0.96]


@pytest.mark.parametrize(
    ("overrides", "program", "family"),
    [
        (("space=nb201",), "train", "nb201"),
        (("space=darts",), "train", "darts"),
        (("space=s3",), "train", "darts"),
        (("space=nb201",), "evaluate", "nb201"),
        (("space=darts",), "evaluate", "darts"),
        (("space=darts", "recipe=drnas"), "evaluate", "darts"),
        (("space=s1",), "evaluate", "darts"),
        (("space=s1", "dataset.normalisation=nb201"), "evaluate", "nb201"),
    ],
)
def test_cifar_is_normalised_as_the_programs_of_its_space_do(overrides, program, family):
    assert composed("dataset=cifar10", *overrides, "run_dir=x", config=program).data.dataset.normalisation == family


# ---- experiments ----


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_compose_and_name_their_runs(experiment):
    config = composed(f"experiment={experiment}", "run_dir=x")
    assert config.name == experiment
    OmegaConf.to_container(config, resolve=True)


@cache
def content(path):
    return yaml.safe_load(path.read_text()) or {}


def grid(experiment):
    """The values of every key that the experiment sweeps."""
    hydra = content(CONF / "experiment" / f"{experiment}.yaml").get("hydra", {})
    return {key: str(values).split(",") for key, values in hydra.get("sweeper", {}).get("params", {}).items()}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_value_of_a_studys_grid_composes_and_is_in_effect(experiment):
    reference = composed(f"experiment={experiment}", "run_dir=x")
    for key, values in grid(experiment).items():
        configs = [composed(f"experiment={experiment}", f"{key}={value}", "run_dir=x") for value in values]
        for config in configs:
            OmegaConf.to_container(config, resolve=True)
            assert config.name == reference.name == experiment
            assert key == "space" or config.space._target_ == reference.space._target_
        assert len({repr(config) for config in configs}) == len(values)
        assert key != "method" or len({recipe(config) for config in configs}) == 1


def test_the_papers_grids():
    assert grid("table5") == grid("table5_reduced")
    assert [len(values) for values in grid("table5").values()] == [3, 3, 3]
    assert set(grid("fig4_reduced")["method"]) >= {"darts", "lpcd", "pcd", "edd"}


def test_the_study_of_the_methods_has_all_of_them():
    assert sorted(grid("methods_reduced")["method"]) == METHODS


@pytest.mark.parametrize("experiment", ["fig4", "fig4_reduced", "table7_reduced"])
def test_methods_of_a_study_differ_in_relaxation_and_temperature_alone(experiment):
    recipes = set()
    for method in grid(experiment)["method"]:
        config = composed(f"experiment={experiment}", f"method={method}", "run_dir=x")
        del config.relaxation, config.sched
        recipes.add(OmegaConf.to_yaml(config, resolve=True))
    assert len(recipes) == 1


def test_single_choices_override_a_method_and_an_experiment():
    config = composed("experiment=quickstart", "relaxation=softmax", "sched=exponential", "lr=cosine", "run_dir=x")
    assert "Softmax" in config.relaxation._target_
    assert "Exponential" in config.sched._target_
    assert "Cosine" in config.model.weight_scheduler._target_


# ---- every yaml is of use ----

FILES = sorted(path for path in CONF.rglob("*.yaml") if path.parent != CONF)


def test_a_key_of_the_runs_data_set_needs_no_plus():
    given = ["run=runs/a", "dataset.test_root=b", "dataset.flip=false", "seed=1"]
    assert with_keys_of_run("evaluate", given) == ["run=runs/a", "+dataset.test_root=b", "dataset.flip=false", "seed=1"]
    assert with_keys_of_run("train", given) == given
    named = ["run=runs/a", "dataset=folder", "dataset.test_root=b"]
    assert with_keys_of_run("evaluate", named) == named


DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = [CONF / f"{name}.yaml" for name in ("train", "evaluate", "tune")]


def named_by_defaults(path):
    """The files, as patterns `group/option` below conf, in the defaults list of a yaml and in the grid that it sweeps."""
    own = path.parent.relative_to(CONF)
    for entry in content(path).get("defaults", []):
        key, value = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
        if key is None:
            group, _, option = str(value).partition("@")[0].rpartition("/")
        else:
            group, option = re.sub(r"^(override |optional )*", "", key).partition("@")[0], value
        if option not in ("_self_", None):
            place = group.lstrip("/") if group.startswith("/") else str(own / group).removeprefix("./").rstrip("/.")
            yield from (f"{place}/{name}" for name in interpolated(str(option)))
    if path.parent.name == "experiment":
        yield from (f"{key}/{value}" for key, values in grid(path.stem).items() for value in values)


def interpolated(option):
    """All that `${space}_${method}` can stand for."""
    parts = re.split(r"\$\{(\w+)\}", option)
    choices = [[part] if i % 2 == 0 else options(part) for i, part in enumerate(parts)]
    return map("".join, itertools.product(*choices))


def named_by_docs(text):
    """`group/option` of every `group=option` in a text, of the options in code beside one on the same line, and of those
    in the rows of a table or the row of one that is headed by the group."""
    heading = None
    for line in text.splitlines():
        cells = line.split("|")
        first = re.sub(r"[`\s]", "", cells[1]) if line.startswith("|") else None
        heading = None if first is None else first if heading is None else heading
        groups = {heading, first} | set(re.findall(r"\b([a-z_]+(?:/[a-z]+)?)=", line))
        words = re.findall(r"`([a-z0-9_]+)`", line)
        assigned = re.findall(r"(?<![\w.])([a-z_]+(?:/[a-z]+)?)=([\w,]+)", line)
        yield from (f"{group}/{option}" for group, values in assigned for option in values.split(","))
        yield from (f"{group}/{option}" for group in groups - {None} for option in words)


def test_every_yaml_is_used_or_documented():
    named = {name for path in (*PROGRAMS, *FILES) for name in named_by_defaults(path)}
    named |= {name for path in DOCS for name in named_by_docs(path.read_text())}
    assert [
        str(path.relative_to(CONF)) for path in FILES if f"{path.relative_to(CONF).with_suffix('')}" not in named
    ] == []


@pytest.mark.parametrize("path", [*PROGRAMS, *FILES], ids=lambda path: str(path.relative_to(CONF)))
def test_every_yaml_begins_with_what_it_is(path):
    first = next(line for line in path.read_text().splitlines() if not line.startswith("# @package"))
    assert first.startswith("# ")


# ---- documented commands ----


def documented_commands():
    """The overrides of every `train.py` command in the documents, one value of each that is swept over."""
    for path in (*DOCS, *sorted((ROOT / "results").glob("*/README.md"))):
        for block in re.findall(r"```\n(.*?)```", path.read_text(), re.DOTALL):
            for line in re.sub(r"\\\n\s*", "", block).splitlines():
                if line.startswith("python train.py "):
                    words = shlex.split(re.sub(r"<[^>]*>", "PATH", line), comments=True)[2:]
                    overrides = [re.sub(r",.*", "", word) for word in words if word != "-m"]
                    yield pytest.param(overrides, id=f"{path.parent.name}/{line[16:80]}")


@pytest.mark.parametrize("overrides", documented_commands())
def test_a_documented_search_composes(overrides):
    OmegaConf.to_container(composed(*overrides, "run_dir=x"), resolve=True)
