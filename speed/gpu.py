"""The whole proof on a CUDA GPU in one command, within ten minutes; a JSON and a table. Again: what is missing, and searches.

    python -m speed.gpu --cifar cifar10.zip [--table data/nb201.npz] [--epochs 50] [--runs runs/full_size]
    python -m speed.gpu --device cpu --quick    # no GPU: all of the logic at a tiny size, graphs stood in for

Half steps eager, graphed and compiled; graphed gradients against eager ones; where the host waits for the GPU inside an
epoch; exact resumption; a search on CIFAR-10 with its table scores; Lightning's overhead. A part that fails or finds no time
left is a sentence in the record and does not end the others; the next call of the same commit goes on with those. The
seconds that are left go to full-size searches in the folder --runs, the first one alone, then seeds in order, as many at a time
as are fastest together: `reports table table1 runs/full_size` reads them. float32 here is PyTorch's default: convolutions may
use TF32.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytorch_lightning as pl
import torch
from rich.console import Console
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from nas_lightning.app.axes import build_data, build_module
from nas_lightning.errors import UserError
from nas_lightning.supernet.graphs import Capture, Outputs, StepGraphs, capture_on_cuda
from nas_lightning.supernet.skipping import step_bound
from nas_lightning.tabular.nb201 import open_table
from speed import gpu_searches, gpu_tables
from speed.gpu_tables import HALVES
from speed.half_steps import PRECISIONS, Size
from speed.loop import BareModule, build_search, composed, lightning_overhead, quieten, synchronise
from speed.memory import profile_step
from speed.methods import METHODS
from speed.record import RESULTS, Record, heading, read, write
from speed.statistics import Numbers, interleaved, spread

_LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpy", "cudaMemset")


@dataclass(frozen=True)
class Plan:
    """What is run where. root: CIFAR-10 as `dataset=folder` reads it; without one the search is on made-up images."""

    device: str = "cuda"
    size: Size = field(default_factory=Size)
    batches: tuple[int, ...] = (64, 256)
    rounds: int = 20
    search_batches: tuple[int, ...] = (256, 64)
    epochs: int = 50
    root: str | None = None
    table: str | None = None
    seconds: float = 570.0
    backend: str = "inductor"
    fit_batches: int = 20
    runs: Path | None = None
    methods: tuple[str, ...] = gpu_searches.METHODS
    seeds: int = 10

    @property
    def accelerator(self) -> str:
        return "trainer.accelerator=" + ("gpu" if self.device == "cuda" else "cpu")

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.device)

    def images(self) -> tuple[str, ...]:
        return "dataset=folder", f"dataset.root='{Path(str(self.root)).absolute()}'", "dataset.name=cifar10"

    def space(self) -> tuple[str, ...]:
        return "space=nb201", f"space.C={self.size.channels}", f"space.N={self.size.cells}"

    def fake(self, batch: int, epochs: int) -> tuple[str, ...]:
        """Overrides of a short search on made-up images, `fit_batches` batches an epoch."""
        return (
            *self.space(), self.accelerator, "dataset=fake", "benchmark=none", f"dataset.image_size={self.size.side}",
            f"dataset.train_images={2 * batch * self.fit_batches}", f"data.batch_size={batch}",
            f"trainer.max_epochs={epochs}", "trainer.graphs=true",
        )  # fmt: skip


QUICK = Plan(
    "cpu", Size(4, 1, 4, 8), (4,), 1, (8,), 2, seconds=120.0, backend="aot_eager", fit_batches=4
)  # fmt: skip


def capture_stand_in(step: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
    """In place of a CUDA capture, for trying the logic without a GPU: a replay runs the step again into the same memory."""
    outputs = step()

    def replay() -> None:
        for place, value in zip(outputs, step(), strict=True):
            if place is not None and value is not None:
                place.copy_(value)

    return replay, outputs


class MeasuredSteps:
    """SupernetModule's own half steps on random images, in one of the modes eager, graphed and compiled."""

    def __init__(self, plan: Plan, batch: int, precision: str, mode: str) -> None:
        overrides = (*plan.space(), "model._target_=speed.loop.BareModule")
        torch.manual_seed(0)
        config = composed(Path("unused"), *overrides)
        self.module: BareModule = build_module(config, 10).to(plan.torch_device)  # type: ignore[assignment]
        self.module.prepare()
        self.module.halves.skipping.restart(step_bound(self.module.configure_optimizers()[0][1]))
        self._dtype = PRECISIONS[precision]
        self._device = plan.torch_device
        self.graphs: StepGraphs | None = None
        if mode == "graphed":
            self.graphs = StepGraphs(capture_on_cuda if plan.device == "cuda" else capture_stand_in)
        if mode == "compiled":
            for cell in self.module.supernet.cells():  # type: ignore[operator]
                cell.compile(dynamic=False, backend=plan.backend)
        side = plan.size.side
        self.inputs = self.draw(batch, side)

    def draw(self, batch: int, side: int) -> tuple[Tensor, Tensor]:
        return torch.randn(batch, 3, side, side, device=self._device), torch.randint(10, (batch,), device=self._device)

    def run(self, half: str, inputs: tuple[Tensor, Tensor] | None = None) -> Outputs:
        part = "train" if half == "weights" else "valid"

        def step(x: Tensor, y: Tensor) -> Outputs:
            return self.module.gradients(half, {part: (x, y)}, {})

        with torch.autocast(self._device.type, self._dtype, self._dtype is not None, cache_enabled=False):
            x, y = inputs or self.inputs
            if self.graphs is None:
                return step(x, y)
            return self.graphs.run(half, self.module.halves.skipping.key, step, x, y)

    def timed(self, half: str) -> None:
        self.run(half)
        synchronise(self._device)


def measure_modes(plan: Plan, modes: Sequence[str], batch: int, precision: str) -> Record:
    """mode -> half step -> seconds, peak MB and launches; the modes take turns."""
    made: dict[str, MeasuredSteps] = {}
    rows: Record = {}
    for mode in modes:
        try:
            _reserved_mb(plan)
            before, start = _reserved_mb(plan), time.perf_counter()
            steps = MeasuredSteps(plan, batch, precision, mode)
            for half in HALVES:
                steps.timed(half)
            seconds = time.perf_counter() - start
            made[mode], rows[mode] = steps, {"first_s": seconds, "reserved_mb": _reserved_mb(plan) - before}
        except Exception as error:  # a mode that cannot be had is a row without numbers
            rows[mode] = {"failed": _sentence(error)}
    turns = {f"{mode}/{half}": lambda s=steps, h=half: s.timed(h) for mode, steps in made.items() for half in HALVES}
    times = interleaved(turns, plan.rounds).wall
    for mode, steps in made.items():
        for half in HALVES:
            seconds = times[f"{mode}/{half}"]
            rows[mode][half] = {
                "seconds": spread(seconds),
                **_peak_and_launches(plan, lambda s=steps, h=half: s.timed(h)),
            }
    return rows


def _reserved_mb(plan: Plan) -> float:
    """What the allocator has taken from the GPU at most since this was last asked, and then gives back what is free.

    The memory of a graph's intermediate results is in it: they are reserved for as long as the graph lives.
    """
    if plan.device != "cuda":
        return 0.0
    torch.cuda.synchronize()
    highest = torch.cuda.max_memory_reserved() / 1e6
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return highest


def _peak_and_launches(plan: Plan, step: Callable[[], None]) -> Numbers:
    """peak_mb: the step's highest allocation over what was held before; next to nothing in a replay, see reserved_mb."""
    if plan.device != "cuda":
        return {"peak_mb": profile_step(step).allocated_mb, "launches": 0}
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    peak = (torch.cuda.max_memory_allocated() - before) / 1e6
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        step()
    names = [event.name() for event in trace.profiler.kineto_results.events()]
    return {"peak_mb": peak, "launches": sum(name.startswith(_LAUNCHES) for name in names)}


def half_steps(plan: Plan, modes: Sequence[str] = ("eager", "graphed")) -> Record:
    rows: Record = {}
    for precision in PRECISIONS:
        for batch in plan.batches:
            rows[f"{precision}, batch {batch}"] = measure_modes(plan, modes, batch, precision)
            if plan.device == "cuda":
                torch.cuda.empty_cache()
    return rows


def compiled(plan: Plan, seconds: float) -> Record:
    """The compiled half steps in a process of their own, which may take `seconds`: each batch and precision as it comes."""
    rows: Record = {}
    end = time.monotonic() + seconds
    for precision in reversed(PRECISIONS):
        for batch in plan.batches[:1]:
            task = {"device": plan.device, "batch": batch, "precision": precision, "quick": plan.backend == "aot_eager"}
            command = [sys.executable, "-m", "speed.gpu", "--compiled", json.dumps(task)]
            name = f"{precision}, batch {batch}"
            try:
                left = max(1.0, end - time.monotonic())
                answer = subprocess.run(command, capture_output=True, text=True, timeout=left, check=True)
                rows[name] = json.loads(answer.stdout.splitlines()[-1])
            except subprocess.TimeoutExpired:
                rows[name] = {"compiled": {"failed": f"no result after {left:.0f} s"}}
            except subprocess.CalledProcessError as error:
                rows[name] = {"compiled": {"failed": (error.stderr.strip().splitlines() or ["died"])[-1][:200]}}
    return rows


def gradients(plan: Plan) -> Record:
    """Largest difference of a graphed gradient from the eager one, over the tensor's largest entry; inputs are not the
    captured ones. `noise`: the same between two eager runs, which need not agree on a GPU."""
    rows: Record = {}
    for precision in PRECISIONS:
        graphed, eager = (MeasuredSteps(plan, plan.batches[0], precision, mode) for mode in ("graphed", "eager"))
        eager.module.load_state_dict(graphed.module.state_dict())
        fresh = eager.draw(plan.batches[0], plan.size.side)
        for half in HALVES:
            graphed.run(half)
            replayed = [None if out is None else out.clone() for out in graphed.run(half, fresh)]
            plain, again = ([None if out is None else out.clone() for out in eager.run(half, fresh)] for _ in range(2))
            rows[f"{precision}, {half}"] = {"difference": _distance(replayed, plain), "noise": _distance(again, plain)}
    return rows


def _distance(ones: Sequence[Tensor | None], others: Sequence[Tensor | None]) -> float:
    worst = 0.0
    for one, other in zip(ones, others, strict=True):
        if (one is None) != (other is None):
            return float("inf")
        if one is not None and other is not None:
            worst = max(worst, ((one - other).abs().max() / other.abs().max().clamp_min(1e-12)).item())
    return worst


class SynchronisationWatch(pl.Callback):
    """Notes each place where the host waits for the GPU, from the second batch of the second epoch to the last but one.

    The wait for the copy of alpha that was made a step before is none of them: events are not watched, and it has long come.
    """

    def __init__(self) -> None:
        self.places: list[str] = []
        self.batches = 0
        self._stack = ExitStack()
        self._caught: list[warnings.WarningMessage] | None = None

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if self._caught is not None:
            self.batches += 1
        elif trainer.current_epoch == 1 and not self.batches:
            self._caught = self._stack.enter_context(warnings.catch_warnings(record=True))
            warnings.simplefilter("always")
            _sync_debug("warn")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._caught is not None and batch_idx == int(trainer.num_training_batches) - 1:
            _sync_debug("default")
            waits = [warning for warning in self._caught if "called a synchronizing" in str(warning.message)]
            self.places = sorted({f"{warning.filename}:{warning.lineno}" for warning in waits})
            self._caught = None
            self._stack.close()


def _sync_debug(mode: str) -> None:
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode(mode)


def synchronisations(plan: Plan) -> Record:
    """Over loader, both half steps, optimisers and metrics, eager and graphed."""
    rows: Record = {}
    for graphs in ("false", "true"):
        watch = SynchronisationWatch()
        with tempfile.TemporaryDirectory() as scratch:
            settings = (*plan.fake(plan.batches[0], 2), f"trainer.graphs={graphs}")
            build_search(Path(scratch) / "run", *settings, callbacks=[watch]).fit()
        rows["graphed" if graphs == "true" else "eager"] = {"batches": watch.batches, "places": watch.places}
    return rows


class _StopAt(pl.Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


def resumption(plan: Plan) -> Record:
    """A search that stops after two of four epochs and goes on against one that runs through: bits of weights and alpha."""
    settings = (*plan.fake(plan.batches[0], 4), "+trainer.deterministic=true", "arch_optimizer.lr=0.01")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            through = build_search(Path(scratch) / "through", *settings)
            through.fit()
            with suppress(SystemExit):  # as Ctrl-C ends a run
                build_search(Path(scratch) / "stopped", *settings, callbacks=[_StopAt(2)]).fit()
            resumed = build_search(Path(scratch) / "stopped", *settings)
            rows = resumed.fit()
    finally:
        torch.use_deterministic_algorithms(False)
    pairs = zip(through.module.state_dict().items(), resumed.module.state_dict().values(), strict=True)
    differ = [name for (name, one), other in pairs if not torch.equal(one.cpu(), other.cpu())]
    return {"epochs": len(rows), "tensors_that_differ": differ}


def full_size(plan: Plan, batch: int) -> tuple[str, ...]:
    """Overrides of a whole search."""
    fake = "dataset=fake", f"dataset.image_size={plan.size.side}", "dataset.train_images=64"
    images = fake if plan.root is None else plan.images()
    scores = ["benchmark=nb201", *([] if plan.table is None else [f"benchmark.path='{Path(plan.table).absolute()}'"])]
    return (
        *plan.space(), plan.accelerator, *images, *scores, f"data.batch_size={batch}",
        f"trainer.max_epochs={plan.epochs}", "trainer.graphs=true", "trainer.precision=bf16-mixed",
    )  # fmt: skip


def search(plan: Plan, batch: int) -> Record:
    """One whole EDD search, as train.py runs it."""
    if plan.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as scratch:
        made = build_search(Path(scratch) / "run", *full_size(plan, batch))
        start = time.perf_counter()
        made.data.prepare_data()
        loaded = time.perf_counter()
        with _capture_times() as captures:
            rows = made.fit()
        fitted = time.perf_counter()
    epochs = [float(row["seconds"]) for row in rows]
    wanted = ("entropy", "discrete_accuracy", "train_accuracy", "valid_accuracy", "operations_computed")
    return {
        "batch": batch, "epochs": len(rows), "precision": made.trainer.precision, "images": made.data.split_record(),
        "load_s": loaded - start, "seconds": fitted - loaded, "epoch_s": spread(epochs),
        "first_epoch_s": epochs[0], "last_epoch_s": epochs[-1],
        "operations_computed_at_start": rows[0]["operations_computed"],
        "final": {name: rows[-1][name] for name in wanted},
        "scores": {name: value for name, value in rows[-1].items() if name.startswith("table/")},
        "architecture": rows[-1]["architecture"],
        "still_graphed": made.module.runner.graphs is not None, "captures": len(captures), "captures_s": sum(captures),
        "peak_mb": torch.cuda.max_memory_allocated() / 1e6 if plan.device == "cuda" else None,
    }  # fmt: skip


@contextmanager
def _capture_times() -> Iterator[list[float]]:
    """Seconds of each capture: one for every new set of computed operations."""
    seconds: list[float] = []
    captured = StepGraphs.__init__

    def timed(self: StepGraphs, capture: Capture, *state: Any) -> None:
        def counted(step: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
            start = time.perf_counter()
            result = capture(step)
            seconds.append(time.perf_counter() - start)
            return result

        captured(self, counted, *state)

    with mock.patch.object(StepGraphs, "__init__", timed):
        yield seconds


def overhead(plan: Plan) -> Record:
    size = Size(plan.size.channels, plan.size.cells, plan.batches[0], plan.size.side)
    # An eager epoch on a GPU takes four times a graphed one's time.
    modes = {"eager": (1, ()), "graphed": (3, ("trainer.graphs=true",))}
    return {
        mode: lightning_overhead(size, times * plan.fit_batches, 4, plan.accelerator, *settings)
        for mode, (times, settings) in modes.items()
    }


def parts(plan: Plan, left: Callable[[], float]) -> dict[str, tuple[float, Callable[[], Record]]]:
    """Name -> (seconds it may need on a GPU, what measures it), the more important first.

    With a folder for searches none is made and thrown away.
    """
    made = {
        "half_steps": (0.0, lambda: half_steps(plan)),
        "gradients": (10.0, lambda: gradients(plan)),
        "synchronisations": (20.0, lambda: synchronisations(plan)),
        "resumption": (20.0, lambda: resumption(plan)),
        "overhead": (40.0, lambda: overhead(plan)),
    }
    if plan.runs is None:
        made |= {f"search, batch {batch}": (90.0, lambda b=batch: search(plan, b)) for batch in plan.search_batches}
    else:
        made["side_by_side"] = (60.0, lambda: side_by_side(plan))
    return made | {"compiled": (30.0, lambda: compiled(plan, min(180.0, left() - 10)))}


def side_by_side(plan: Plan) -> Record:
    return gpu_searches.side_by_side(plan.fake(plan.search_batches[0], 3), gpu_searches.AT_ONCE)


def searches(plan: Plan, rates: Record, left: Callable[[], float]) -> Record:
    """The full-size searches, in what is left of the time: the first has the device for itself, so that its seconds count."""
    assert plan.runs is not None
    asked = gpu_searches.Searches(
        plan.runs.absolute(), full_size(plan, plan.search_batches[0]), plan.methods, plan.seeds
    )
    alone = gpu_searches.run(replace(asked, methods=plan.methods[:1], seeds=1), 1, left())
    if (seconds := left()) < gpu_searches.TO_STOP:
        return alone
    at_once = 1 if "failed" in rates else gpu_searches.best_number(rates)
    found = gpu_searches.run(asked, at_once, seconds)
    return found | {"failed": alone["failed"] | found["failed"]}


def run(plan: Plan, out: Path | None, say: Callable[[str], None] = print) -> Record:
    """All parts that the record in `out` has not yet, then the searches; the record is written after each of them."""
    start = time.monotonic()

    def left() -> float:
        return plan.seconds - (time.monotonic() - start)

    record = _begun(plan, out)
    for name, (needs, measure) in parts(plan, left).items():
        if "failed" not in record.get(name, {"failed": "not tried"}):
            continue
        began = time.monotonic()
        if left() < min(needs, plan.seconds / 4):
            record[name] = {"failed": f"left out: {left():.0f} s were left"}
        else:
            try:
                with _graphs_stood_in(plan):
                    record[name] = measure()
            except Exception as error:  # the other parts are worth having all the same
                record[name] = {"failed": _sentence(error)}
        say(f"{name}: {time.monotonic() - began:.0f} s  {record[name].get('failed', '')}")
        if out is not None:
            write(record, out)
    if plan.runs is not None:
        record["searches"] = searches(plan, record["side_by_side"], left)
        say(f"searches: {json.dumps(record['searches'])}")
        if out is not None:
            write(record, out)
    return record


def _begun(plan: Plan, out: Path | None) -> Record:
    """The record to go on with: the one in `out` where it is of this device, commit and plan, else a new one."""
    fresh = heading(plan.torch_device) | {
        "plan": {"epochs": plan.epochs, "rounds": plan.rounds, "batches": list(plan.batches)}
    }
    earlier = read(out) if out is not None and out.exists() else {}
    is_same = all(earlier.get(key) == fresh[key] for key in ("hardware", "commit", "dirty", "plan", "versions"))
    return earlier if is_same else fresh


def _graphs_stood_in(plan: Plan) -> ExitStack:
    """Without a GPU the trainer's graphs are stood in for too."""
    stack = ExitStack()
    if plan.device != "cuda":
        graphs = mock.patch(
            "nas_lightning.supernet.runner.step_graphs",
            side_effect=lambda device, state: StepGraphs(capture_stand_in, state),
        )
        stack.enter_context(graphs)
    return stack


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m speed.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: the logic alone, graphs stood in for"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, made-up images")
    parser.add_argument("--cifar", "--root", dest="root", help="zip or folder of the CIFAR-10 images")
    parser.add_argument("--table", help="NAS-Bench-201 table (.npz)")
    parser.add_argument("--epochs", type=int, default=50, help="of the searches; 50 unless named")
    parser.add_argument("--out", type=Path, help="record, and where to go on; with --quick none unless named")
    parser.add_argument("--runs", type=Path, help="folder for full-size searches")
    parser.add_argument(
        "--methods", default=",".join(gpu_searches.METHODS), help="of the searches; %(default)s unless named"
    )
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="for all of it; %(default)g unless named")
    parser.add_argument("--compiled", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if fault := _fault(args):
        sys.exit(fault)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for deterministic matrix products
    if args.compiled:
        task = json.loads(args.compiled)
        plan = _plan(task["device"], task["quick"])
        print(json.dumps(measure_modes(plan, ("eager", "compiled"), task["batch"], task["precision"])))
        return
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("No CUDA GPU here; try the logic with --device cpu --quick.")
    if args.device == "cuda" and not args.quick and args.root is None:
        sys.exit("Give the CIFAR-10 images by --cifar ZIP, or --quick for made-up ones.")
    plan = _plan(args.device, args.quick, args.root, args.table, args.epochs)
    plan = replace(plan, runs=args.runs, methods=tuple(args.methods.split(",")), seconds=args.seconds)
    quieten()
    out = args.out or (None if args.quick else RESULTS / f"{heading(plan.torch_device)['hardware']}.json")
    try:
        _check_places(plan, out)
    except UserError as error:
        sys.exit(str(error))
    record = run(plan, out)
    console = Console()
    for table in gpu_tables.tables(record):
        table.show(console)


def _fault(args: argparse.Namespace) -> str:
    """What is wrong with the arguments, before anything is measured; an empty string where nothing is."""
    if args.runs is not None and (fault := _no_folder(args.runs)):
        return f"--runs {args.runs}: {fault}."
    if args.out is not None and args.out.is_dir():
        return f"--out {args.out} is a folder; give a file in it, such as gpu.json."
    if args.out is not None and (fault := _no_folder(args.out.absolute().parent)):
        return f"--out {args.out}: {fault}."
    if args.out is not None and args.out.exists():
        try:
            if not isinstance(read(args.out), dict):
                return f"--out {args.out} is no record to go on with (it holds no object); give another file."
        except (OSError, ValueError) as error:
            return f"--out {args.out} is no record to go on with ({error}); give another file."
    if unknown := [name for name in args.methods.split(",") if name not in METHODS]:
        return f"--methods {unknown[0]!r} is no method; give some of {', '.join(METHODS)}."
    if not 0 < args.seconds < math.inf:
        return f"--seconds {args.seconds:g}: give the seconds that all of it may take, such as 540."
    if args.epochs < 1:
        return f"--epochs {args.epochs}: give 1 or more."
    if args.quick and args.root is not None:
        return "--quick takes made-up images, so --cifar has no effect; leave one of them out."
    return ""


def _check_places(plan: Plan, out: Path | None) -> None:
    """UserError where there are no such images, no such table, or no record can be written: before the GPU's minutes begin."""
    if plan.root is not None:
        _ = build_data(composed(Path("unused"), *plan.images()), True).num_classes
    if plan.table is not None:
        open_table(plan.table)
    if out is not None:
        write(read(out) if out.exists() else {}, out)


def _no_folder(path: Path) -> str:
    """What keeps `path` from being a folder, or becoming one; an empty string where nothing does."""
    above = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    return "" if above.is_dir() else f"{above} is a file; give a folder"


def _plan(device: str, quick: bool, root: str | None = None, table: str | None = None, epochs: int = 50) -> Plan:
    if quick:
        return replace(QUICK, device=device, table=table)
    return Plan(device, root=root, table=table, epochs=epochs)


if __name__ == "__main__":
    main()
