"""Untrained alpha stands for a uniformly drawn architecture: method=random, and what bilevel=fixed leaves.

Letters: E edges, O operations.
"""

import math
from collections import Counter

import pytest
import pytorch_lightning as pl
import torch

from nas_lightning.bilevel import Fixed
from nas_lightning.derive.base import derived
from nas_lightning.relaxations import Softmax
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.supernet.architecture import Architecture
from tests.conftest import composed
from tests.test_decisions import fitted, make
from tests.test_search import rows

DRAWS = 1500


def drawn(space, seed):
    architecture = Architecture(space.cells, Softmax(), torch.Generator().manual_seed(seed))
    return derived(space.name, space.rule, architecture.snapshot())


def all_near(counts, of, probability):
    """Whether each of the counts is within five standard deviations of what is expected, and none is left out."""
    spread = math.sqrt(of * probability * (1 - probability))
    assert len(counts) == round(1 / probability)
    assert max(abs(count - of * probability) for count in counts.values()) <= 5 * spread


SPACES = {
    "nb201": (NB201(C=4, N=1), 5),
    "without none": (NB201(C=4, N=1, none=False), 4),
    "darts": (DARTS(C=4, num_cells=3), 7),
    "darts with none": (DARTS(C=4, num_cells=3, none=True), 7),
    "s2": (DARTS(C=4, num_cells=3, candidates="s2"), 2),
    "s3": (DARTS(C=4, num_cells=3, candidates="s3"), 2),
}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("by", ["untrained alpha", "the space's own draw"])
def test_operations_and_inputs_are_uniform(by, name):
    """Operations on what an edge keeps, and which two edges a node keeps: both as `baselines` draws them."""
    space, operations = SPACES[name]
    kept, inputs, joint = Counter(), {}, Counter()
    for seed in range(DRAWS):
        if by == "untrained alpha":
            genotype = drawn(space, seed)
        else:
            genotype = space.baselines(torch.Generator().manual_seed(seed))["random"]
        choices = next(iter(genotype.cells.values()))
        kept[choices[0].operation] += 1
        joint[tuple(choice.operation for choice in choices[-2:])] += 1
        for target in {choice.target for choice in choices}:
            sources = tuple(sorted(choice.source for choice in choices if choice.target == target))
            inputs.setdefault(target, Counter())[sources] += 1
    all_near(kept, DRAWS, 1 / operations)
    all_near(joint, DRAWS, 1 / operations**2)
    for target, pairs in inputs.items():
        all_near(pairs, DRAWS, 1 if space.name == "nb201" else 1 / math.comb(target, 2))


@pytest.mark.drawings
@pytest.mark.parametrize("space", ["space=nb201", "space=darts"])
def test_random_search_is_the_draw_of_its_seed_in_one_epoch(space, toy, tmp_path):
    report = toy("run", "method=random", space, "seed=7", "data.train_images=16", "data.valid_images=16")
    choices = SPACES[space.removeprefix("space=")][0]
    assert report["architecture"] == str(drawn(choices, 7))
    (row,) = rows(tmp_path / "run")
    assert report["epochs"] == 1
    assert "valid_loss" not in row
    assert float(row["discrete_accuracy"]) >= 0
    assert report["selection"].startswith("the architecture of the last epoch")
    assert {"report.json", "genotype.json", "cell.svg", "entropy.svg"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }


def test_fixed_alpha_keeps_its_bits_and_the_weights_are_trained_at_it():
    """The weight steps are those of a search whose alpha has not started yet."""
    runs = []
    for settings in ({"bilevel": Fixed()}, {"arch_start": 3}):
        module = make(NB201(C=4, N=1), arch_decay=0.1, **settings)
        start = module.architecture.alpha["cell"].detach().clone()
        trainer, _ = fitted(module, 3)
        assert torch.equal(module.architecture.alpha["cell"], start)
        assert "valid_loss" not in trainer.callback_metrics
        runs.append({name: tensor.clone() for name, tensor in module.supernet.state_dict().items()})
    assert all(torch.equal(tensor, runs[1][name]) for name, tensor in runs[0].items())
    fresh = make(NB201(C=4, N=1)).supernet.state_dict()
    assert not torch.equal(runs[0]["classifier.weight"], fresh["classifier.weight"])


def perturbed(method, epochs, *overrides):
    """[epoch] -> the radius of the perturbation, in a run of the method of so many epochs."""
    from nas_lightning.app.axes import MODULE_AXES
    from nas_lightning.build import build_axis

    config = composed(f"method={method}", *overrides, f"trainer.max_epochs={epochs}", "run_dir=x")
    ball = build_axis(config, "perturbation", MODULE_AXES["perturbation"])
    return [float(ball.radius(torch.tensor(epoch / epochs, dtype=torch.float64))) for epoch in range(epochs)]


def test_sdarts_rs_pt_perturbs_as_sdarts_rs_and_then_by_three_tenths():
    ours = perturbed("sdarts_rs_pt", 131)
    assert ours[:50] == pytest.approx([0.03 + 0.27 * epoch / 50 for epoch in range(50)], rel=1e-3)
    assert ours[50:] == pytest.approx([0.3] * 81, abs=1e-12)
    nb201 = perturbed("sdarts_rs_pt", 125, "space=nb201", "protocol=published")
    assert nb201[:100] == pytest.approx([0.03 + 0.27 * epoch / 100 for epoch in range(100)], rel=1e-3)
    assert nb201[100:] == pytest.approx([0.3] * 25, abs=1e-12)


def test_a_decided_edge_is_not_perturbed():
    from nas_lightning.perturbations import RandomBall
    from nas_lightning.ramps import Ramp

    space = DARTS(C=4, num_cells=3)
    architecture = Architecture(space.cells, Softmax(), torch.Generator().manual_seed(0))
    mask = space.cells["normal"].mask_EO
    mask[2] = torch.arange(7) == 4
    mask[5] = False
    architecture.narrow({"normal": mask})
    ball, view = RandomBall(Ramp(0.3, 0.3)), architecture.view()
    drawn_noise = ball.draw(view, torch.Generator().manual_seed(1))
    betas = {name: beta.detach() for name, beta in architecture.beta().items()}
    moved = ball(betas, None, view, torch.tensor(0.5), drawn_noise)
    for name, beta in moved.items():
        for edge in range(14):
            rests = name == "normal" and edge in (2, 5)
            assert torch.equal(beta[edge], betas[name][edge]) == rests


class Steps(pl.Callback):
    """alpha after every step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(pl_module.architecture.alpha["cell"].detach().clone())


def test_alpha_of_darts_pt_blank_is_never_moved_and_edges_are_decided_all_the_same():
    from nas_lightning.callbacks import Decisions
    from nas_lightning.decisions import OperationDrop
    from nas_lightning.stages import Stage, Stages

    steps = Steps()
    module = make(NB201(C=4, N=1), bilevel=Fixed())
    stages = Stages(4, {"search": Stage(1), "projection": Stage(3, decision=OperationDrop(interval=1))})
    fitted(module, 4, [Decisions(None, stages), steps])
    assert all(torch.equal(alpha, steps.seen[0]) for alpha in steps.seen)
    assert (module.architecture.mask("cell").sum(-1) == 1).all()  # six in three epochs
