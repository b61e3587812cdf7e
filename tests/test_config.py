"""Every yaml is a choice of its own, and methods are nothing but choices."""

import pytest
from omegaconf import OmegaConf

from tests.conftest import ROOT, composed

METHODS = sorted(path.stem for path in (ROOT / "conf" / "method").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))


def choices(method):
    config = composed(f"method={method}", "run_dir=x")
    keys = ("relaxation", "sched", "bilevel", "model")
    return OmegaConf.to_container(OmegaConf.masked_copy(config, list(keys)), resolve=False)


def test_no_two_methods_are_the_same():
    composed_methods = {method: repr(choices(method)) for method in METHODS}
    assert len(set(composed_methods.values())) == len(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_a_handful_of_lines(method):
    lines = (ROOT / "conf" / "method" / f"{method}.yaml").read_text().splitlines()
    assert len([line for line in lines if line and not line.startswith("#")]) <= 6


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
    assert (edd.model.arch_optimizer.lr, edd.model.arch_optimizer.weight_decay) == (3e-4, 0)


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
def test_cifar_is_normalised_as_its_recipe_does(overrides, program, family):
    assert composed("dataset=cifar10", *overrides, "run_dir=x", config=program).data.dataset.normalisation == family


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_compose_and_name_their_runs(experiment):
    config = composed(f"experiment={experiment}", "run_dir=x")
    assert config.name == experiment
    OmegaConf.to_container(config, resolve=True)


def grid(experiment):
    """The values of every key that the experiment sweeps."""
    params = OmegaConf.load(ROOT / "conf" / "experiment" / f"{experiment}.yaml").get("hydra", {})
    swept = OmegaConf.to_container(params).get("sweeper", {}).get("params", {}) if params else {}
    return {key: str(values).split(",") for key, values in swept.items()}


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


def test_the_papers_grids():
    assert grid("table5") == grid("table5_reduced")
    assert [len(values) for values in grid("table5").values()] == [3, 3, 3]
    assert set(grid("fig4_reduced")["method"]) >= {"darts", "lpcd", "pcd", "edd"}


@pytest.mark.parametrize("experiment", ["fig4_reduced", "table7_reduced"])
def test_methods_of_a_reduced_study_differ_in_relaxation_and_temperature_alone(experiment):
    recipes = set()
    for method in grid(experiment)["method"]:
        config = composed(f"experiment={experiment}", f"method={method}", "run_dir=x")
        del config.relaxation, config.sched, config.model.relaxation, config.lr
        recipes.add(OmegaConf.to_yaml(config, resolve=True))
    assert len(recipes) == 1


def test_single_choices_override_a_method_and_an_experiment():
    config = composed("experiment=quickstart", "relaxation=softmax", "sched=exponential", "lr=cosine", "run_dir=x")
    assert "Softmax" in config.relaxation._target_
    assert "Exponential" in config.sched._target_
    assert "Cosine" in config.model.weight_scheduler._target_
