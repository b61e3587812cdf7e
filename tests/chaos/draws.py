"""Overrides drawn over the whole tree of configs for every program: each ends in a report or in one sentence.

The values are what a command line can say: numbers of no use, other types, texts, interpolations, the yaml of another group.
"""

import math
import random
import shutil
import socket
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nas_lightning.app.configs import CONFIGS
from nas_lightning.records.folder import flat
from tests.axes import toy_choice
from tests.chaos.points import draw_nothing
from tests.chaos.programs import Case, Child, Ended, import_what, launched, limit_memory

SECONDS = 60
COMPILING = 600
"""Seconds of a run whose cells are compiled: four minutes of this machine, beside other work, for the smallest."""
MEMORY = 6 * 2**30
KINDS = ("traceback", "hang", "died", "sentences", "nonsense")
"""Sentences: not one. Nonsense: a run to its end with a value that cannot be meant."""

VALUES: dict[str, Any] = {
    "nan": math.nan, "inf": math.inf, "-inf": -math.inf, "-1": -1, "0": 0, "1": 1, "0.5": 0.5, "1e308": 1e308,
    "1e-320": 1e-320, str(10**30): 10**30, "true": True, "false": False, "null": None, "''": "", "x": "x", "[]": [], "{}": {},
    "[1,2]": [1, 2], "{a:1}": {"a": 1}, "x" * 3_000: "x" * 3_000, "'é\u202e中'": "é\u202e中", "'???'": "???",
    "'${oc.env:HOME}'": "HOME", "${nothing}": "nothing", "'../x'": "../x", "'a\\nb'": "a\\nb", "'1'": "1",
}  # fmt: skip
"""As they are written on the command line, and what they are."""

_TOY = (
    "dataset=fake", "dataset.image_size=8", "space.C=2", "space.N=1", "data.batch_size=8", "trainer.max_epochs=2",
    "trainer.accelerator=cpu", "benchmark=none", "run_dir=run",
)  # fmt: skip
_SEARCH = (*_TOY, "data.train_images=16", "data.valid_images=16")
_TEXT = "genotype=|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
BASES = {
    "train": _SEARCH,
    "evaluate": (*_TOY, "dataset.train_images=16", "dataset.test_images=8", "train=true", "baselines=false", _TEXT),
    "tune": (*_SEARCH, "relaxation=sn_s100", "tune.trials=1"),
}
_ANY = ("name", "run_dir", "data.progress")  # whose values may be of any kind


@cache
def groups(program: str) -> dict[str, list[str]]:
    """Group -> its options, of those that the program's config has."""
    names = {
        "train": (),
        "tune": (),
        "evaluate": ("space", "dataset", "data", "benchmark", "logger", "trainer", "recipe"),
    }
    found = {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in CONFIGS.iterdir()}
    chosen = names[program] or ({*found} - {"hydra", "recipe"})
    return {name: options for name, options in sorted(found.items()) if options and name in chosen}


@cache
def leaves(program: str, choice: str | None) -> dict[str, Any]:
    """Dotted key -> value of the config with this choice, {} where it does not compose."""
    overrides = [*([choice] if choice else []), "run_dir=x"]
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = compose(program, overrides)
    except Exception:
        return {}
    values = {}
    for key in flat(OmegaConf.to_container(config, resolve=False)):
        try:
            values[key] = OmegaConf.select(config, key)
        except Exception:
            values[key] = None
    return values


class Draws:
    """Cases by their number: each is drawn from `seed` and its own number alone."""

    def __init__(self, seed: int, places: tuple[Path, ...]) -> None:
        self.seed = seed
        self._place = places[0]
        for program, base in BASES.items():
            place = self._place / f"warm-{program}"
            place.mkdir()
            ended = import_what(partial(_run, program, base), place)
            assert ended.status == 0, ended.error
        leaves("train", None)

    def case(self, number: int) -> Case:
        chance = random.Random(f"{self.seed} {number}")
        program = chance.choice(("train", "train", "evaluate", "tune"))
        drawn = _draw(chance, program)
        base = [each for each in _base(program, drawn) if _key(each) not in {_key(override) for override, *_ in drawn}]
        case = Case(number, f"{program} {' '.join(override[:80] for override, *_ in drawn)}")
        place = self._place / f"draw-{number}"
        place.mkdir()
        arguments = [*base, *(override for override, *_ in drawn)]
        case.done.append(" ".join(arguments))
        surroundings = {"HOME": str(place), "XDG_CACHE_HOME": str(place), "WANDB_MODE": "offline", "NAS_SECRET": "x"}
        child = Child(partial(_run, program, arguments), place, self._place / f"said-{number}", surroundings)
        try:
            _classify(case, child.begin().wait(_patience(arguments)), drawn, place)
        finally:
            shutil.rmtree(place)
        return case


def _run(program: str, arguments: list[str]) -> None:
    limit_memory(MEMORY)
    draw_nothing()
    socket.socket.connect = _unreachable  # type: ignore[method-assign, assignment]
    launched(program, arguments)()


def _patience(arguments: list[str]) -> int:
    return COMPILING if "trainer.compile=true" in arguments else SECONDS


def _unreachable(*arguments: Any) -> NoReturn:
    raise OSError(101, "Network is unreachable")


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _base(program: str, drawn: list[tuple[str, Any, Any]]) -> list[str]:
    """Toy sizes; another space than NAS-Bench-201 has cells and architectures of its own."""
    spaces = [override for override, *_ in drawn if override.startswith("space=")]
    if not spaces or spaces[-1] == "space=nb201":
        return list(BASES[program])
    return [{"space.N=1": "space.num_cells=3", _TEXT: "genotype=DARTS_V2"}.get(each, each) for each in BASES[program]]


def _draw(chance: random.Random, program: str) -> list[tuple[str, Any, Any]]:
    """Overrides, each with the value and what it was before; (), () where it is no leaf's."""
    drawn: list[tuple[str, Any, Any]] = []
    choice = None
    if chance.random() < 0.6:
        group = chance.choice(sorted(groups(program)))
        choice = f"{group}={chance.choice(groups(program)[group])}"
        group_override = (
            choice if group not in ("images", "family", "size", "published", "tuned", "edd_paper") else None
        )
        if group_override is not None and leaves(program, choice):
            drawn.append((choice, (), ()))
            drawn += [(override, (), ()) for override in toy_choice(group, choice.partition("=")[2])[1:]]
        else:
            choice = None
    known = leaves(program, choice)
    below = [key for key in known if choice and key.startswith(choice.partition("=")[0] + ".")]
    for _ in range(chance.choices((1, 2, 3), (6, 3, 1))[0]):
        key = chance.choice(below if below and chance.random() < 0.7 else sorted(known))
        drawn.append(_override(chance, program, key, known))
    return list({_key(each[0]): each for each in drawn}.values())


def _override(chance: random.Random, program: str, key: str, known: dict[str, Any]) -> tuple[str, Any, Any]:
    kind = chance.random()
    if kind < 0.8:
        text = chance.choice(list(VALUES))
        return f"{key}={text}", VALUES[text], known[key]
    if kind < 0.86:
        return f"~{key}", (), ()
    if kind < 0.92:
        place = key.rpartition(".")[0]
        return f"+{place}{'.' if place else ''}unknown={chance.choice(list(VALUES))}", "unknown", math.nan
    group, other = chance.sample(sorted(groups(program)), 2)
    return f"{group}={chance.choice([*groups(program)[other], *VALUES])}", (), ()


def _classify(case: Case, ended: Ended, drawn: list[tuple[str, Any, Any]], place: Path) -> None:
    case.said.append(f"{ended.status} in {ended.seconds:.1f} s\n{ended.output[-2_000:]}\n{ended.error[-4_000:]}")
    if ended.status is None:
        if any(place.rglob("metrics.csv")):
            case.counts["still running"] += 1
        else:
            case.add("hang", f"no epoch in {ended.seconds:.0f} s")
    elif ended.has_traceback:
        case.add("traceback", ended.error.strip().splitlines()[-1])
    elif ended.status < 0:
        case.add("died", f"signal {-ended.status}")
    elif ended.status == 0:
        case.counts["finished"] += 1
        for override, value, before in drawn:
            if value != () and _is_nonsense(_key(override), value, before):
                case.add("nonsense", f"{override[:100]} for {before!r}")
    elif "HYDRA_FULL_ERROR" in ended.error or "usage:" in ended.error:
        case.counts["refused by Hydra"] += 1
    else:
        case.counts["refused"] += 1
        lines = [line for line in ended.error.splitlines() if line.strip() and not line.startswith("epoch ")]
        if len(lines) != 1:
            case.add("sentences", f"{len(lines)} lines")


def _is_nonsense(key: str, value: Any, before: Any) -> bool:
    """Of another type than the one before, or no finite number; what is wrong within the type is for a reader."""
    if value == "unknown":
        return True
    if isinstance(value, float) and not math.isfinite(value):
        return key != "run_dir"  # a folder of this name
    if key in _ANY or before is None or value is None or (isinstance(value, str) and isinstance(before, str)):
        return False
    if isinstance(before, bool) or isinstance(value, bool):
        return isinstance(before, bool) != isinstance(value, bool) and not isinstance(before, str)
    if isinstance(before, int | float):
        return not isinstance(value, int | float)
    return isinstance(value, list | dict) and isinstance(before, str)
