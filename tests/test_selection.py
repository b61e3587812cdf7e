"""Which epoch is the result of a search and when it ends early: on synthetic records, against obvious code."""

import dataclasses
import itertools
import json
import math

import pytest
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate

from nas_lightning.callbacks import MetricsFile, Progress
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.records.epochs import EpochRecord, epoch_records
from nas_lightning.selection import Last
from nas_lightning.selection.eigenvalue import BeforeEigenvalueJump
from nas_lightning.selection.epochs import Best
from nas_lightning.selection.ranking import FREE, AtStableRanking
from nas_lightning.selection.skips import AtSkips
from nas_lightning.stop import AfterEpochs, EigenvalueLimit, SkipLimit, StableRanking
from tests.axes import options, toy_choice
from tests.conftest import composed
from tests.test_search import interrupt, rows, weights


def record(epoch, skips=0, reduce_skips=0, **metrics):
    """An epoch of the DARTS space with so many skip connections in its cells."""

    def cell(count):
        names = ["skip_connect"] * count + ["sep_conv_3x3"] * (8 - count)
        return tuple(Choice(name, i % 2, 2 + i // 2) for i, name in enumerate(names))

    return EpochRecord(epoch, metrics, Genotype("darts", {"normal": cell(skips), "reduce": cell(reduce_skips)}))


def of(**columns):
    """One record an epoch; None is a missing value."""
    return [
        record(epoch, **{name: value for name, value in zip(columns, values, strict=True) if value is not None})
        for epoch, values in enumerate(zip(*columns.values(), strict=True))
    ]


def alphas(*best):
    """Alpha of an edge for each number: its operations in their order, the best one first."""
    names = ("none", "sep_conv_3x3", "skip_connect", "dil_conv_3x3", "sep_conv_5x5")
    return {
        f"alpha/normal/{edge}/{name}": float(name == names[first]) - 0.01 * place
        for edge, first in enumerate(best)
        for place, name in enumerate(names)
    }


CHOICES = [
    *(
        instantiate(composed(*toy_choice("selection", option), "run_dir=x").selection)
        for option in options("selection")
    ),
    Last(),
    AtSkips(before=True),
    Best(mode="min"),
]


@pytest.mark.parametrize("selection", CHOICES, ids=str)
def test_a_selection_is_one_of_the_epochs_and_says_which(selection):
    for counts in itertools.product((0, 1, 2, 3), repeat=3):
        records = of(skips=counts, discrete_accuracy=[0.1 * count for count in counts], hessian_eigenvalue=counts)
        records = [dataclasses.replace(one, alpha=alphas(one.epoch % 2)) for one in records]
        epoch, text = selection(records)
        assert epoch in {0, 1, 2}
        assert text.startswith("the architecture of ")
        assert f"epoch {epoch + 1}," in text or "the last epoch" in text


def test_the_last_is_the_last():
    assert Last()(of(skips=[0, 4, 1]))[0] == 2


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_best_is_the_first_of_the_best(mode):
    for values in itertools.product((0.1, 0.2, 0.3, None), repeat=4):
        if all(value is None for value in values):
            continue
        best = (max if mode == "max" else min)(value for value in values if value is not None)
        wanted = next(epoch for epoch, value in enumerate(values) if value == best)
        assert Best("valid_loss", mode)(of(valid_loss=values))[0] == wanted, values


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("values", list(itertools.permutations((math.nan, 0.1, 0.2))), ids=str)
def test_an_epoch_whose_value_is_nan_is_never_the_best(values, mode):
    best = 0.2 if mode == "max" else 0.1
    assert Best("valid_loss", mode)(of(valid_loss=values))[0] == values.index(best)


@pytest.mark.parametrize("records", [of(train_loss=[0.1, 0.2]), of(train_loss=[0.1, 0.2], accuracy=[None, math.nan])])
def test_a_column_that_is_nowhere_a_number_is_one_sentence(records):
    with pytest.raises(UserError, match=r"selection.metric=accuracy .*it has .*train_loss") as error:
        Best("accuracy")(records)
    assert "\n" not in str(error.value)


def test_a_column_that_no_epoch_has_is_refused_after_the_first_and_the_search_goes_on(toy, tmp_path):
    with pytest.raises(UserError, match=r"selection.metric=accuracy is no column .*it has "):
        toy("run", "selection=best_discrete", "selection.metric=accuracy")
    assert len(rows(tmp_path / "run")) == 1
    report = toy("run", "selection=best_discrete", "selection.metric=valid_loss", "selection.mode=min")
    assert len(rows(tmp_path / "run")) == report["epochs"] == 4


def test_a_column_that_comes_with_alphas_first_step_is_waited_for(toy):
    report = toy("run", "selection=best_discrete", "selection.metric=valid_loss", "model.arch_start=2")
    assert "of valid_loss" in report["selection"]


def test_a_column_that_a_callback_of_the_users_logs_late_is_waited_for(toy):
    own = "callbacks={_target_: tests.test_selection.LateColumn}"
    assert "the max of late" in toy("run", "selection=best_discrete", "selection.metric=late", f"+{own}")["selection"]


class LateColumn(pl.Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 2:
            pl_module.log("late", 1.0, logger=False)


def test_a_tables_column_is_refused():
    with pytest.raises(UserError, match="holds test accuracies"):
        Best("table/cifar10_test_200")


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_darts_plus_is_the_obvious_loop(limit):
    """The reduction cell's skip connections do not count."""
    for counts in itertools.product((0, 1, 2, 3), repeat=4):
        records = [record(epoch, count, reduce_skips=3) for epoch, count in enumerate(counts)]
        first = None
        for epoch, count in enumerate(counts):
            if first is None and count >= limit:
                first = epoch
        assert SkipLimit(limit)(records) == (first is not None)
        before = 3 if first is None else max(0, first - 1)
        assert AtSkips(limit)(records)[0] == (3 if first is None else first)
        assert AtSkips(limit, before=True)(records)[0] == before


def test_the_epochs_numbers_are_the_records_own():
    """Not their places: the rows of an interrupted run may lack some."""
    records = [record(epoch, count, x=value) for epoch, count, value in ((2, 0, 1.0), (5, 0, 3.0), (9, 2, 2.0))]
    assert Last()(records)[0] == 9
    assert Best("x")(records)[0] == 5
    assert AtSkips()(records)[0] == 9
    assert AtSkips(before=True)(records)[0] == 5


# DARTS-ES ---------------------------------------------------------------------------------------------------------------


def curve(values, epochs=None):
    """Records of a search whose eigenvalue is values[i] after epoch 2 i; epochs: with the others in between."""
    count = epochs or 2 * len(values)
    column = [values[epoch // 2] if epoch % 2 == 0 else None for epoch in range(count)]
    return of(hessian_eigenvalue=column)


def robust_darts(values, epochs, window=5, delta=4, factor=1.3, start=10):
    """The authors' loop over their lists: (epoch of the stop, epoch that is returned), None without one."""
    ev, averages, belongs = [], [], {}
    for epoch in range(epochs):
        if epoch % 2 or epoch == epochs - 1:
            continue
        ev.append(values[epoch // 2])
        if len(ev) < math.ceil(window / 2):
            continue
        averages.append(sum(ev[-window:]) / min(window, len(ev)))
        belongs[epoch] = epoch - 2 * (window // 2)
        before = belongs[epoch] - 2 * delta
        if before >= start and averages[-1] / averages[-1 - delta] > factor:
            return epoch, before
    return None


def judged(values, epochs, **settings):
    """What ours make of the same, asked after every epoch: (epoch of the stop, epoch that is returned)."""
    stop, selection = EigenvalueLimit(epochs, **settings), BeforeEigenvalueJump(epochs, **settings)
    records = curve(values, epochs)
    stopped = next((epoch for epoch in range(epochs) if stop(records[: epoch + 1])), None)
    selected, text = selection(records if stopped is None else records[: stopped + 1])
    if stopped is None:
        assert (selected, text) == (
            epochs - 1,
            "the architecture of the last epoch, hessian_eigenvalue having made no jump",
        )
        return None
    assert selection(records)[0] == selected  # of a search that was not stopped too
    assert text.endswith(f"before the jump of hessian_eigenvalue seen after epoch {stopped + 1}")
    return stopped, selected


def test_a_constant_eigenvalue_never_stops_a_search():
    assert judged([0.2] * 25, 50) is None


def test_one_that_grows_by_a_tenth_an_evaluation_stops_after_epoch_22_and_returns_epoch_10():
    assert judged([1.1**i for i in range(25)], 50) == (22, 10)


@pytest.mark.parametrize(
    "settings", [{}, {"window": 3}, {"delta": 2, "start": 4}, {"window": 1, "factor": 1.05, "start": 0}], ids=str
)
def test_the_eigenvalues_rule_is_the_authors_loop(settings):
    generator = torch.Generator().manual_seed(2)
    seen = set()
    for epochs in (50, 49, 30, 24, 23, 7, 1):
        for _ in range(40):
            steps = 0.25 * torch.randn(epochs, generator=generator, dtype=torch.float64)
            values = (steps.cumsum(0) + 0.02 * torch.arange(epochs)).exp().tolist()
            wanted = robust_darts(values, epochs, **settings)
            assert judged(values, epochs, **settings) == wanted
            seen.add(wanted)
    assert None in seen
    assert len(seen) > 5


def test_the_last_epoch_does_not_count_whether_odd_or_even():
    jump = [1.0] * 11 + [100.0]
    assert judged(jump, 24) == (22, 10)
    assert judged(jump, 23) is None


def test_an_epoch_without_its_eigenvalue_is_one_sentence():
    records = of(hessian_eigenvalue=[1.0, None, None, None])
    for judge in (EigenvalueLimit(9), BeforeEigenvalueJump(9)):
        with pytest.raises(
            UserError, match=r"needs the column hessian_eigenvalue of metrics.csv, which epoch 3 lacks"
        ) as error:
            judge(records)
        assert "\n" not in str(error.value)


# DARTS+, criterion 2 ----------------------------------------------------------------------------------------------------


def selective_stop(ranks, patience):
    """The authors' counter: 1 at first, one more where the ranking is that of the epoch before, else 1 again."""
    counter = 1
    for epoch in range(len(ranks)):
        if epoch:
            counter = counter + 1 if ranks[epoch] == ranks[epoch - 1] else 1
        if counter >= patience:
            return epoch
    return None


@pytest.mark.parametrize("without", [FREE, ()], ids=["learnable", "all"])
@pytest.mark.parametrize("patience", [2, 3, 10])
def test_a_ranking_is_old_as_the_authors_count(patience, without):
    generator = torch.Generator().manual_seed(patience)
    names = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    seen = set()
    for _ in range(60):
        alpha, path = torch.randn(6, 5, generator=generator), []
        for _ in range(24):
            alpha = alpha + 0.04 * torch.randn(6, 5, generator=generator)
            path.append(alpha)
        columns = [o for o, name in enumerate(names) if name not in without]
        ranks = [a[:, columns].argsort(-1).tolist() for a in path]
        records = [
            dataclasses.replace(
                record(epoch),
                alpha={f"alpha/cell/{e}/{name}": a[e, o].item() for e in range(6) for o, name in enumerate(names)},
            )
            for epoch, a in enumerate(path)
        ]
        wanted = selective_stop(ranks, patience)
        stop = StableRanking(patience, without)
        assert next((e for e in range(24) if stop(records[: e + 1])), None) == wanted
        assert AtStableRanking(patience, without)(records)[0] == (23 if wanted is None else wanted)
        seen.add(wanted)
    assert len(seen) > 1


def test_skip_connections_may_change_places_among_the_learnable_operations():
    paths = [alphas(1, 2), alphas(1, 0), alphas(1, 2)]
    records = [dataclasses.replace(record(epoch), alpha=alpha) for epoch, alpha in enumerate(paths)]
    assert StableRanking(3)(records)
    assert not StableRanking(2, ())(records)


def test_a_space_with_nothing_to_rank_is_one_sentence():
    records = [
        dataclasses.replace(record(0), alpha={"alpha/normal/0/skip_connect": 0.0, "alpha/normal/0/sep_conv_3x3": 1.0})
    ]
    with pytest.raises(
        UserError, match=r"finds no edge with two operations to rank .*; set stop.without=\[\] to rank all"
    ):
        StableRanking()(records)
    assert not StableRanking(without=())(records)


def test_records_hold_the_alphas_of_architecture_csv(toy, tmp_path):
    """And folders whose architecture.csv has none are read as before."""
    from nas_lightning.records.epochs import read_rows

    toy("run", "trainer.max_epochs=1")
    metrics, kept = (read_rows(tmp_path / "run" / f"{name}.csv") for name in ("metrics", "architecture"))
    (one,) = epoch_records(metrics, kept)
    assert len(one.alpha) == 30
    assert one.alpha == {name: value for name, value in kept[0].items() if name.startswith("alpha/")}
    (old,) = epoch_records(metrics, [{"epoch": 0, "architecture": json.dumps(json.loads(one.genotype.to_json()))}])
    assert (old.alpha, old.genotype) == ({}, one.genotype)


# Stopped searches -------------------------------------------------------------------------------------------------------


def test_after_so_many_epochs():
    records = of(x=[0.0] * 4)
    assert [AfterEpochs(3)(records[:count]) for count in (1, 2, 3, 4)] == [False, False, True, True]


SELECTIONS = {"eigenvalue": "before_eigenvalue_jump", "first_epoch": "best_discrete", "two_skips": "two_skips"}


@pytest.fixture(params=options("stop"))
def stopped(request, toy, tmp_path):
    """(overrides, report) of a search in tmp_path / "whole" that stopped neither at once nor at its end."""
    selection = SELECTIONS.get(request.param, request.param)
    choices = (*toy_choice("stop", request.param), *toy_choice("selection", selection), "method=darts")
    small = ("trainer.max_epochs=6", "arch_optimizer.lr=0.05", "data.train_images=32", "data.valid_images=32")
    for seed in range(8):
        settings = (*choices, *small, f"seed={seed}")
        report = toy(f"seed{seed}", *settings)
        if 1 < report["epochs"] < 6:
            (tmp_path / f"seed{seed}").rename(tmp_path / "whole")
            return settings, report
    pytest.fail("another range of seeds")


def test_a_stopped_search_that_was_killed_ends_as_it_was(stopped, toy, tmp_path, monkeypatch):
    """Killed in the epoch before the stop's; after the stop's row, before its checkpoint; before its report."""
    settings, whole = stopped
    last = whole["epochs"] - 1
    kills = {
        "before": (last, "on_train_batch_end", Progress, KeyboardInterrupt),
        "at": (last, "on_train_epoch_end", MetricsFile, LookupError),
    }
    for name, (epoch, hook, target, error) in kills.items():
        with monkeypatch.context() as patch:
            interrupt(patch, epoch, hook, target, error)
            with pytest.raises((SystemExit, LookupError)):
                toy(name, *settings)
    (tmp_path / "whole").rename(tmp_path / "after")
    table, checkpoint = rows(tmp_path / "after"), weights(tmp_path / "after")
    (tmp_path / "after" / "report.json").unlink()
    for name in (*kills, "after"):
        again = toy(name, *settings)
        for key in ("epochs", "architecture", "selection"):
            assert again[key] == whole[key], (name, key)
        assert rows(tmp_path / name) == table, name
        ours = weights(tmp_path / name)
        assert all(torch.equal(tensor, checkpoint[key]) for key, tensor in ours.items()), name
