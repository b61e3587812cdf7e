"""Temperature schedules against the paper's numbers and slow, obvious references; every yaml of theirs composes."""

import functools
import itertools
import math
import random
from dataclasses import replace

import hydra
import pytest
from omegaconf import OmegaConf

from nas_lightning.errors import UserError
from nas_lightning.relaxations import SnSoftmax, Softmax
from nas_lightning.schedules import (
    Constant,
    Cyclic,
    CyclicLinear,
    EntropyDynamicDecay,
    Exponential,
    Linear,
    Observation,
)
from tests.axes import options
from tests.conftest import ROOT, composed

CONF = ROOT / "conf"
E = 1e-3 * math.sqrt(2 / math.pi) / 2
LITERAL = {"warmup": 0, "interval": 1, "late_start": None}


def constant_entropy(nats):
    return Observation(entropy={"cell": (nats,) * 6}, entropy_at_1={"cell": (nats,) * 6}, positive_alpha=E)


def run(schedule, epochs, observations=None):
    """The state after each epoch's update."""
    states, state = [], schedule.initial()
    for epoch in range(epochs):
        state = schedule.update(epoch, observations[epoch] if observations else constant_entropy(math.log(5)), state)
        states.append(state)
    return states


def temperatures(schedule, epochs):
    return [state.temperature for state in run(schedule, epochs)]


def random_observations(epochs, seed=0, cells=("normal", "reduce")):
    draw = random.Random(seed)
    return [
        Observation(
            entropy={cell: tuple(draw.uniform(0, math.log(7)) for _ in range(14)) for cell in cells},
            entropy_at_1={cell: tuple(draw.uniform(1, math.log(7)) for _ in range(14)) for cell in cells},
            positive_alpha=draw.uniform(4e-4, 4e-2),
        )
        for _ in range(epochs)
    ]


# ---- yamls ----


@functools.cache
def compose_text(group, name, space, overrides):
    return OmegaConf.to_yaml(composed(f"space={space}", f"{group}={name}", *overrides, "run_dir=x"))


def compose(group, name, epochs=50, overrides=()):
    """One option of a config group, built as the program builds it, with the run's length and its space's constants.

    name: the option, `option@space` for another space than NAS-Bench-201.
    """
    option, _, space = name.partition("@")
    config = OmegaConf.create(compose_text(group, option, space or "nb201", tuple(overrides)))
    config.trainer.max_epochs = epochs
    return hydra.utils.instantiate(OmegaConf.to_container(config, resolve=True)[group], _convert_="all")


# each in a space that has its constants: those of the README are for S1 to S4
SCHEDULES = [f"{option}@s1" if option.endswith("_readme") else option for option in options("sched")]


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 20, 50, 250])
def test_every_sched_yaml_gives_positive_temperatures_for_any_length_of_run(epochs):
    for name in SCHEDULES:
        schedule = compose("sched", name, epochs)
        assert schedule.initial().temperature == (10 if name.endswith("_gdas") else 1)
        for state in run(schedule, epochs):
            assert 1e-5 < state.temperature <= schedule.initial().temperature, name


def test_the_papers_relaxations_are_the_variants_of_their_names():
    expected = {
        "softmax": Softmax(),
        "sn_s100": SnSoftmax(scale=100.0),
        "sn_st1": SnSoftmax(second_temperature=1.0),
    }
    assert {name: compose("relaxation", name) for name in expected} == expected


def test_yaml_numbers_are_the_classes_defaults():
    assert compose("sched", "constant") == Constant()
    assert compose("sched", "linear") == Linear(epochs=50)
    assert compose("sched", "exponential") == Exponential(epochs=50)
    assert compose("sched", "cyclic@darts") == Cyclic(epochs=50)
    assert compose("sched", "cyclic_linear") == CyclicLinear(epochs=50)
    assert compose("sched", "edd") == EntropyDynamicDecay(epochs=50)


def test_presets_differ_from_their_parents_only_as_published():
    edd, pcd = EntropyDynamicDecay(epochs=50), Cyclic(epochs=50)
    released = replace(edd, warmup=0.1, entropy_cells="normal", e_a_value=0.000399, t0exp="one")
    expected = {
        "edd@darts": replace(edd, warmup=0.1),
        "edd_literal": replace(edd, **LITERAL, late_lambda_mult=1.0),
        "edd_untempered": replace(edd, entropy_source="untempered"),
        "edd_released": replace(edd, lam=0.24, entropy_cells="normal", e_a_value=0.000399, t0exp="one"),
        "edd_released@darts": replace(released, lam=0.06),
        "edd_released@s3": replace(released, lam=0.12),
        "cyclic": replace(pcd, warmup=0.1),
        "edd_untempered@s2": replace(edd, warmup=0.1, entropy_source="untempered"),
        "edd@s2": replace(edd, warmup=0.1),
        "cyclic@s2": pcd,
    }
    for i, (lam, decay) in enumerate([(0.12, 0.1), (0.24, 0.11), (0.48, 0.12), (0.96, 0.13)], start=1):
        expected[f"edd_readme@s{i}"] = replace(edd, warmup=0.1, lam=lam)
        expected[f"cyclic_readme@s{i}"] = replace(pcd, decay=decay)
    assert {name: compose("sched", name) for name in expected} == expected


def released(space, observations):
    """methods' authors' programs, space by space: t after each epoch's update."""
    warmup = 10 if space == "nb201" else 5
    decay, k, t, found = 0.0, 0, 1.0, []
    for epoch, observed in enumerate(observations):
        if epoch == warmup or (epoch > warmup and (epoch % 5 == 0 or epoch >= 40)):
            if space == "nb201":
                strength = 0.04 * sum(observed.entropy["cell"])
            else:
                strength = {"darts": 0.06, "s1": 0.12, "s4": 0.12}[space] * sum(observed.entropy["normal"]) / 14
            k += 1
            decay = 0.5 * decay + 0.5 * strength * (2 if epoch >= 40 else 1)
            t = 0.000399 / math.log(1 + k * decay)
        found.append(t)
    return found


@pytest.mark.parametrize("space", ["nb201", "darts", "s1", "s4"])
def test_edd_released_is_the_authors_program_of_every_space(space):
    observations = random_observations(50, cells=("normal", "reduce"))
    if space == "nb201":
        observations = [
            replace(each, entropy={"cell": each.entropy["normal"][:6]}, entropy_at_1={}) for each in observations
        ]
    ours = [state.temperature for state in run(compose("sched", f"edd_released@{space}"), 50, observations)]
    assert ours == pytest.approx(released(space, observations), rel=1e-12)


def test_numbers_on_the_command_line_keep_their_kind():
    one = compose("sched", "edd", overrides=("sched.interval=1", "sched.warmup=7"))
    whole = compose("sched", "edd", overrides=("sched.interval=1.0", "sched.warmup=7", "sched.late_start=null"))
    assert [e for e in range(50) if one.updates_at(e)] == list(range(7, 50))
    assert [e for e in range(50) if whole.updates_at(e)] == [7]


# ---- constant, linear, exponential ----


def test_constant_stays():
    assert temperatures(Constant(temperature=0.3), 4) == [0.3] * 4


def test_linear_passes_the_papers_example():
    expected = [1, 0.75025, 0.5005, 0.25075, 0.001]
    assert temperatures(Linear(epochs=5, t0=1.0, t_end=1e-3), 5) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("e_a_value", "expected", "decay"),
    [
        (4e-4, [1, 0.0034413984, 0.0018179454, 0.0012736518, 0.001], 0.1228561544),
        (E, [1, 0.0034427178, 0.001818373, 0.0012737906, 0.001], 0.1224621444),
    ],
)
def test_exponential_passes_the_papers_example(e_a_value, expected, decay):
    schedule = Exponential(epochs=5, t0=1.0, t_end=1e-3, e_a_value=e_a_value)
    assert temperatures(schedule, 5) == pytest.approx(expected, rel=2e-7)
    assert schedule.decay == pytest.approx(decay, rel=1e-9)
    assert schedule.at(2) == pytest.approx(0.0018, rel=0.02)


def test_exponential_moves_in_equal_steps_of_exp_e_over_t():
    states = temperatures(Exponential(epochs=50, t0=10.0, t_end=0.1), 50)
    levels = [math.exp(E / t) for t in states]
    steps = [b - a for a, b in itertools.pairwise(levels)]
    assert steps == pytest.approx([(math.exp(E / 0.1) - math.exp(E / 10)) / 49] * 49, rel=1e-9)
    assert states[-1] == pytest.approx(0.1, rel=1e-12)


# ---- cyclic ----

PCD = (0.0038233, 0.0020065, 0.0013991, 0.0010942, 0.0009104, 0.0007873, 0.0006988, 0.0006321, 0.0005798, 0.0005378)
PCD_CYCLE = (1.0, *PCD[:5], *PCD[3::-1])
LPCD_CYCLE = (1.0, 0.8002, 0.6004, 0.4006, 0.2008, 0.0010, 0.2008, 0.4006, 0.6004, 0.8002)
LPCD_FINAL = (0.90005, 0.80010, 0.70015, 0.60020, 0.50025, 0.40030, 0.30035, 0.20040, 0.10045, 0.00050)


@pytest.mark.parametrize(
    ("preset", "overrides", "warmup", "cycle", "final"),
    [
        ("cyclic", (), 5, PCD_CYCLE, PCD),
        ("cyclic", ("experiment=table7_c100", "method=pcd"), 10, PCD_CYCLE, PCD),
        ("cyclic@darts", (), 0, PCD_CYCLE, PCD),
        ("cyclic_readme@s2", (), 0, PCD_CYCLE, PCD),
        ("cyclic_linear", (), 0, LPCD_CYCLE, LPCD_FINAL),
        ("cyclic_linear", ("sched.warmup=0.2",), 10, LPCD_CYCLE, LPCD_FINAL),
    ],
)
def test_cyclic_presets_give_the_released_lists_at_50_epochs(preset, overrides, warmup, cycle, final):
    expected = [1.0] * warmup + [cycle[epoch % 10] for epoch in range(warmup, 40)] + list(final)
    assert temperatures(compose("sched", preset, overrides=overrides), 50) == pytest.approx(expected, abs=5.1e-8)


@pytest.mark.parametrize(
    ("preset", "t1", "t5", "t10"),
    [
        ("cyclic_readme@s1", 0.0041863, 0.0009841, 0.0005756),
        ("cyclic_readme@s3", 0.0035207, 0.0008489, 0.0005061),
        ("cyclic_readme@s4", 0.0032647, 0.0007968, 0.0004790),
    ],
)
def test_cyclic_decay_strengths_give_the_tabulated_temperatures(preset, t1, t5, t10):
    ours = temperatures(compose("sched", preset), 50)
    assert [ours[1], ours[5], ours[49]] == pytest.approx([t1, t5, t10], abs=5.1e-8)


@pytest.mark.parametrize("kind", [Cyclic, CyclicLinear])
@pytest.mark.parametrize("epochs", [20, 25, 100])
def test_a_cycle_of_another_length_has_the_same_peaks_and_lows(kind, epochs):
    ours, at_50 = temperatures(kind(epochs=epochs), epochs), temperatures(kind(epochs=50), 50)
    period = epochs // 5
    for start in range(0, 4 * period, period):
        assert ours[start] == 1
        assert min(ours[start : start + period]) == pytest.approx(at_50[5], rel=1e-12)
    assert ours[-1] == pytest.approx(at_50[49], rel=1e-12)


# ---- EDD ----

# Worked by hand in float64 from eq. 13-15: H = ln 5, E = 4e-4, t_0 = 1; k -> (d, t) for lambda = .06, .12, .24.
TRAJECTORY = """
0.048283 0.0084148 0.096566 0.0043221 0.193133 0.0022609
0.072425 0.0029494 0.144849 0.0015704 0.289699 0.0008747
0.084495 0.0017680 0.168991 0.0009747 0.337982 0.0005712
0.090531 0.0012931 0.181062 0.0007339 0.362124 0.0004466
0.093549 0.0010417 0.187097 0.0006055 0.374194 0.0003792
0.095057 0.0008858 0.190115 0.0005254 0.380230 0.0003366
0.095812 0.0007790 0.191624 0.0004701 0.383247 0.0003068
0.096189 0.0007006 0.192378 0.0004292 0.384756 0.0002846
0.096378 0.0006402 0.192755 0.0003975 0.385511 0.0002671
0.096472 0.0005921 0.192944 0.0003721 0.385888 0.0002530
"""


@pytest.mark.parametrize(("column", "lam"), enumerate([0.06, 0.12, 0.24]))
def test_edd_at_constant_entropy_follows_the_worked_trajectory(column, lam):
    schedule = EntropyDynamicDecay(epochs=50, lam=lam, e_a_value=4e-4, entropy_source="untempered", **LITERAL)
    table = [[float(x) for x in line.split()][2 * column : 2 * column + 2] for line in TRAJECTORY.split("\n")[1:-1]]
    states = run(schedule, 11)[1:]
    assert [state.updates for state in states] == list(range(1, 11))
    assert [state.decay for state in states] == pytest.approx([d for d, _ in table], abs=5.1e-7)
    assert [state.temperature for state in states] == pytest.approx([t for _, t in table], abs=5.1e-8)


@pytest.mark.parametrize(
    ("options", "first", "tenth"),
    [
        ({"e_a_value": 0.000399, "t0exp": "one"}, (0.0084617, 0.0043283, 0.0022596), (0.0005908, 0.0003712, 0.0002524)),
        ({}, (0.0083927, 0.0043107, 0.0022550), (0.0005905, 0.0003711, 0.0002524)),
    ],
)
def test_edd_with_other_scale_constants_gives_the_tabulated_ends(options, first, tenth):
    for lam, t1, t10 in zip((0.06, 0.12, 0.24), first, tenth, strict=True):
        ours = temperatures(EntropyDynamicDecay(epochs=50, lam=lam, **options, **LITERAL), 11)
        assert [ours[1], ours[10]] == pytest.approx([t1, t10], abs=5.1e-8)


@pytest.mark.parametrize(
    ("preset", "epochs", "expected"),
    [
        ("edd", 50, [10, 15, 20, 25, 30, 35, *range(40, 50)]),
        ("edd_released", 50, [10, 15, 20, 25, 30, 35, *range(40, 50)]),
        ("edd@darts", 50, [5, 10, 15, 20, 25, 30, 35, *range(40, 50)]),
        ("edd@s3", 50, [5, 10, 15, 20, 25, 30, 35, *range(40, 50)]),
        ("edd_literal", 50, list(range(1, 50))),
        ("edd", 20, [4, 6, 8, 10, 12, 14, 16, 17, 18, 19]),
        ("edd", 25, [5, 8, 10, 13, 15, 18, 20, 21, 22, 23, 24]),
        ("edd", 3, [1, 2]),
        ("edd", 2, [1]),
        ("edd", 1, []),
    ],
)
def test_edd_updates_at_the_published_epochs_and_at_their_fractions_of_another_run(preset, epochs, expected):
    states = run(compose("sched", preset, epochs), epochs)
    counts = [0, *(state.updates for state in states)]
    assert [epoch for epoch in range(epochs) if counts[epoch + 1] > counts[epoch]] == expected
    assert counts[-1] == len(expected)
    assert all(state.temperature == 1 for state in states[: expected[0] if expected else epochs])


@pytest.mark.parametrize("epochs", [10, *range(15, 130), 600])
def test_edd_updates_seven_times_up_to_the_late_phase_however_long_the_run(epochs):
    schedule = EntropyDynamicDecay(epochs=epochs)
    late = math.floor(0.8 * epochs + 0.5)
    assert sum(schedule.updates_at(epoch) for epoch in range(late + 1)) == 7
    assert all(schedule.updates_at(epoch) for epoch in range(late, epochs))


def test_edd_constants_in_epochs_equal_the_fractions_at_50_epochs():
    observations = random_observations(50)
    in_epochs = EntropyDynamicDecay(epochs=50, warmup=10, interval=5, late_start=40)
    assert run(in_epochs, 50, observations) == run(EntropyDynamicDecay(epochs=50), 50, observations)


def reference_edd(options, update_epochs, observations):
    """Eq. 13-15 line by line; update_epochs are given, not computed."""
    d, k, t, states = 0.0, 0, 1.0, []
    for epoch, seen in enumerate(observations):
        if epoch in update_epochs:
            entropies = seen.entropy_at_1 if options.get("entropy_source") == "untempered" else seen.entropy
            edges = list(entropies["normal"])
            if options.get("entropy_cells") != "normal":
                edges += entropies["reduce"]
            h = sum(edges) if options.get("entropy_reduce") == "sum" else sum(edges) / len(edges)
            if epoch < 40 and h < options.get("reheat_below", 0):
                d, k, t = 0.0, 0, 1.0
                states.append((t, d, k))
                continue
            lam = options.get("lam", 0.06)
            if epoch >= 40:
                lam = lam * options.get("late_lambda_mult", 2)
            rho = options.get("rho", 0.5)
            d = lam * (1 - rho) * h + rho * d
            k += 1
            e = seen.positive_alpha if options.get("e_a") == "reestimate" else options.get("e_a_value", E)
            start = 1 if options.get("t0exp") == "one" else math.exp(e / 1.0)
            t = e / math.log(start + (epoch if options.get("k_counts") == "epochs" else k) * d)
        states.append((t, d, k))
    return states


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lam": 0.24, "rho": 0.9},
        {"rho": 0.0},
        {"late_lambda_mult": 1.0},
        {"entropy_source": "untempered"},
        {"entropy_reduce": "sum", "lam": 0.06 / 28},
        {"entropy_cells": "normal"},
        {"e_a": "reestimate"},
        {"e_a_value": 4e-4},
        {"t0exp": "one"},
        {"k_counts": "epochs"},
        {"reheat_below": 1.0},
        {"e_a": "reestimate", "t0exp": "one", "entropy_cells": "normal", "entropy_reduce": "sum", "k_counts": "epochs"},
    ],
    ids=str,
)
def test_edd_equals_the_formulas_under_every_reading(options):
    observations = random_observations(50, seed=3)
    expected = reference_edd(options, {10, 15, 20, 25, 30, 35, *range(40, 50)}, observations)
    ours = run(EntropyDynamicDecay(epochs=50, **options), 50, observations)
    for name, column in (("temperature", 0), ("decay", 1), ("updates", 2)):
        assert [getattr(state, name) for state in ours] == pytest.approx([row[column] for row in expected], rel=1e-11)
    if options:
        assert ours != run(EntropyDynamicDecay(epochs=50), 50, observations)


def test_the_sum_of_the_entropies_over_six_edges_needs_a_sixth_of_lambda():
    mean = EntropyDynamicDecay(epochs=50, lam=0.24)
    total = EntropyDynamicDecay(epochs=50, lam=0.04, entropy_reduce="sum")
    observations = [replace(seen, entropy={"cell": seen.entropy["normal"][:6]}) for seen in random_observations(50)]
    assert [s.temperature for s in run(total, 50, observations)] == pytest.approx(
        [s.temperature for s in run(mean, 50, observations)], rel=1e-12
    )


def test_normal_cells_alone_means_every_cell_in_a_space_without_that_name():
    observations = random_observations(50, cells=("cell",))
    ours = run(EntropyDynamicDecay(epochs=50, entropy_cells="normal"), 50, observations)
    assert ours == run(EntropyDynamicDecay(epochs=50), 50, observations)


def test_edd_halves_its_decay_and_warms_again_once_the_entropy_is_0():
    schedule = EntropyDynamicDecay(epochs=50, **LITERAL)
    observations = [constant_entropy(math.log(5) if epoch <= 4 else 0.0) for epoch in range(50)]
    states = run(schedule, 50, observations)
    for before, after in itertools.pairwise(states[4:]):
        assert after.decay == before.decay / 2
        assert after.temperature > before.temperature
    assert states[-1].temperature == pytest.approx(1, abs=1e-6)


def test_edd_without_decay_or_without_a_positive_alpha_keeps_its_temperature():
    for start in ({"t0exp": "one"}, {"t0exp": "exp"}):
        schedule = EntropyDynamicDecay(epochs=5, **LITERAL, **start)
        assert [state.temperature for state in run(schedule, 5, [constant_entropy(0.0)] * 5)] == [1.0] * 5
    schedule = EntropyDynamicDecay(epochs=5, e_a="reestimate", **LITERAL)
    negative = replace(constant_entropy(1.0), positive_alpha=0.0)
    assert [state.temperature for state in run(schedule, 5, [negative] * 5)] == [1.0] * 5
    _, first, *others = run(schedule, 5, [constant_entropy(1.0)] * 2 + [negative] * 3)
    assert first.temperature < 1
    assert {state.temperature for state in others} == {first.temperature}


def test_edd_never_exceeds_t0_even_where_exp_e_over_t0_overflows():
    observations = [replace(seen, positive_alpha=2.0) for seen in random_observations(50)]
    schedule = EntropyDynamicDecay(epochs=50, t0=1e-3, e_a="reestimate", **LITERAL)
    assert all(state.temperature == pytest.approx(1e-3) for state in run(schedule, 50, observations))
    assert all(state.temperature <= 1 for state in run(EntropyDynamicDecay(epochs=50), 50, random_observations(50)))


def test_a_schedule_goes_on_from_a_saved_state_as_if_never_stopped():
    observations = random_observations(50, cells=("cell",))
    for name in SCHEDULES:
        schedule = compose("sched", name)
        whole = run(schedule, 50, observations)
        state = whole[22]
        for epoch in range(23, 50):
            state = schedule.update(epoch, observations[epoch], state)
        assert state == whole[-1], name


# ---- bad input ----

BAD = [
    (EntropyDynamicDecay, {"lam": 0}, "sched.lam must be a positive number, got 0."),
    (EntropyDynamicDecay, {"lam": -0.06}, "sched.lam must be a positive number, got -0.06."),
    (EntropyDynamicDecay, {"lam": math.nan}, "sched.lam must be a positive number, got nan."),
    (EntropyDynamicDecay, {"lam": math.inf}, "sched.lam must be a positive number, got inf."),
    (EntropyDynamicDecay, {"lam": "abc"}, "sched.lam must be a positive number, got 'abc'."),
    (EntropyDynamicDecay, {"lam": None}, "sched.lam must be a positive number, got None."),
    (EntropyDynamicDecay, {"lam": True}, "sched.lam must be a positive number, got True."),
    (EntropyDynamicDecay, {"t0": 0.0}, "sched.t0 must be a positive number, got 0.0."),
    (EntropyDynamicDecay, {"rho": 1.0}, "sched.rho must be a number in [0, 1), got 1.0."),
    (EntropyDynamicDecay, {"rho": math.nan}, "sched.rho must be a number in [0, 1), got nan."),
    (EntropyDynamicDecay, {"rho": "half"}, "sched.rho must be a number in [0, 1), got 'half'."),
    (EntropyDynamicDecay, {"e_a_value": 0}, "sched.e_a_value must be a positive number, got 0."),
    (EntropyDynamicDecay, {"reheat_below": 0}, "sched.reheat_below must be a positive number, got 0."),
    (EntropyDynamicDecay, {"late_lambda_mult": -1}, "sched.late_lambda_mult must be a positive number, got -1."),
    (EntropyDynamicDecay, {"warmup": -1}, "sched.warmup must be a number of epochs such as 5"),
    (EntropyDynamicDecay, {"warmup": math.nan}, "got nan"),
    (EntropyDynamicDecay, {"warmup": 10.0}, "sched.warmup=10.0 is no fraction of the run; for epochs write 10."),
    (EntropyDynamicDecay, {"warmup": 60}, "sched.warmup=60 epochs are more than the run's 50"),
    (EntropyDynamicDecay, {"interval": 0}, "sched.interval=0 is no distance"),
    (EntropyDynamicDecay, {"interval": "5"}, "sched.interval must be a number of epochs such as 5"),
    (EntropyDynamicDecay, {"late_start": 400}, "sched.late_start=400 epochs are more than the run's 50"),
    (EntropyDynamicDecay, {"entropy_source": "temperd"}, "sched.entropy_source must be tempered or untempered"),
    (EntropyDynamicDecay, {"entropy_reduce": "max"}, "sched.entropy_reduce must be mean or sum, got 'max'."),
    (EntropyDynamicDecay, {"entropy_cells": None}, "sched.entropy_cells must be all or normal, got None."),
    (EntropyDynamicDecay, {"e_a": 4e-4}, "sched.e_a must be fixed or reestimate, got 0.0004."),
    (EntropyDynamicDecay, {"t0exp": 1}, "sched.t0exp must be exp or one, got 1."),
    (EntropyDynamicDecay, {"k_counts": "epoch"}, "sched.k_counts must be updates or epochs, got 'epoch'."),
    (EntropyDynamicDecay, {"epochs": None}, "sched.epochs must be a whole number of at least 1, got None"),
    (EntropyDynamicDecay, {"epochs": 0}, "sched.epochs must be a whole number of at least 1, got 0"),
    (Linear, {"epochs": -1}, "sched.epochs must be a whole number of at least 1, got -1; set trainer.max_epochs."),
    (Linear, {"t_end": 0}, "sched.t_end must be a positive number, got 0."),
    (Linear, {"t0": -1.0}, "sched.t0 must be a positive number, got -1.0."),
    (Exponential, {"t_end": 2.0}, "sched.t_end=2.0 must not exceed sched.t0=1.0"),
    (Exponential, {"t_end": 1e-7}, "sched.t_end=1e-07 is too small"),
    (Exponential, {"e_a_value": "4e"}, "sched.e_a_value must be a positive number, got '4e'."),
    (Cyclic, {"decay": 0.0}, "sched.decay must be a positive number, got 0.0."),
    (Cyclic, {"period": 1}, "sched.period=1 has no room"),
    (Cyclic, {"period": 0.0}, "sched.period=0.0 has no room"),
    (Cyclic, {"final_start": 51}, "sched.final_start=51 epochs are more than the run's 50"),
    (CyclicLinear, {"cycle_end": 0}, "sched.cycle_end must be a positive number, got 0."),
    (CyclicLinear, {"epochs": 1.5}, "sched.epochs must be a whole number of at least 1, got 1.5"),
]


@pytest.mark.parametrize(("kind", "bad", "named"), BAD, ids=[f"{k.__name__}-{b}" for k, b, _ in BAD])
def test_a_bad_setting_is_refused_in_one_sentence_by_its_hydra_key(kind, bad, named):
    with pytest.raises(UserError) as error:
        kind(**{"epochs": 50} | bad)
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_a_temperature_of_0_is_refused():
    with pytest.raises(UserError, match=r"sched\.temperature must be a positive number, got 0"):
        Constant(temperature=0)
