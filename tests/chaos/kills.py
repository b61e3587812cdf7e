"""Programs that are killed, at any time and at chosen points, and started again by the same command until they end.

Each must end with the files of a run that nothing has interrupted, to the bit, having begun no epoch more than once again for
each kill.
"""

import csv
import fcntl
import json
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tests.chaos.points import Blow, Points, draw_nothing, log_epochs
from tests.chaos.programs import Case, Child, Ended, import_what, launched

SECONDS = 180  # for a launch
LAUNCHES = 20  # of one command
_TOY = (
    "dataset=fake", "dataset.image_size=8", "space.C=2", "space.N=1", "data.batch_size=8", "trainer.accelerator=cpu",
    "benchmark=none",
)  # fmt: skip
_SEARCH = (*_TOY, "data.train_images=16", "data.valid_images=16")
_TEXT = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
_STAGES = ("space.C=4", "space.partial=4")
_SURE = ("decision.start=1", "decision.interval=1")
_ALONE = ("run_dir=run",)


@dataclass(frozen=True)
class Task:
    """A command whose run is small; `runs` of its folders end with a report."""

    program: str
    arguments: tuple[str, ...]
    runs: int = 1


def _search(*overrides: str) -> Task:
    return Task("train", (*_SEARCH, "trainer.max_epochs=6", *_ALONE, *overrides))


TASKS = {
    "edd": _search("method=edd"),
    "darts": _search("method=darts"),
    "gdas": _search("method=gdas"),
    "sgas": _search("method=sgas", *_SURE),
    "drnas_progressive": _search("method=drnas_progressive", *_STAGES),
    "darts_plus": _search("method=darts_plus", "stop.limit=1"),
    "darts_pt": _search("method=darts_pt", "stages.stages.projection.decision.interval=1"),
    "sdarts_adv": _search("method=sdarts_adv", "perturbation.steps=1"),
    "training": Task(
        "evaluate",
        (
            *_TOY, "dataset.train_images=16", "dataset.test_images=8", "trainer.max_epochs=3", f"genotype={_TEXT}",
            "train=true", *_ALONE,
        ),
    ),
    "sweep": Task("train", ("-m", *_SEARCH, "trainer.max_epochs=3", "seed=0,1", "hydra.sweep.dir=run"), runs=2),
    "study": Task(
        "tune", (*_SEARCH, "trainer.max_epochs=3", "relaxation=sn_s100", "tune.trials=2", *_ALONE), runs=2
    ),
}  # fmt: skip


KINDS = ("unequal", "lost", "person", "traceback", "hang", "left")


class Kills:
    """Cases by their number: each is drawn from `seed` and its own number alone.

    places: folders on different file systems; a case draws one for its run and one for TMPDIR.
    """

    def __init__(self, seed: int, places: tuple[Path, ...]) -> None:
        self.seed = seed
        self.places = places
        self._whole: dict[str, tuple[Path, float, Counter[str]]] = {}
        warm = self._place("warm")
        ended = import_what(partial(_run, TASKS["edd"], None, warm), warm)
        assert ended.status == 0, ended.error

    def _place(self, name: str) -> Path:
        place = self.places[0] / name
        place.mkdir(parents=True)
        return place

    def whole(self, name: str) -> tuple[Path, float, Counter[str]]:
        """The place of a run that nothing interrupts, the seconds that it took, and its points."""
        if name not in self._whole:
            place = self._place(f"whole-{name}")
            ended = import_what(partial(_run, TASKS[name], None, place), place)
            assert ended.status == 0, ended.error
            points = Counter((place / "points").read_text().splitlines())
            self._whole[name] = place, ended.seconds, points
        return self._whole[name]

    def case(self, number: int) -> Case:
        chance = random.Random(f"{self.seed} {number}")
        name = chance.choice([*TASKS, "training", "study", "sweep"])
        case = Case(number, name)
        home, temporary = (chance.choice(self.places) / f"{kind}-{number}" for kind in ("case", "tmp"))
        for place in (home, temporary):
            place.mkdir()
        whole, seconds, points = self.whole(name)
        planned = [_draw(chance, points) for _ in range(chance.choice((1, 1, 2, 3)))]
        try:
            self._play(case, planned, home, temporary, seconds)
            _compare(case, whole / "run", home / "run", name)
        finally:
            shutil.rmtree(home)
            shutil.rmtree(temporary)
        return case

    def _play(self, case: Case, planned: list[Any], home: Path, temporary: Path, seconds: float) -> None:
        task = TASKS[case.name]
        for launch in range(LAUNCHES):
            plan = planned.pop(0) if planned else None
            blow = plan if isinstance(plan, Blow) else None
            said = home / f"said-{launch}"
            child = Child(partial(_run, task, blow, home), home, said, {"TMPDIR": str(temporary)}).begin()
            case.done.append(str(plan))
            if isinstance(plan, Moment):
                case.counts["kills"] += _strike(plan, child, task, home, seconds, case)
            ended = child.wait(SECONDS)
            _check_said(case, ended)
            if blow is not None:
                case.counts["kills"] += ended.status not in (0, None)
            if ended.status is None:
                case.add("hang", f"launch {launch} took {SECONDS} s")
                return
            if _is_finished(home / "run", task) and (plan is None or ended.status == 0):
                break
            if plan is None and not _says_finished(ended, home / "run"):
                case.add("person", f"launch {launch}: exit status {ended.status}")
                return
        else:
            case.add("person", f"not finished after {LAUNCHES} launches")
        _check_epochs(case, home / "epochs")


@dataclass(frozen=True)
class Moment:
    """A signal after a `share` of the time of a whole run; SIGSTOP is followed by a second process and by `then`."""

    share: float
    number: int
    then: int = signal.SIGCONT


def _draw(chance: random.Random, points: Counter[str]) -> Any:
    kind = chance.random()
    if kind < 0.35:
        return Moment(chance.random() * chance.choice((0.2, 1, 1)), chance.choice(_SIGNALS))
    if kind < 0.45:
        return Moment(chance.random(), signal.SIGSTOP, chance.choice((signal.SIGCONT, signal.SIGKILL)))
    point = chance.choice(sorted(points))
    whens = ("before", "half", "after") if point.split()[0] in _HALVED else ("before", "after")
    return Blow(point, chance.randint(1, points[point]), chance.choice(whens), chance.choice(_SIGNALS))


_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_HALVED = ("write_bytes", "write_text", "append", "append_logs")


def _run(task: Task, blow: Blow | None, place: Path) -> None:
    draw_nothing()
    log_epochs(place / "epochs")
    Points(place / "points", blow).install()
    launched(task.program, task.arguments)()


def _strike(plan: Moment, child: Child, task: Task, home: Path, seconds: float, case: Case) -> int:
    """Whether the signal has met a living process."""
    time.sleep(plan.share * seconds)
    if child.is_over():
        return 0
    child.signal(plan.number)
    if plan.number == signal.SIGSTOP:
        held = any(map(_is_held, (home / "run").rglob(".lock")))
        second = Child(partial(_run, task, None, home), home, home / "said-second").begin().wait(SECONDS)
        _check_said(case, second)
        if held and (second.status in (0, None) or "is in use by process" not in second.error):
            case.add("unequal", f"the second process was not refused: {second.status}")
        child.signal(plan.then)
    return 1


def _is_held(lock: Path) -> bool:
    """By a living process: the file of one that was killed stays."""
    with lock.open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _check_said(case: Case, ended: Ended) -> None:
    case.said.append(f"{ended.status} in {ended.seconds:.1f} s\n{ended.output}\n{ended.error}")
    if ended.has_traceback:
        case.add("traceback", ended.error[-2_000:])


def _is_finished(folder: Path, task: Task) -> bool:
    return len(list(folder.rglob("report.json"))) == task.runs


def _says_finished(ended: Ended, folder: Path) -> bool:
    """A kill after its report leaves a finished run, which the same command does not run again."""
    return ended.status == 1 and (folder / "report.json").exists() and "holds a finished run" in ended.error


def _check_epochs(case: Case, log: Path) -> None:
    """A launch begins at the latest epoch that any before it has begun, or later."""
    latest: dict[str, tuple[str, int]] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        process, epoch, path = line.split(" ", 2)
        before, number = latest.get(path, (process, -1))
        if process != before and int(epoch) < number:
            case.add("lost", f"{path}: epoch {epoch} begun after epoch {number}")
        latest[path] = process, int(epoch)


def _compare(case: Case, theirs: Path, ours: Path, name: str) -> None:
    found, expected = _files(ours), _files(theirs)
    if name == "study":
        _check_study(case, ours, theirs)
    else:
        for path in sorted(found - expected):
            case.add("left", path)
        for path in sorted(expected - found):
            case.add("unequal", f"{path} is missing")
    for path in sorted(found & expected):
        if not _is_equal(ours / path, theirs / path):
            case.add("unequal", path)


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def _check_study(case: Case, ours: Path, theirs: Path) -> None:
    """Later trials are drawn anew where a launch ends between them; each is a trial all the same."""
    import optuna

    backend = optuna.storages.journal.JournalFileBackend(str(ours / "study.log"))
    study = optuna.load_study(study_name="tune", storage=optuna.storages.JournalStorage(backend))
    for trial in study.trials:
        if trial.state.name != "COMPLETE":
            case.add("unequal", f"trial {trial.number} is {trial.state.name}")
            continue
        overrides = ",".join(f"{key}={value:.4g}" for key, value in trial.params.items())
        report = json.loads((ours / overrides / "report.json").read_text())
        if report["final"]["discrete_accuracy"] != trial.value:
            case.add("unequal", f"trial {trial.number} is worth {trial.value}")
    folders = [path.parent for path in ours.glob("*/report.json")]
    if len(study.trials) != 2 or len(folders) != 2:
        case.add("unequal", f"{len(study.trials)} trials, {len(folders)} folders")
    expected = {path.split("/", 1)[-1] for path in _files(theirs)}
    for path in _files(ours):
        if path.split("/", 1)[-1] not in expected:
            case.add("left", path)


def _is_equal(ours: Path, theirs: Path) -> bool:
    if ours.name == "metrics.csv":
        return _rows(ours) == _rows(theirs)
    if ours.name == "report.json":
        return _without_clocks(json.loads(ours.read_text())) == _without_clocks(json.loads(theirs.read_text()))
    if ours.suffix in (".ckpt", ".pt", ".safetensors"):
        return _same(*(torch.load(path, weights_only=True) for path in (ours, theirs)))
    if ours.name in ("study.log", "MODEL_CARD.md", "multirun.yaml"):  # with times, drawn numbers, the current folder
        return True
    return ours.read_bytes() == theirs.read_bytes()


# The harness may run while somebody commits.
_CLOCKS = ("seconds", "processor_seconds", "peak_memory_mb", "latency_ms", "finished", "commit", "dirty")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [_without_clocks(row) for row in csv.DictReader(file)]


def _without_clocks(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_clocks(value) for key, value in data.items() if key not in _CLOCKS}
    return data


def _same(ours: Any, theirs: Any) -> bool:
    """But for the tables that a checkpoint keeps, which hold seconds."""
    if isinstance(ours, torch.Tensor):
        return isinstance(theirs, torch.Tensor) and torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(
            key in ("callbacks", "loops") or _same(value, theirs[key]) for key, value in ours.items()
        )
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return bool(ours == theirs)
