"""What a search is called: its method where it is that method, another's name where it is that one, else what it is made of."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nas_lightning.app.configs import CONFIGS
from nas_lightning.app.naming import method_name
from tests.axes import options
from tests.conftest import ROOT, composed_with_choices

METHODS, SPACES, PROTOCOLS = (options(group) for group in ("method", "space", "protocol"))


def asked_for(*overrides):
    config, choices = composed_with_choices(*overrides, "run_dir=x")
    return choices, OmegaConf.to_container(config, resolve=True)


def named(*overrides):
    return method_name(*asked_for(*overrides), (CONFIGS,))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_as_it_is_has_its_name_under_its_own_protocol_too(method):
    assert named(f"method={method}") == method
    assert named(f"method={method}", "space=s2", "protocol=published") == method


@pytest.mark.parametrize(
    "settings",
    [
        ("arch_optimizer.lr=0.1", "arch_optimizer.weight_decay=0.3", "lr=cosine", "model.weight_optimizer.lr=1"),
        ("trainer.max_epochs=3", "data.batch_size=7", "space.C=4", "space.N=1", "bilevel.order=arch_first"),
        ("dataset=cifar10", "seed=3", "protocol=pc_darts", "experiment=quickstart", "sched.lam=0.5"),
    ],
)
def test_protocol_size_data_and_an_options_numbers_are_no_part_of_a_name(settings):
    assert named(*settings) == "edd"


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (("method=edd", "penalty=beta_decay"), "edd + penalty=beta_decay"),
        (("method=pcd", "selection=best_discrete"), "pcd + selection=best_discrete"),
        (("method=edd", "relaxation=softmax"), "edd with relaxation=softmax"),
        (
            ("method=edd", "sched=linear", "relaxation=softmax", "penalty=beta_decay"),
            "edd with relaxation=softmax, sched=linear + penalty=beta_decay",
        ),
        (("method=sdarts_rs", "space.partial=4"), "sdarts_rs with space.partial=4"),
        (("method=gaea", "space.partial=2", "space.edge_weights=true"), "gaea with space.edge_weights=true, space.partial=2"),
        (("method=edd_clip", "model.arch_clip.value=1"), "edd_clip with model.arch_clip.value=1"),
        (("method=drnas_l2", "arch_optimizer.weight_decay=0"), "drnas_l2 with arch_optimizer.weight_decay=0"),
        (("experiment=table5", "relaxation=sn_s100"), "edd with relaxation=sn_s100"),
        (("experiment=quickstart", "space=s4", "derive=darts"), "edd + derive=darts"),
    ],
)  # fmt: skip
def test_a_combination_is_named_for_what_it_is(overrides, name):
    assert named(*overrides) == name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (("sched=constant", "relaxation=softmax"), "darts"),
        (("method=darts", "bilevel=second_order"), "darts_v2"),
        (("method=darts", "penalty=beta_decay"), "beta_darts"),
        (("method=darts", "space.partial=4", "space.edge_weights=true"), "pc_darts"),
        (("method=pc_darts", "space.partial=1", "space.edge_weights=false"), "darts"),
        (("method=gaea", "bilevel.batch=train"), "gaea_erm"),
        (("method=edd", "model.arch_clip.mode=norm"), "edd_clip"),
        (("method=lts", "sched=edd"), "edd"),
    ],
)
def test_what_is_another_method_has_that_ones_name(overrides, name):
    assert named(*overrides) == name


FOLLOWING = [method for method in METHODS if "${" in (CONFIGS / "method" / f"{method}.yaml").read_text()]


@pytest.mark.parametrize("protocol", ["published", "edd_paper", "released"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("method", FOLLOWING)
def test_a_value_that_follows_another_setting_follows_it_under_every_protocol(method, space, protocol):
    assert named(f"method={method}", f"space={space}", f"protocol={protocol}") == method


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (("method=pc_darts", "space=s3"), "space.edge_weights"),
        (("method=drnas_progressive", "space=darts"), "space.partial"),
        (("method=sdarts_rs_pt", "space=nb201"), "perturbation.radius.until"),
    ],
)
def test_a_published_recipe_may_have_another_value_and_has_the_methods_name(overrides, key):
    own, published = (composed_with_choices(*overrides, *more)[0] for more in ((), ("protocol=published",)))
    assert OmegaConf.select(own, key) != OmegaConf.select(published, key)
    assert f"method={named(*overrides, 'protocol=published')}" == overrides[0]


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (("method=darts", "space.partial=4"), "darts with space.partial=4"),
        (("method=pc_darts", "space.edge_weights=false"), "pc_darts with space.edge_weights=false"),
        (
            ("method=pc_darts", "space=s3", "protocol=published", "space.edge_weights=true"),
            "pc_darts with space.edge_weights=true",
        ),
        (("method=darts_pt", "perturbation=random_ball"), "darts_pt + perturbation=random_ball"),
        (("method=sdarts_rs_pt", "perturbation.radius.until=0.9"), "sdarts_rs_pt with perturbation.radius.until=0.9"),
        (("method=sdarts_rs_pt", "stages.stages.search.epochs=0.5", "stages.stages.projection.epochs=0.5"), "sdarts_rs_pt"),
        (("method=drnas_progressive", "space.partial=8"), "drnas_progressive with space.partial=8"),
        (("method=drnas_progressive", "+protocol.space.partial=8"), "drnas_progressive"),
        (("method=r_darts_dp", "trainer.max_epochs=7"), "r_darts_dp"),
        (("method=edd", "space.skip_dropout={start: 0.4, end: 0.4}"), "edd + space.skip_dropout={start:0.4,end:0.4}"),
        (("method=edd_skip", "space.auxiliary_mean=true"), "edd_skip with space.auxiliary_mean=true"),
        (("method=r_darts_dp", "space.drop_path.epochs=7"), "r_darts_dp with space.drop_path.epochs=7"),
    ],
)  # fmt: skip
def test_a_value_that_follows_another_setting_is_compared_where_it_leads(overrides, name):
    assert named(*overrides) == name


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (("method=darts", "bilevel.batch=train"), "darts with bilevel.batch=train"),
        (("method=darts_minus", "space.auxiliary_skip=null"), "darts"),
        (("method=surgenas_lhd", "space.auxiliary_skip=null"), "surgenas_lhd with space.auxiliary_skip=null"),
        (("method=sdarts_rs_pt", "~perturbation.radius.until"), "sdarts_rs_pt with ~perturbation.radius.until"),
        (("method=sgas", "~decision"), "darts"),
        (("method=beta_darts", "~penalty"), "darts"),
        (("method=sdarts_rs_pt", "~perturbation"), "darts_pt"),
        (("method=darts_plus", "~selection"), "darts_plus with selection=null"),
        (("method=random", "~stop"), "random with stop=null"),
        (("method=fair_darts", "~derive"), "fair_darts with derive=null"),
        (
            ("method=darts_pt", "stages.stages.projection.decision=null"),
            "darts_pt with stages.stages.projection.decision=null",
        ),
        (
            ("method=edd", "relaxation._target_=nas_lightning.relaxations.Sigmoid"),
            "edd with relaxation._target_=nas_lightning.relaxations.Sigmoid",
        ),
    ],
)
def test_a_search_without_what_a_method_sets_is_not_that_method(overrides, name):
    """Such as DARTS-' skip connection."""
    assert named(*overrides) == name


@pytest.mark.parametrize("text", ["a ${ b", "${nowhere}", "\\${x}"])
def test_a_name_of_a_folder_is_no_reference(text):
    choices, config = asked_for("method=pc_darts")
    config["dataset"]["root"] = text
    assert method_name(choices, config, (CONFIGS,)) == "pc_darts"


def test_a_value_that_leads_nowhere_is_none_of_the_search(tmp_path):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text('defaults: [darts]\nseed: "${nowhere}"\n')
    assert method_name(*asked_for("method=darts"), (CONFIGS, tmp_path)) == "darts"
    choices, config = asked_for("method=darts")
    assert method_name(choices | {"method": "mine"}, config, (CONFIGS, tmp_path)) == "darts"


def test_a_value_above_which_a_space_has_nothing_is_something_added(tmp_path):
    """A setting that is null in the space, and a mapping in a method."""
    for file, text in {
        "method/skipping.yaml": 'defaults: [darts]\nspace: {extra: {start: 1.0, end: 0.0, epochs: "${trainer.max_epochs}"}}\n',
        "space/toy.yaml": "extra: null\n",
    }.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    choices, config = asked_for("method=edd")
    choices["space"] = "toy"
    own = {**config, "space": {"extra": None}}
    assert method_name(choices, own, (CONFIGS, tmp_path)) == "edd"
    added = {**config, "space": {"extra": {"start": 1.0, "end": 0.0, "epochs": 50}}}
    assert method_name(choices, added, (CONFIGS, tmp_path)) == "edd + space.extra={start:1.0,end:0.0,epochs:50}"
    darts, config = asked_for("method=edd", "relaxation=softmax", "sched=constant")
    assert method_name(darts | {"space": "toy"}, config | {"space": added["space"]}, (CONFIGS, tmp_path)) == "skipping"


def test_a_users_own_method_and_options_have_names_too(tmp_path):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - darts\n  - override /penalty: cost\n"
    )
    choices, config = asked_for("method=darts")
    choices["penalty"] = "cost"
    assert method_name(choices, config, (CONFIGS,)) == "darts + penalty=cost"
    assert method_name(choices, config, (CONFIGS, tmp_path)) == "mine"
    assert method_name(choices | {"method": "mine", "penalty": None}, config, (CONFIGS, tmp_path)) == "darts"


def test_a_search_without_a_method_has_no_name():
    assert method_name({}, {}, (Path(ROOT / "conf"),)) is None


@pytest.mark.parametrize("space", SPACES)
def test_the_default_is_edd_in_every_space(space):
    assert named(f"space={space}") == "edd"
