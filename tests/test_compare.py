"""`reports compare`: every number against scipy or a slow formula, which runs are compared, and what is refused."""

import csv
import io
import itertools
import json
import math
import statistics

import pytest
from scipy import stats

from nas_lightning.errors import UserError
from nas_lightning.reports.__main__ import main
from nas_lightning.reports.comparison import (
    TABLE_BEST,
    Metric,
    anytime,
    best_and_last,
    choose_metric,
    correlations,
    differences,
    holm,
    kruskal,
    smallest_p,
    summarise,
)
from nas_lightning.reports.groups import Group, comparisons, find_groups, value_of
from nas_lightning.reports.runs import find_runs
from tests.conftest import ROOT
from tests.test_reports import ALL_FIVE, write_run

RESULTS = ROOT / "results"
SCORE = Metric("table/cifar10_test_200")
TABLE5 = str(RESULTS / "table5_reduced")


def sample(tmp_path, name, values, seeds=None, lam=0.12, **changes):
    """A group of runs with these scores."""
    for seed, value in zip(seeds or range(len(values)), values, strict=True):
        config = {"seed": seed, "sched": {"lam": lam}, "data": {"batch_size": 64}} | changes.get("config", {})
        overrides = [f"sched.lam={lam}", *changes.get("overrides", ())]
        kept = {key: value for key, value in changes.items() if key not in ("config", "overrides")}
        folder = tmp_path / name / f"lam={lam},seed={seed}"
        write_run(folder, seed, name, overrides, config, scores={"cifar10_test_200": value}, **kept)
    return Group(name, tuple(find_runs(tmp_path / name)))


X, Y = [93.1, 92.4, 91.0, 93.8, 92.9], [90.2, 92.6, 88.1, 91.5, 90.9]


# --- numbers


def test_tests_are_those_of_scipy_on_the_runs_values(tmp_path):
    (found,) = differences([sample(tmp_path, "a", X), sample(tmp_path, "b", Y)], SCORE)
    assert found.mean == pytest.approx(statistics.fmean(X) - statistics.fmean(Y))
    welch = stats.ttest_ind(X, Y, equal_var=False)
    assert found.welch == pytest.approx(welch.pvalue)
    assert found.interval == pytest.approx(tuple(welch.confidence_interval(0.95)))
    assert found.mann_whitney == pytest.approx(stats.mannwhitneyu(X, Y).pvalue)
    assert found.paired_t == pytest.approx(stats.ttest_rel(X, Y).pvalue)
    assert found.wilcoxon == pytest.approx(stats.wilcoxon(X, Y).pvalue)
    assert (found.pairs, found.won) == (5, 4)


def test_an_exact_mann_whitney_p_counts_the_orders_of_the_runs(tmp_path):
    (found,) = differences([sample(tmp_path, "a", X[:3]), sample(tmp_path, "b", Y[:3])], SCORE)
    values = X[:3] + Y[:3]

    def wins(chosen):
        return sum(values[i] > values[j] for i in chosen for j in range(6) if j not in chosen)

    orders = [wins(chosen) for chosen in itertools.combinations(range(6), 3)]
    extreme = max(orders[0], 9 - orders[0])
    assert found.mann_whitney == pytest.approx(2 * sum(each >= extreme for each in orders) / len(orders))
    assert smallest_p(3, 3) == pytest.approx(2 * sum(each == 9 for each in orders) / len(orders))


def test_intervals_of_the_mean_are_students_and_scipys_bootstrap(tmp_path):
    found = summarise(sample(tmp_path, "a", X), SCORE)
    half = stats.t.ppf(0.975, 4) * statistics.stdev(X) / math.sqrt(5)
    assert found.t == pytest.approx((statistics.fmean(X) - half, statistics.fmean(X) + half))
    expected = stats.bootstrap((X,), lambda x, axis: x.mean(axis=axis), method="BCa", rng=1).confidence_interval
    assert found.bca == pytest.approx(
        (expected.low, expected.high), abs=0.1
    )  # another seed: within the resampling's noise
    assert found.regret == pytest.approx(94.37 - statistics.fmean(X))
    assert summarise(sample(tmp_path, "b", X), SCORE).bca == found.bca  # the same runs, the same interval


def test_the_probability_of_improvement_counts_pairs_and_its_interval_resamples_both(tmp_path):
    y = [*Y[:4], X[2]]  # one tie
    (found,) = differences([sample(tmp_path, "a", X), sample(tmp_path, "b", y)], SCORE)
    pairs = [(a > b) + 0.5 * (a == b) for a in X for b in y]
    assert found.improvement == pytest.approx(statistics.fmean(pairs))
    import numpy as np

    rng = np.random.default_rng(7)
    resampled = []
    for _ in range(4_000):
        a, b = rng.choice(X, 5), rng.choice(y, 5)
        resampled.append(statistics.fmean(float((p > q) + 0.5 * (p == q)) for p in a for q in b))
    assert found.improvement_interval == pytest.approx(tuple(np.percentile(resampled, [2.5, 97.5])), abs=0.05)


def test_settings_that_differ_within_both_groups_are_strata_and_pairs_share_them(tmp_path):
    """Among runs of one lambda a always wins; pooled, b's high lambda beats a's low one."""
    groups = []
    for name, shift in (("a", 1.0), ("b", 0.0)):
        for lam, level in ((0.06, 80.0), (0.24, 90.0)):
            sample(tmp_path, name, [level + shift + 0.1 * seed for seed in range(3)], lam=lam)
        groups.append(Group(name, tuple(find_runs(tmp_path / name))))
    (found,) = differences(groups, SCORE)
    assert (found.improvement, found.pairs, found.won) == (1.0, 6, 6)
    unlike = Group("c", tuple(run for run in groups[1].runs if "lam=0.24" in str(run.folder)))
    (found,) = differences([groups[0], unlike], SCORE)
    assert found.improvement == 0.5  # one stratum where the settings are not the same
    assert found.pairs == 3


def test_only_runs_of_the_same_seed_are_paired(tmp_path):
    a = sample(tmp_path, "a", X[:3], seeds=(0, 1, 2))
    (found,) = differences([a, sample(tmp_path, "b", Y[:3], seeds=(1, 2, 3))], SCORE)
    assert found.pairs == 2
    assert found.paired_t == pytest.approx(stats.ttest_rel(X[1:3], Y[:2]).pvalue)
    (found,) = differences([a, sample(tmp_path, "c", Y[:3], seeds=(5, 6, 7))], SCORE)
    assert (found.pairs, found.paired_t, found.wilcoxon, found.paired_mean) == (0, None, None, None)
    assert found.welch is not None


def test_single_and_constant_values_have_no_test_and_no_interval(tmp_path):
    one, many = sample(tmp_path, "one", [90.0]), sample(tmp_path, "many", X)
    constant, other = sample(tmp_path, "constant", [90.0] * 3), sample(tmp_path, "other", [91.0] * 3)
    assert (summarise(one, SCORE).t, summarise(one, SCORE).bca) == (None, None)
    assert (summarise(constant, SCORE).t, summarise(constant, SCORE).bca) == (None, None)
    for pair in differences([one, many], SCORE) + differences([constant, constant], SCORE):
        assert (pair.welch, pair.paired_t, pair.wilcoxon) == (None, None, None)
    (found,) = differences([one, many], SCORE)
    assert (found.improvement, found.improvement_interval, found.interval, found.mann_whitney) == (None,) * 4
    (found,) = differences([constant, other], SCORE)
    assert found.mann_whitney is not None


def test_holms_correction_is_the_step_down_of_the_paper():
    p = [0.01, None, 0.04, 0.03, 0.005]

    def slow(index):
        """The largest over the p values up to this one of p times how many are not smaller."""
        known = [each for each in p if each is not None]
        below = [each for each in known if each <= p[index]]
        return min(1.0, max(each * sum(other >= each for other in known) for each in below))

    assert holm(p) == [pytest.approx(slow(0)), None, *(pytest.approx(slow(i)) for i in (2, 3, 4))]
    assert holm(p)[4] == pytest.approx(0.02)
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_tables_best_are_those_of_the_packages_table():
    import numpy as np

    from nas_lightning.tabular.nb201 import OWN, read_sources

    table = read_sources([OWN])
    found = {
        name: round(float(best), 2) for name, best in zip(table.columns, np.nanmax(table.accuracy, 0), strict=True)
    }
    assert found == TABLE_BEST


def test_correlations_of_epochs_and_runs_are_scipys(tmp_path):
    groups = [sample(tmp_path, "a", X), sample(tmp_path, "b", Y)]
    found = {(each.what, each.name): each for each in correlations(groups, Metric("skip_connects"), SCORE)}
    assert all("over runs" not in what for what, _ in found)  # all end with as many skip connections: nothing to rank
    metrics = groups[0].runs[0].metrics
    tau = stats.kendalltau(metrics["skip_connects"], metrics["table/cifar10_test_200"]).statistic
    within = found["epochs, within a run", "all"]
    assert (within.n, within.kendall_p) == (10, None)
    assert within.kendall.mean == pytest.approx(tau)
    everything = [run.metrics for group in groups for run in group.runs]
    pooled = [[value for each in everything for value in each[name]] for name in ("skip_connects", SCORE.name)]
    assert found["epochs of all runs", "all"].n == 60
    assert found["epochs of all runs", "all"].spearman.mean == pytest.approx(stats.spearmanr(*pooled).statistic)


def test_a_rank_correlation_of_few_runs_has_the_p_of_all_their_orders(tmp_path):
    entropies = [0.3, 0.1, 0.2, 0.5]
    for seed, (score, entropy) in enumerate(zip(X, entropies, strict=False)):
        write_run(tmp_path / str(seed), seed, scores={"cifar10_test_200": score}, final={"entropy": entropy})
    group = Group("a", tuple(find_runs(tmp_path)))
    found = correlations([group], Metric("entropy"), SCORE)[0]
    rho = stats.spearmanr(entropies, X[:4]).statistic
    orders = [stats.spearmanr(order, X[:4]).statistic for order in itertools.permutations(entropies)]
    assert found.spearman.mean == pytest.approx(rho)
    assert found.spearman_p == pytest.approx(sum(abs(each) >= abs(rho) - 1e-9 for each in orders) / len(orders))


def test_best_and_last_epoch_and_anytime_curves_are_those_of_metrics_csv(tmp_path):
    runs = []
    for seed, values in enumerate(([1, 5, 3], [2, 2, 8])):
        folder = write_run(tmp_path / str(seed), seed, epochs=3)
        lines = [f"{epoch},{value},{10 * (seed + 1)}" for epoch, value in enumerate(values)]
        (folder / "metrics.csv").write_text(
            "epoch,table/cifar10_test_200,processor_seconds\n" + "\n".join(lines) + "\n"
        )
    runs = find_runs(tmp_path)
    found = best_and_last("all", runs, SCORE)
    assert (found.best.mean, found.last.mean, found.lost.mean, found.epoch) == (6.5, 5.5, 1.0, 1.5)
    rows = anytime(Group("all", tuple(runs)), SCORE, "processor_seconds")
    assert [(epoch, s.n, s.mean, least, most, seconds) for epoch, s, least, most, seconds in rows] == [
        (0, 2, 1.5, 1, 2, 15.0), (1, 2, 3.5, 2, 5, 30.0), (2, 2, 5.5, 3, 8, 45.0),
    ]  # fmt: skip


def test_a_committed_study_has_the_numbers_of_scipy():
    """lambda in table 5, reduced: what its README says of the entropy, and Kruskal and Wallis' test."""
    groups, _ = find_groups([TABLE5], [], "sched.lam", "search")
    assert [group.name for group in groups] == ["lam=0.06", "lam=0.12", "lam=0.24"]
    values = [[run.report["final"]["entropy"] for run in group.runs] for group in groups]
    assert [f"{statistics.fmean(each):.3f}" for each in values] == ["0.085", "0.038", "0.008"]
    assert kruskal(groups, Metric("entropy")) == pytest.approx(stats.kruskal(*values).pvalue)
    found = {(pair.first, pair.second): pair for pair in differences(groups, Metric("entropy"))}
    pair = found["lam=0.06", "lam=0.24"]
    assert pair.welch == pytest.approx(stats.ttest_ind(values[0], values[2], equal_var=False).pvalue)
    assert pair.pairs == 9  # of one relaxation and one seed


# --- which runs


def test_groups_are_folders_patterns_conditions_or_values(tmp_path):
    for name in ("a", "b"):
        for lam in (0.06, 0.24):
            sample(tmp_path, name, X[:2], lam=lam)

    def names(*texts, runs=(), by=None):
        groups, _ = find_groups([str(text) for text in texts], runs, by, "search")
        return {group.name.replace(f"{tmp_path}/", ""): len(group.runs) for group in groups}

    assert names(tmp_path / "a", tmp_path / "b") == {"a": 4, "b": 4}  # without the folder that both are in
    assert names(tmp_path / "*" / "lam=0.06*", tmp_path / "*" / "lam=0.24*") == {"lam=0.06*": 4, "lam=0.24*": 4}
    assert names("method=a", "method=b,sched.lam=0.060", runs=[tmp_path]) == {
        "method=a": 4,
        "method=b,sched.lam=0.060": 2,
    }
    assert names(tmp_path, by="method") == {"a": 4, "b": 4}
    assert names(runs=[tmp_path], by="sched.lam") == {"lam=0.06": 4, "lam=0.24": 4}
    assert names(tmp_path / "a", "method=b", runs=[tmp_path], by="method") == {"a": 4, "b": 4}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("{a}",), "is one group (2 runs), a comparison needs two; name another, or split it with --by KEY"),
        (("{a}", "{a}"), "is named twice"),
        (("{a}", "{a}/../*"), "make the groups disjoint"),
        (
            ("{a}", "{empty}"),
            "holds no finished search; give a folder or pattern of finished ones, or --metric test_accuracy",
        ),
        (("{a}", "{all}/method=c*"), "/method=c* matches no folder; correct the pattern."),
        (("{a}", "nowhere"), "nowhere is no folder, no pattern of one and no condition such as method=edd"),
        (("method=a", "method=b"), "method=a: of which runs? Give a folder as a group, or --runs FOLDER."),
        (("method=a", "method=c", "--runs", "{all}"), "has method=c; they have a, b."),
        (("method=a", "sched.mal=1", "--runs", "{all}"), "has a setting sched.mal"),
        (("{all}", "--by", "sched.mal"), "none of these runs has a setting sched.mal"),
        (
            ("{all}", "--by", "method", "--metric", "nothing"),
            "no run of a has nothing; give --metric one of discrete_",
        ),
        (("{all}", "--by", "method", "--predictor", "nothing"), "no run of a has nothing; give --predictor one of"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(tmp_path, capsys, arguments, sentence):
    sample(tmp_path / "all", "a", X[:2])
    sample(tmp_path / "all", "b", Y[:2])
    (tmp_path / "empty").mkdir()
    places = {"a": tmp_path / "all" / "a", "all": tmp_path / "all", "empty": tmp_path / "empty"}
    assert main(["compare", *(argument.format(**places) for argument in arguments)]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert sentence in errors
    assert errors.count("\n") == 1


def test_runs_of_different_protocols_are_apart_and_said(tmp_path, capsys):
    for images in (100, 200):
        for name, values in (("a", X), ("b", Y)):
            place = tmp_path / "runs" / str(images)
            sample(place, name, values[: 2 + images // 200], config={"data": {"train_images": images}})
    sample(tmp_path / "runs" / "300", "a", X, config={"data": {"train_images": 300}})
    groups, _ = find_groups([str(tmp_path / "runs")], [], "method", "search")
    found, notes = comparisons(groups, {"method"})
    assert [(each.protocol, [len(group.runs) for group in each.groups]) for each in found] == [
        ("data.train_images=100", [2, 2]),
        ("data.train_images=200", [3, 3]),
    ]
    assert notes == [
        "split: 2 comparisons, of runs of one protocol each",
        "left out, no other group has its protocol: a: 5 runs with data.train_images=300",
    ]
    assert (
        main(["compare", str(tmp_path / "runs"), "--by", "method", "--format", "csv", "-o", str(tmp_path / "out")]) == 0
    )
    first, *_ = csv.DictReader(io.StringIO(capsys.readouterr().out.partition("\n\n")[0]))
    assert (first["protocol"], first["group"], first["n"]) == ("data.train_images=100", "a", "2")
    written = {path.suffix: path.read_text() for path in (tmp_path / "out" / "2").glob("groups.*")}
    assert all("data.train\\_images=200" in text.replace("train_", r"train\_") for text in written.values())
    folders = [str(tmp_path / "runs" / str(images)) for images in (100, 200)]
    assert main(["compare", *folders]) == 1
    assert "no two groups share a protocol" in capsys.readouterr().err
    assert main(["compare", *folders, "--over", "data.train_images", "--format", "markdown"]) == 0
    assert "- pooled: " in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "runs"), "--by", "data.train_images"]) == 0


def test_a_key_that_some_reports_lack_tells_apart_those_that_have_it(tmp_path):
    without, eight, five = (
        sample(tmp_path, name, X, config={"space": space} if space else {})
        for name, space in (("without", {}), ("eight", {"C": 8}), ("five", {"C": 5}))
    )
    (found,), notes = comparisons([without, eight], set())
    assert found.protocol == ""
    assert notes == ["taken for the same, since reports of other versions do not tell: space.C"]
    with pytest.raises(UserError, match=r"without: 5 runs with space.C=not given; .* say --over space.C where"):
        comparisons([without, eight, five], set())


def test_runs_of_another_space_do_not_change_what_the_others_are_told_apart_by(tmp_path):
    small, large = (sample(tmp_path, name, X, config={"space": {"N": n}}) for name, n in (("small", 1), ("large", 5)))
    others = [
        sample(tmp_path, name, Y, space="darts", config={"space": {"num_cells": 8}}) for name in ("other", "more")
    ]
    with pytest.raises(UserError, match=r"small: 5 runs with space.N=1; large: 5 runs with space.N=5\); compare"):
        comparisons([small, large], set())
    (found,), notes = comparisons([small, large, *others], set())
    assert (found.protocol, [group.name for group in found.groups]) == ("space=darts", ["other", "more"])
    assert notes == [
        f"left out, no other group has its protocol: {name}: 5 runs with space=nb201, space.N={n}"
        for name, n in (("small", 1), ("large", 5))
    ]


def test_weights_rates_that_fall_otherwise_are_another_protocol(tmp_path):
    step = {"_target_": "torch.optim.lr_scheduler.MultiStepLR", "milestones": [10], "gamma": 0.125}
    groups = [
        sample(tmp_path, name, X, config={"model": {"weight_scheduler": scheduler, "weight_optimizer": {"lr": lr}}})
        for name, scheduler, lr in (("constant", None, 0.1), ("step", step, 0.1), ("low", None, 0.025))
    ]
    for other, key in ((1, "model.weight_scheduler"), (2, "model.weight_optimizer.lr")):
        with pytest.raises(UserError, match=f"--over {key} where"):
            comparisons([groups[0], groups[other]], set())
        assert len(comparisons([groups[0], groups[other]], {key})[0]) == 1
    runs = [run for group in groups[:2] for run in group.runs]
    assert sorted({value_of(run, "model.weight_scheduler") for run in runs}) == [
        "None", "{_target_:torch.optim.lr_scheduler.MultiStepLR,milestones:[10],gamma:0.125}"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mine", "theirs", "differs"),
    [
        ({"root": "a/cats"}, {"root": "b/flowers.zip"}, "images"),
        ({"root": "a/photos", "num_classes": 2}, {"root": "b/photos", "num_classes": 4}, "num_classes"),
        ({"root": "a/photos", "num_classes": 2}, {"root": "b/photos.zip", "num_classes": 2}, None),
    ],
)
def test_a_users_images_are_told_apart_by_their_name_and_classes(mine, theirs, differs, tmp_path):
    groups = []
    for name, images in (("mine", mine), ("theirs", theirs)):
        changes = {key: value for key, value in images.items() if key != "root"}
        config = {"dataset": {"root": images["root"]}}
        groups.append(sample(tmp_path, name, X, dataset="folder", config=config, **changes))
    if differs is None:
        assert len(comparisons(groups, set())[0]) == 1
    else:
        with pytest.raises(UserError, match=rf"no two groups share a protocol .*say --over {differs} where"):
            comparisons(groups, set())
        assert len(comparisons(groups, {differs})[0]) == 1


def test_a_group_without_a_run_of_the_metric_is_refused_and_one_with_fewer_is_said(tmp_path, capsys):
    sample(tmp_path, "a", X[:3])
    sample(tmp_path, "b", Y[:2])
    write_run(tmp_path / "b" / "without", 9, "b", ["sched.lam=0.12"], {"sched": {"lam": 0.12}}, scores={})
    assert main(["compare", str(tmp_path), "--by", "method", "--metric", SCORE.name, "--format", "markdown"]) == 0
    assert "missing: 2 of the 3 runs of b have a value" in capsys.readouterr().out


def broken_metrics(path, how):
    lines = path.read_text().splitlines(keepends=True)
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_text("".join(lines[:4]) + lines[4][:5])
    elif how == "text":
        path.write_text("".join(lines).replace("0.", "x", 1))
    else:
        path.write_bytes(b"" if how == "empty" else b"\xff\x00\xfe")


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("missing", "metrics.csv cannot be read"),
        ("cut", "metrics.csv has 3 epochs where the report beside it says 6; restore it or delete the run's folder."),
        ("text", "is not a number"),
        ("empty", "has no `epoch` column"),
        ("binary", "metrics.csv cannot be read"),
    ],
)
def test_a_run_whose_epochs_cannot_be_had_is_left_out_and_named(how, cause, tmp_path, capsys):
    sample(tmp_path, "a", X[:3])
    sample(tmp_path, "b", Y[:3])
    broken_metrics(tmp_path / "b" / "lam=0.12,seed=0" / "metrics.csv", how)
    assert main(["compare", str(tmp_path), "--by", "method", "--format", "csv"]) == 0
    output, errors = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(output)))
    assert [(row["group"], row["n"]) for row in rows[:2]] == [("a", "3"), ("b", "2")]
    (note,) = [line for line in errors.splitlines() if line.startswith("broken: ")]
    assert f"{tmp_path}/b/lam=0.12,seed=0" in note
    assert cause in note
    broken_metrics(tmp_path / "b" / "lam=0.12,seed=1" / "metrics.csv", how)
    broken_metrics(tmp_path / "b" / "lam=0.12,seed=2" / "metrics.csv", how)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert "b holds no finished search" in capsys.readouterr().err


def test_a_run_without_a_column_over_its_epochs_is_named_where_it_does_not_count(tmp_path, capsys):
    sample(tmp_path, "a", X[:3])
    sample(tmp_path, "b", Y[:3])
    path = tmp_path / "b" / "lam=0.12,seed=0" / "metrics.csv"
    path.write_text(path.read_text().replace("discrete_accuracy", "another_accuracy"))
    arguments = ["compare", str(tmp_path), "--by", "method", "--metric", "discrete_accuracy", "--predictor", "entropy"]
    assert main([*arguments, "--format", "markdown"]) == 0
    output = capsys.readouterr().out
    assert output.count("over the epochs in metrics.csv: not in what is over epochs") == 2
    assert "| b | 3 |" in output
    assert "| b | 2 |" in output
    assert f"{path.parent.name} without discrete_accuracy and entropy over the epochs" in output


def test_a_key_that_is_none_of_the_protocol_is_refused(tmp_path, capsys):
    sample(tmp_path, "a", X[:2])
    assert main(["compare", str(tmp_path), "--by", "method", "--over", "spce"]) == 1
    assert capsys.readouterr().err.startswith(
        "--over spce is no key of the protocol; give one of space, dataset, recipe, "
    )


def test_a_single_run_is_said_loudly_and_not_tested(tmp_path, capsys):
    sample(tmp_path, "a", X[:1])
    sample(tmp_path, "b", Y[:1])
    assert main(["compare", str(tmp_path), "--by", "method", "--format", "markdown"]) == 0
    output = capsys.readouterr().out
    assert "ONE RUN each of a, b: no interval and no test" in output
    assert "Welch t" not in output
    assert "P(A" not in output


# --- forms


def test_every_format_has_every_table_and_the_number_of_comparisons(tmp_path, capsys):
    for name, values in (("a", X), ("b", Y), ("c", X[::-1])):
        sample(tmp_path, name, values)
    for form in ("table", "markdown", "latex", "csv"):
        assert main(["compare", str(tmp_path), "--by", "method", "--format", form]) == 0
        output, errors = capsys.readouterr()
        said = output if form in ("table", "markdown") else errors
        assert "Holm's correction of each test for 3 comparisons" in said
    parts = [list(csv.DictReader(io.StringIO(part))) for part in output.split("\n\n")]
    assert [len(part) for part in parts] == [3, 3, 3, 4, 9]
    assert float(parts[2][0]["welch_p"]) == pytest.approx(stats.ttest_ind(X, Y, equal_var=False).pvalue)
    assert parts[2][0]["welch_comparisons"] == "3"


def test_the_folder_has_every_table_and_the_curves(tmp_path):
    for name, values in (("a", X), ("b", Y)):
        sample(tmp_path / "runs", name, values)
    assert main(["compare", str(tmp_path / "runs"), "--by", "method", "-o", str(tmp_path / "out")]) == 0
    tables = ("groups", "differences", "tests", "epochs", "correlations")
    expected = {f"{name}.{suffix}" for name in tables for suffix in ("md", "tex", "csv")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected | {
        f"anytime.{s}" for s in ("csv", "svg", "png")
    }
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "anytime.csv").read_text())))
    assert [(row["group"], row["epoch"]) for row in rows][:2] == [("a", "0"), ("a", "1")]
    assert rows[0]["seconds"] == ""  # these runs have no clock


def test_evaluations_are_compared_by_their_test_accuracy(capsys):
    trained = RESULTS / "darts_reduced" / "trained"
    patterns = [f"{trained}/space=s4,method={method}*" for method in ("edd", "darts")]
    assert main(["compare", *patterns, "--metric", "test_accuracy", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out.split("\n\n")[0])))
    assert [f"{float(row['mean']):.1f}" for row in rows] == ["47.7", "44.3"]


def test_edges_of_an_operation_are_counted_in_the_found_architecture(tmp_path):
    write_run(tmp_path / "a", genotype=json.loads(ALL_FIVE.to_json()))
    (run,) = find_runs(tmp_path)
    assert (Metric("edges/nor_conv_3x3").result(run), Metric("edges/skip_connect").result(run)) == (2.0, 1.0)
    with pytest.raises(
        UserError, match=r"has an edge for edges/skip_connects; give --metric one of edges/avg_pool_3x3, edg"
    ):
        choose_metric("edges/skip_connects", [Group("a", (run,))])
    without = find_runs(write_run(tmp_path / "b"))
    assert Metric("edges/none").result(without[0]) is None
    with pytest.raises(UserError, match="no run of b has edges/none; give --metric one of"):
        choose_metric("edges/none", [Group("b", tuple(without))])
