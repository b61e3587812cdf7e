"""DARTS+ on NAS-Bench-201: its two criteria against obvious loops over histories of alpha, and in whole searches."""

import pytest
import torch

from nas_lightning.app.axes import build_epoch_axes
from nas_lightning.records.epochs import EpochRecord, read_rows
from nas_lightning.spaces import NB201
from tests.conftest import composed, derive

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
RANKING = ("stop=stable_ranking", "selection=stable_ranking")


def criterion(*overrides):
    """(stop, selection) of the method on NAS-Bench-201."""
    axes = build_epoch_axes(composed("method=darts_plus", "space=nb201", *overrides, "run_dir=x"))
    return axes["stop"], axes["selection"]


def record(epoch, alpha_EO):
    """An epoch as a search on NAS-Bench-201 keeps it."""
    alpha = {
        f"alpha/cell/{edge}/{name}": alpha_EO[edge, o].item() for edge in range(6) for o, name in enumerate(OPERATIONS)
    }
    return EpochRecord(epoch, {}, derive(NB201(), {"cell": alpha_EO}), alpha)


def judged(path, stop, selection):
    """(epoch after which the search ends, epoch that is returned) of a history of alphas; None where it is never stopped."""
    records = [record(epoch, alpha_EO) for epoch, alpha_EO in enumerate(path)]
    ends = next((epoch for epoch in range(len(path)) if stop(records[: epoch + 1])), None)
    return ends, selection(records if ends is None else records[: ends + 1])[0]


def strongest(*operations):
    """alpha_EO of which these are the edges' strongest."""
    alpha_EO = torch.zeros(6, 5, dtype=torch.float64)
    for edge, operation in enumerate(operations):
        alpha_EO[edge, OPERATIONS.index(operation)] = 1.0
    return alpha_EO


def test_one_skip_connection_does_not_end_a_search_and_two_do_wherever_they_are():
    skip, conv = "skip_connect", "nor_conv_3x3"
    path = [
        strongest(conv, "none", conv, conv, conv, conv),
        strongest(skip, conv, conv, conv, conv, "none"),
        strongest(conv, conv, conv, conv, conv, skip),
        strongest(skip, conv, conv, conv, conv, skip),
        strongest(conv, conv, conv, conv, conv, conv),
    ]
    assert judged(path, *criterion()) == (3, 3)
    assert judged(path, criterion()[0], criterion("selection.before=true")[1]) == (3, 2)


def test_criterion_1_counts_the_edges_whose_argmax_is_a_skip_connection():
    """Among all five operations, `none` included; the architecture of the stop is the result."""
    generator, seen = torch.Generator().manual_seed(0), set()
    chosen = criterion()
    for _ in range(60):
        alpha_EO, path, wanted = 0.3 * torch.randn(6, 5, generator=generator, dtype=torch.float64), [], None
        for epoch in range(12):
            alpha_EO = alpha_EO + 0.1 * torch.randn(6, 5, generator=generator, dtype=torch.float64)
            path.append(alpha_EO)
            skips = sum(max(range(5), key=row.__getitem__) == 1 for row in alpha_EO.tolist())
            if wanted is None and skips >= 2:
                wanted = epoch
        assert judged(path, *chosen) == (wanted, 11 if wanted is None else wanted)
        seen.add(wanted)
    assert {None, 0} < seen
    assert len(seen) > 3


@pytest.mark.parametrize("last_change", [0, 1, 5, 12])
def test_criterion_2_ends_a_search_with_the_tenth_epoch_that_ranks_the_convolutions_alike(last_change):
    """One edge's two convolutions change places until then; the operations without weights change theirs in every epoch."""
    generator, path = torch.Generator().manual_seed(last_change), []
    for epoch in range(24):
        alpha_EO = torch.randn(6, 5, generator=generator, dtype=torch.float64)
        gap_E = 0.1 + torch.rand(6, generator=generator, dtype=torch.float64)
        gap_E[[0, 3]] *= -1
        gap_E[4] *= (-1) ** min(epoch, last_change)
        alpha_EO[:, 3] = alpha_EO[:, 2] + gap_E
        path.append(alpha_EO)
    assert judged(path, *criterion(*RANKING)) == (last_change + 9, last_change + 9)
    everything = ("stop.without=[]", "selection.without=[]")
    assert judged(path, *criterion(*RANKING, *everything)) == (None, 23)


def skips_of(row):
    """Of a row of architecture.csv: how many edges have a skip connection as their strongest operation."""
    edges = [[row[f"alpha/cell/{edge}/{name}"] for name in OPERATIONS] for edge in range(6)]
    return sum(max(range(5), key=values.__getitem__) == 1 for values in edges)


def test_a_search_is_that_of_darts_up_to_the_epoch_with_its_second_skip_connection(toy, tmp_path):
    small = ("arch_optimizer.lr=0.05", "trainer.max_epochs=6", "data.train_images=32", "data.valid_images=32")
    for seed in range(12):
        toy(f"darts{seed}", "method=darts", *small, f"seed={seed}")
        whole = read_rows(tmp_path / f"darts{seed}" / "architecture.csv")
        first = next((epoch for epoch, row in enumerate(whole) if skips_of(row) >= 2), None)
        if first not in (None, 0, 5):
            report = toy("stopped", "method=darts_plus", *small, f"seed={seed}")
            assert (report["method"], report["epochs"]) == ("darts_plus", first + 1)
            assert read_rows(tmp_path / "stopped" / "architecture.csv") == whole[: first + 1]
            chosen = [operation for operation, _, _ in report["genotype"]["cells"]["cell"]]
            assert chosen.count("skip_connect") == skips_of(whole[first])
            return
    pytest.fail("another range of seeds")


def test_a_search_whose_ranking_never_changes_has_ten_epochs(toy):
    small = ("arch_optimizer.lr=1e-12", "trainer.max_epochs=12", "data.train_images=16", "data.valid_images=16")
    report = toy("run", "method=darts_plus", *RANKING, *small)
    assert report["epochs"] == 10
    assert "epoch 10, the first whose ranking is 10 epochs old" in report["selection"]
