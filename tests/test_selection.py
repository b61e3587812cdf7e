"""Which epoch is the result of a search and when it ends early: on synthetic records, against obvious code."""

import itertools
import math

import pytest
import torch
from hydra.utils import instantiate

from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.records.epochs import EpochRecord
from nas_lightning.selection import Last
from nas_lightning.selection.epochs import Best
from nas_lightning.selection.skips import BeforeSkips
from nas_lightning.stop import SkipLimit
from tests.axes import options, toy_choice
from tests.conftest import composed
from tests.test_search import rows, weights


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


CHOICES = [
    *(
        instantiate(composed(*toy_choice("selection", option), "run_dir=x").selection)
        for option in options("selection")
    ),
    Last(),
    BeforeSkips(at=True),
    Best(mode="min"),
]


@pytest.mark.parametrize("selection", CHOICES, ids=str)
def test_a_selection_is_one_of_the_epochs_and_says_which(selection):
    for counts in itertools.product((0, 1, 2, 3), repeat=3):
        records = of(skips=counts, discrete_accuracy=[0.1 * count for count in counts])
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
        assert BeforeSkips(limit)(records)[0] == before
        assert BeforeSkips(limit, at=True)(records)[0] == (3 if first is None else first)


def test_the_epochs_numbers_are_the_records_own():
    """Not their places: the rows of an interrupted run may lack some."""
    records = [record(epoch, count, x=value) for epoch, count, value in ((2, 0, 1.0), (5, 0, 3.0), (9, 2, 2.0))]
    assert Last()(records)[0] == 9
    assert Best("x")(records)[0] == 5
    assert BeforeSkips()(records)[0] == 5


@pytest.mark.parametrize("option", options("stop"))
def test_a_search_that_was_stopped_and_killed_before_its_report_ends_as_it_was(option, toy, tmp_path):
    choices = (f"stop={option}", "selection=before_two_skips", "space=darts", "derive=darts", "arch_optimizer.lr=0.05")
    choices = (*choices, "trainer.max_epochs=6")
    for seed in range(8):  # until one stops neither at once nor at the end
        settings = (*choices, f"seed={seed}")
        whole = toy(f"run{seed}", *settings)
        if 1 < whole["epochs"] < 6:
            break
    assert 1 < whole["epochs"] < 6
    folder = tmp_path / f"run{seed}"
    table, checkpoint = rows(folder), weights(folder)
    (folder / "report.json").unlink()
    again = toy(folder.name, *settings)
    for key in ("epochs", "architecture", "selection", "final"):
        assert again[key] == whole[key], key
    assert rows(folder) == table
    assert all(torch.equal(tensor, checkpoint[name]) for name, tensor in weights(folder).items())
