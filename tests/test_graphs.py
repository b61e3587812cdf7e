"""Replayed and compiled half steps are the eager half steps. The CUDA capture itself is stood in for on a CPU."""

import functools
import shutil
from unittest import mock

import pytest
import pytorch_lightning as pl
import torch
from torch.multiprocessing import ProcessRaisedException

import nas_lightning.supernet.runner
from nas_lightning.app.fit import fit
from nas_lightning.cells import CellSpec
from nas_lightning.errors import DivergedError, MachineError, UserError
from nas_lightning.genotypes.nb201 import NB201_OPERATIONS
from nas_lightning.relaxations import SnSoftmax
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.spaces.nb201.supernet import RelaxedCell
from nas_lightning.spaces.weights import EdgeWeights
from nas_lightning.supernet.graphs import StepGraphs, step_graphs
from nas_lightning.supernet.module import SupernetModule


class Recorder:
    """A capture that keeps the step and its first outputs; a replay runs it again into the same memory."""

    def __init__(self):
        self.captures = self.replays = 0

    def __call__(self, step):
        self.captures += 1
        outputs = step()

        def replay():
            self.replays += 1
            for place, value in zip(outputs, step(), strict=True):
                assert (place is None) == (value is None)
                if place is not None:
                    place.copy_(value)

        return replay, outputs


def module(**settings):
    torch.manual_seed(0)
    return SupernetModule(
        NB201(C=4, N=1),
        SnSoftmax(second_temperature=1.0),
        num_classes=4,
        weight_optimizer=functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=5e-4),
        arch_optimizer=functools.partial(torch.optim.Adam, lr=3e-3, betas=(0.5, 0.999)),
        **settings,
    )


def loader(sizes=(6, 6, 6, 2), dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)

    def batch(count):
        return torch.randn(count, 3, 8, 8, generator=generator, dtype=dtype), torch.randint(
            4, (count,), generator=generator
        )

    return torch.utils.data.DataLoader([{"train": batch(n), "valid": batch(n)} for n in sizes], batch_size=None)


def trained(search, temperatures=(1.0, 1e-3, 1e-4), precision="32-true", **batches):
    class Schedule(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            pl_module.architecture.set_temperature(temperatures[trainer.current_epoch])

    trainer = pl.Trainer(
        max_epochs=len(temperatures), accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[Schedule()],
    )  # fmt: skip
    trainer.fit(search, loader(**batches, dtype=search.supernet.classifier.weight.dtype))
    return search


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(nas_lightning.supernet.runner, "step_graphs", lambda device, state: StepGraphs(recorder, state))
    return recorder


def sentences(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "nas_lightning"]


def states_equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_replayed_search_equals_the_eager_search(recorder, precision):
    eager = trained(module(), precision=precision)
    replayed = trained(module(graphs=True), precision=precision)
    assert states_equal(eager, replayed)
    assert eager.halves.skipping.share < 1  # the set of computed operations did change
    assert (
        recorder.replays == 2 * 3 * 3
    )  # two half steps, three full batches, three epochs; the rest batch runs eagerly
    assert 3 <= recorder.captures <= 8  # one of alpha's step, one of the weight step for each set


def test_a_graph_is_captured_again_only_for_another_key():
    recorder = Recorder()
    graphs = StepGraphs(recorder)
    for key, expected in (("a", 1), ("a", 1), ("b", 2), ("b", 2), ("a", 3)):
        (total,) = graphs.run("sum", key, lambda x: (x.sum(),), torch.ones(3))
        assert total == 3
        assert recorder.captures == expected
    (total,) = graphs.run("sum", "a", lambda x: (x.sum(),), torch.ones(2))
    assert (total, recorder.captures) == (2, 3)  # another shape


def test_a_capture_leaves_the_generator_that_a_supernet_draws_noise_from():
    def step(x):
        return (x + torch.rand(2),)

    graphs, x = StepGraphs(Recorder()), torch.zeros(2)
    torch.manual_seed(0)
    replayed = [graphs.run("a", key, step, x)[0].tolist() for key in (0, 0, 1)]
    torch.manual_seed(0)
    assert replayed == [step(x)[0].tolist() for _ in range(3)]


def test_replays_see_new_inputs_and_parameters_changed_in_place():
    graphs, weight = StepGraphs(Recorder()), torch.ones(2)
    run = functools.partial(graphs.run, "scale", None, lambda x: ((weight * x).sum(),))
    assert run(torch.tensor([1.0, 2.0])) == (3.0,)
    weight.fill_(10.0)
    assert run(torch.tensor([3.0, 4.0])) == (70.0,)


def test_capture_holds_the_casts_of_the_parameters():
    """Inside a step's autocast a cast made before is handed out again: a graph would replay on stale weights."""
    weight = torch.ones(2, 2, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        torch.nn.functional.linear(torch.ones(1, 2), weight)  # now in the cache
        with torch.no_grad():
            weight.fill_(2.0)
        (replayed,) = StepGraphs(Recorder()).run(
            "linear", None, lambda x: (torch.nn.functional.linear(x, weight).detach(),), torch.ones(1, 2)
        )
    assert replayed.tolist() == [[4.0, 4.0]]


def test_second_half_step_sees_the_weights_of_the_first_whatever_lightning_caches(monkeypatch):
    expected = trained(module(), precision="bf16-mixed")

    def cached(plugin):
        return torch.autocast(plugin.device, torch.bfloat16)

    monkeypatch.setattr(pl.plugins.MixedPrecision, "autocast_context_manager", cached)
    assert states_equal(trained(module(), precision="bf16-mixed"), expected)


def test_graphs_on_a_cpu_are_one_sentence_and_an_eager_run(caplog):
    assert states_equal(trained(module(graphs=True)), trained(module()))
    assert sentences(caplog) == [
        "trainer.graphs=true needs a CUDA device and this run is on cpu: it goes on without graphs."
    ]
    assert step_graphs(torch.device("cpu"), tuple) is None


def test_failed_capture_is_one_sentence_and_an_eager_run(monkeypatch, caplog):
    def refuse(step):
        raise RuntimeError("not permitted when stream is capturing\nand more")

    monkeypatch.setattr(nas_lightning.supernet.runner, "step_graphs", lambda device, state: StepGraphs(refuse, state))
    assert states_equal(trained(module(graphs=True)), trained(module()))
    assert sentences(caplog) == [
        "trainer.graphs=true failed (not permitted when stream is capturing and more): the run goes on without."
    ]


def test_compiled_search_equals_the_eager_search(monkeypatch):
    compile_cell = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", functools.partialmethod(compile_cell, backend="aot_eager"))
    settings = {"temperatures": (1.0,), "precision": "64-true", "sizes": (6, 6)}
    eager, compiled = trained(module().double(), **settings), trained(module(compile=True).double(), **settings)
    assert compiled.runner.compiled
    assert compiled.halves.skipping.share == 1
    for (name, one), other in zip(eager.state_dict().items(), compiled.state_dict().values(), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9), name


def test_failed_compilation_is_one_sentence_and_an_eager_run(monkeypatch, caplog):
    def refuse(graph, inputs):
        raise OSError("no C++ compiler here")

    compile_cell = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", functools.partialmethod(compile_cell, backend=refuse))
    with caplog.at_level("INFO", "nas_lightning"):
        compiled = trained(module(compile=True), temperatures=(1.0,))
    assert states_equal(compiled, trained(module(), temperatures=(1.0,)))
    announced, message = sentences(caplog)
    assert announced.startswith("Compiling the cells")
    assert "no C++ compiler here" in message
    assert message.endswith("the run goes on without.")


def test_graphs_and_the_joint_clip_exclude_each_other():
    with pytest.raises(UserError, match=r"trainer.graphs=true cannot be had with"):
        module(graphs=True, weight_clip_includes_arch=True)


def test_out_of_memory_names_the_batch(monkeypatch, tmp_path):
    search = module(graphs=True)

    def exhausted(*args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(search.supernet, "forward", exhausted)

    class Data(pl.LightningDataModule):
        batch_size = 6

        def train_dataloader(self):
            return loader()

    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(UserError, match=r"out of memory on cpu at data.batch_size=6 .* give a smaller data.batch_size"):
        fit(trainer, tmp_path, None, search, Data())


SPACES = {
    "nb201": NB201(C=4, N=1),
    "darts": DARTS(C=4, num_cells=3, none=True),
    "s4": DARTS(C=4, num_cells=3, candidates="s4"),
    "partial": DARTS(C=4, num_cells=3, partial=4, edge_weights=True),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_cell_compiles_as_one_graph(name):
    """A break would make a graph of each part of each bank: minutes of compilation."""
    space = SPACES[name]
    supernet = space.supernet(3)
    weights = {}
    for cell_type, spec in space.cells.items():
        edge = torch.rand(len(spec.edges)) if spec.edge_weights else None
        weights[cell_type] = EdgeWeights(torch.rand(spec.mask_EO.shape) * spec.mask_EO, spec.candidates, edge)
    x = torch.randn(4, 3, 8, 8)
    torch.manual_seed(0)
    eager = supernet(x, weights)
    cell = list(supernet.cells())[1]  # of the DARTS space's the one with edges of both strides
    cell.compile(dynamic=False, fullgraph=True, backend="eager")
    torch.manual_seed(0)
    assert torch.equal(supernet(x, weights), eager)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
def test_inductor_computes_an_edge_as_eager_does():
    """The default compiler itself, on one edge: both half steps' gradients."""
    torch.manual_seed(0)
    candidates = ((True,) * 5,)
    cell = RelaxedCell(CellSpec(((0, 1),), NB201_OPERATIONS, candidates, (1,)), 2, conv_bias=False).double()
    x = torch.randn(4, 2, 8, 8, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    beta = torch.softmax(torch.randn(1, 5, dtype=torch.float64), -1).requires_grad_()

    def gradients():
        output = cell(x, EdgeWeights(beta, candidates))
        return torch.autograd.grad((output * output.cos()).sum(), (x, beta, *cell.parameters()))

    expected = gradients()
    cell.compile(dynamic=False)
    for ours, eager in zip(gradients(), expected, strict=True):
        assert torch.allclose(ours, eager, rtol=1e-9, atol=1e-11)
    assert cell._compiled_call_impl is not None


@pytest.mark.parametrize("kind", [UserError, MachineError, DivergedError])
def test_what_a_process_of_several_refuses_is_what_one_alone_would(kind, tmp_path):
    raised = ProcessRaisedException(f"\nTraceback ...\n{kind.__module__}.{kind.__qualname__}: lower this: now.\n", 1, 2)
    trainer = mock.Mock(num_devices=2, strategy=mock.Mock(root_device=torch.device("cpu"), launcher=None))
    trainer.fit.side_effect = raised
    with pytest.raises(UserError, match=r"^lower this: now\.$") as caught:
        fit(trainer, tmp_path, None, mock.Mock(), mock.Mock())
    assert type(caught.value) is kind


def test_a_search_starts_on_a_gpu_that_nobody_has_used_yet(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    # PyTorch's answer before CUDA is initialised
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", mock.Mock(side_effect=RuntimeError("Invalid device argument"))
    )
    trainer = mock.Mock(num_devices=1, strategy=mock.Mock(root_device=torch.device("cuda", 0), launcher=None))
    (tmp_path / "metrics.csv").write_text("epoch,seconds\n0,2.0\n")
    assert [row["seconds"] for row in fit(trainer, tmp_path, None, mock.Mock(), mock.Mock())] == [2.0]
    trainer.fit.assert_called_once()
