"""A search on two processes: equal to the bit on both, with the mean of their gradients, and as resumable as on one.

Letters: E edges, O operations.
"""

import csv
import json
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from nas_lightning.app.axes import build_module
from nas_lightning.app.checkpoints import Checkpoints
from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.job import Job
from nas_lightning.build import build
from nas_lightning.errors import UserError
from nas_lightning.records.folder import RunFolder
from speed.reference import ReferenceSupernet
from tests.conftest import TOY, composed
from tests.ddp_searches import SETTINGS, on_two_processes
from tests.test_config import METHODS

STEPS = 8  # 4 epochs of two steps: 32 images on both ranks together, then 16
CLIP = 0.1


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where tests/ddp_searches.py has run."""
    folder = tmp_path_factory.mktemp("ddp")
    on_two_processes(folder)
    return folder


def recorded(folder):
    """[rank][number of the step]"""
    return [[torch.load(folder / f"{rank}-{n}.pt") for n in range(STEPS + 1)] for rank in (0, 1)]


@pytest.fixture(scope="module")
def steps(place):
    return recorded(place / "whole-steps")


@pytest.fixture(scope="module")
def double(place):
    return recorded(place / "double-steps")


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in csv.DictReader(file)]


def alone(batch_size):
    """The data of a search on one device."""
    data = build(composed(*SETTINGS, "trainer=default", f"data.batch_size={batch_size}", "run_dir=x").data)
    data.prepare_data()
    return data


def test_alpha_weights_and_temperature_are_equal_on_both_ranks_after_every_step(steps):
    for one, other in zip(*steps, strict=True):
        assert one["state"].keys() == other["state"].keys()
        assert {"architecture.alpha.cell", "architecture.temperature"} < one["state"].keys()
        for name, tensor in one["state"].items():
            assert torch.equal(tensor, other["state"][name]), name
    first, last = steps[0][0]["state"], steps[0][-1]["state"]
    for name in ("architecture.alpha.cell", "architecture.temperature", "supernet.classifier.weight"):
        assert not torch.equal(first[name], last[name]), name


def test_ranks_share_the_batches_that_one_device_would_see(steps):
    whole = list(alone(batch_size=32).train_dataloader())
    assert len(whole) == 2
    for number, (batch, _, _) in enumerate(whole, start=1):
        for half, (x, y) in batch.items():
            parts = [steps[rank][number]["batch"][half] for rank in (0, 1)]
            assert not torch.equal(parts[0][0], parts[1][0])
            assert torch.equal(torch.cat([x for x, _ in parts]), x), half
            assert torch.equal(torch.cat([y for _, y in parts]), y)


@pytest.mark.parametrize("images", [46, 48, 40, 36])
def test_three_ranks_cover_an_epoch_in_batches_of_one_size(images):
    """12 images a step: of 10 left each rank has 3; 4 left are too few for batch statistics."""
    settings = (*SETTINGS, "trainer=default", f"data.train_images={images}", "data.batch_size=4", "run_dir=x")
    parts = []
    for rank in range(3):
        data = build(composed(*settings).data)
        device = SimpleNamespace(root_device=torch.device("cpu"))
        data.trainer = SimpleNamespace(global_rank=rank, world_size=3, current_epoch=1, strategy=device)
        loader = data.train_dataloader()
        parts.append([batch["train"][0] for batch, _, _ in loader])
        assert len(loader) == len(parts[-1])
    sizes = [[len(x) for x in part] for part in parts]
    assert sizes[0] == sizes[1] == sizes[2]
    whole, rest = divmod(images, 12)
    assert sizes[0] == [4] * whole + [rest // 3] * (rest // 3 >= 2)
    seen = torch.cat([torch.cat(part) for part in parts]).flatten(1)
    assert len(seen.unique(dim=0)) == len(seen) == 3 * sum(sizes[0])


class Textbook:
    """Losses and gradients of one rank's batch, edge by edge with explicit Jacobians in float64."""

    def __init__(self, state):
        config = composed(*SETTINGS, "run_dir=x")
        self.module = build_module(config, 10).double()
        self.module.load_state_dict(state)
        self.reference = ReferenceSupernet(self.module.supernet)
        self.alpha, self.t = (state[f"architecture.{name}"] for name in ("alpha.cell", "temperature"))

    def loss(self, x, y, beta_EO):
        return F.cross_entropy(self.reference(x, beta_EO), y)

    def weight_gradients(self, x, y):
        """(loss, gradient of every weight by its name in the module)"""
        parameters = list(self.reference.parameters())
        loss = self.loss(x, y, torch.softmax(self.alpha / self.t, -1))
        by_id = dict(zip(map(id, parameters), torch.autograd.grad(loss, parameters), strict=True))
        shared = {f"supernet.{n}": by_id[id(p)] for n, p in self.module.supernet.named_parameters() if id(p) in by_id}
        names = {id(p): f"supernet.{n}" for n, p in self.module.supernet.named_parameters()}
        stacked = {
            names[id(whole)]: torch.cat([by_id[id(kernel)] for kernel in kernels])
            for kernels, whole in self.reference.stacked_pairs(self.module.supernet)
        }
        return loss.detach(), shared | stacked

    def alpha_gradient(self, x, y):
        beta = torch.softmax(self.alpha / self.t, -1).requires_grad_()
        (g,) = torch.autograd.grad(self.loss(x, y, beta), beta)
        temperatures = [self.t] if self.t >= 1 else [self.t, torch.ones_like(self.t)]  # sn-softmax with st = 1
        softmaxes = [(torch.softmax(self.alpha / t, -1), t) for t in temperatures]
        return sum(
            ((torch.diag_embed(p) - p[..., :, None] * p[..., None, :]) @ g[..., None])[..., 0] / t for p, t in softmaxes
        )


@pytest.mark.parametrize("number", [1, 2, 4, 8])
def test_gradient_of_a_step_is_the_mean_of_each_ranks_own(number, double):
    """The weights' mean is clipped, not what is averaged; alpha's gradient is taken at the new weights."""
    records = [double[rank][number] for rank in (0, 1)]
    before, after = double[0][number - 1]["state"], records[0]["state"]
    # the temperature moved at the epoch's start, after the step before was recorded
    textbook = Textbook(before | {"architecture.temperature": after["architecture.temperature"]})
    own = [textbook.weight_gradients(*record["batch"]["train"])[1] for record in records]
    mean = {name: (own[0][name] + own[1][name]) / 2 for name in own[0]}
    norm = torch.stack([gradient.norm() for gradient in mean.values()]).norm()
    assert norm > CLIP
    assert any(not torch.allclose(own[0][name], own[1][name], rtol=0.1) for name in mean)
    for name, gradient in mean.items():
        torch.testing.assert_close(
            records[0]["gradients"][name], gradient * CLIP / (norm + 1e-6), rtol=1e-7, atol=1e-10
        )
    stepped = Textbook(after | {"architecture.alpha.cell": before["architecture.alpha.cell"]})
    own = [stepped.alpha_gradient(*record["batch"]["valid"]) for record in records]
    mean = (own[0] + own[1]) / 2
    torch.testing.assert_close(records[0]["gradients"]["architecture.alpha.cell"], mean, rtol=1e-7, atol=1e-10)
    assert not torch.allclose(own[0], own[1], rtol=0.1)


def test_metrics_are_over_the_images_of_both_ranks(place, double):
    losses, counts = [], []
    for number in (1, 2):
        textbook = Textbook(double[0][number - 1]["state"])
        for rank in (0, 1):
            x, y = double[rank][number]["batch"]["train"]
            losses.append(textbook.weight_gradients(x, y)[0])
            counts.append(float(len(y)))
    mean = (torch.stack(losses) * torch.tensor(counts)).sum() / sum(counts)
    assert sum(counts) == 48
    assert float(rows(place / "double")[0]["train_loss"]) == pytest.approx(mean.item(), rel=1e-6)


def test_discrete_accuracy_is_the_one_that_one_device_measures(place, steps):
    module = build_module(composed(*SETTINGS, "run_dir=x"), 10)
    module.load_state_dict(steps[0][-1]["state"])
    hot = module.architecture.one_hot(module.genotype())
    batches = list(alone(batch_size=16).val_dataloader())
    assert len(batches) == 3  # two of them on rank 0
    with torch.no_grad():
        hits = [(module.supernet(x, hot).argmax(1) == y).float() for x, y in batches]
    assert float(rows(place / "whole")[-1]["discrete_accuracy"]) == pytest.approx(
        torch.cat(hits).mean().item(), abs=1e-6
    )


def test_every_method_searches_on_two_processes(tmp_path):
    """Whose alphas and weights are compared after every epoch: ranks that come apart end a search, as below."""
    on_two_processes(tmp_path, "methods")
    reports = [json.loads((tmp_path / method / "report.json").read_text()) for method in METHODS]
    assert all(report["devices"] == 2 for report in reports)


def test_running_statistics_are_the_mean_of_the_ranks_after_each_half_step(tmp_path):
    """Of the stem, whose input is the images: the weight step's with the weights before it, then alpha's with those after."""
    on_two_processes(tmp_path, "statistics")
    steps = recorded(tmp_path / "statistics-steps")
    for one, other in zip(*steps, strict=True):
        assert any("running_mean" in name for name in one["state"])
        for name, tensor in one["state"].items():
            assert torch.equal(tensor, other["state"][name]), name

    def moved(running, half, number, weights):
        kernel = weights["supernet.stem.0.weight"]
        batches = [F.conv2d(steps[rank][number]["batch"][half][0], kernel, padding=1) for rank in (0, 1)]
        mean, variance = (
            torch.stack(each).mean(0)
            for each in ([y.mean((0, 2, 3)) for y in batches], [y.var((0, 2, 3)) for y in batches])
        )
        return 0.9 * running[0] + 0.1 * mean, 0.9 * running[1] + 0.1 * variance

    states = [step["state"] for step in steps[0]]
    for number in range(1, STEPS + 1):
        running = [states[number - 1][f"supernet.stem.1.running_{kind}"] for kind in ("mean", "var")]
        for half, weights in (("train", states[number - 1]), ("valid", states[number])):
            running = moved(running, half, number, weights)
        for value, kind in zip(running, ("mean", "var"), strict=True):
            assert torch.allclose(states[number][f"supernet.stem.1.running_{kind}"], value, rtol=1e-10)


def test_two_processes_end_in_one_report(place):
    assert len(list((place / "whole").rglob("report.json"))) == 1
    assert [row["epoch"] for row in rows(place / "whole")] == ["0", "1", "2", "3"]
    report = json.loads((place / "whole" / "report.json").read_text())
    assert report["devices"] == 2
    last = torch.load(place / "whole" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    module = build_module(composed(*SETTINGS, "run_dir=x"), 10)
    module.load_state_dict(last)
    assert report["architecture"] == str(module.genotype())


def test_interrupted_search_on_two_processes_equals_the_uninterrupted(place, steps):
    assert json.loads((place / "said.json").read_text())["stopped"] == 130
    assert rows(place / "stopped") == rows(place / "whole")
    assert (place / "stopped" / "architecture.csv").read_bytes() == (place / "whole" / "architecture.csv").read_bytes()
    ours, theirs = (
        torch.load(place / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("stopped", "whole")
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_ranks_that_come_apart_end_the_search_in_one_sentence(place):
    assert json.loads((place / "said.json").read_text())["apart"].startswith(
        "alpha and the weights differ between the devices after epoch 1"
    )
    assert not (place / "apart" / "checkpoints").exists()


def test_another_number_of_devices_does_not_go_on(place):
    """They would share out the images in another way."""
    saved = json.loads((place / "whole" / "report.json").read_text())["config"]
    folder = RunFolder(place / "stopped", saved | {"trainer": saved["trainer"] | {"devices": 4}})
    (place / "stopped" / "report.json").unlink()
    with pytest.raises(UserError, match=r"trainer.devices=2, now it is 4"):
        Checkpoints.of(folder, folder.path).newest()


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("trainer.devices=2",), "trainer.devices=2 is not offered"),
        (("trainer.devices=auto",), "trainer.devices=auto is not offered"),
        (("+trainer.strategy=ddp", "trainer.devices=2"), "trainer.strategy=ddp is not offered; use trainer=ddp"),
        (("trainer=ddp", "trainer.devices=auto"), "trainer.devices must be a whole number of at least 2"),
        (("trainer=ddp", "trainer.devices=1"), "trainer.devices must be a whole number of at least 2"),
        (("trainer=ddp", "+trainer.num_nodes=2"), "trainer.num_nodes=2 is not offered"),
        (("trainer=ddp", "trainer.graphs=true"), "trainer.graphs=true is offered on one device only"),
        (("trainer=ddp", "trainer.compile=true"), "trainer.compile=true is offered on one device only"),
        (("trainer=ddp", "trainer.devices=16", "data.valid_images=24"), "trainer.devices=16 need 32 images"),
    ],
)
def test_what_does_not_work_on_several_devices_is_refused(overrides, sentence, toy, tmp_path):
    with pytest.raises(UserError, match=sentence) as raised:
        toy("run", *overrides)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_training_from_scratch_stays_on_one_device(tmp_path):
    toy = [override for override in TOY if not override.startswith(("data.", "arch_optimizer."))]
    config = composed(*toy, "trainer=ddp", "train=true", "genotype=x", f"run_dir={tmp_path}", config="evaluate")
    with pytest.raises(UserError, match="trainer=ddp is for searches"):
        evaluate(config, Job({}, []))
