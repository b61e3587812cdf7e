"""Folders as a stranger might send them, drawn by a seed, and every program that reads one.

A whole search and a whole training lie in a folder; then some of their values, files and names are replaced by hostile ones.
"""

import json
import os
import random
import shutil
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

import nas_lightning
from nas_lightning.app.checkpoints import Checkpoints
from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.job import Job
from nas_lightning.app.predict import predict
from nas_lightning.app.tune import _objective
from nas_lightning.errors import UserError
from nas_lightning.genotypes.nb201 import parse_nb201
from nas_lightning.records.epochs import read_rows
from nas_lightning.records.folder import RunFolder
from nas_lightning.reports.__main__ import main as reports
from nas_lightning.spaces import NB201
from nas_lightning.training.export import export_network, save_weights
from nas_lightning.training.interface import Interface

SECRET = "b7e1-of-the-reader"
ARCHITECTURE = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
SPACE = {"_target_": "nas_lightning.spaces.NB201", "C": 4, "N": 1}
DATASET = {"_target_": "nas_lightning.data.Fake", "image_size": 8, "num_classes": 5}
INTERFACE = Interface(8, ("a", "b", "c", "d", "e"), ((0.5,) * 3, (0.25,) * 3), None)

TEXTS = (
    "${oc.env:NAS_SECRET}", "x${oc.env:NAS_SECRET}", "${now:%Y}", "???", "", "red\x1b[31m", "title\x1b]0;t\x07", "two\nlines",
    "back\r", "\u202ereversed", "lone \ud800", "=1+1", "@x", "-2+3", "+1-1", "\t=1", "a|b", "`code`", "<script>x</script>",
    "[bold]x[/bold]", "[/red]", "[link=file:///]x", ":smile:", "\\input{x}", "$x^$", "%", "[0pt]x", "_x", "../../escaped",
    "/escaped", "..", "a/../../../escaped", "CON", "nan", "1e999", "x" * 9_999, "x" * 20_000, "é" * 300, "&amp;", "'\"",
)  # fmt: skip
NUMBERS = (0, -1, 1, 10**9, 10**30, 10**400, 1e99, 1e308, -1e308, float("nan"), float("inf"), True, None, 0.5)
NAMES = (
    "run", "run ${oc.env:NAS_SECRET}", "it's", "back\\", "\x1b[31m", "two\nlines", "=1+1", "a,b=c", "[bold]", "\u202ex",
    "-o", "~x", "train=true", "x'", "\udcff", "<b>", "a|b", "$x^$", "$(touch escaped)", "a;b", "*",
)  # fmt: skip


def targets(canary: Path) -> list[dict[str, Any]]:
    """What runs a command or writes a file where it is instantiated, alone and inside of ours."""
    touch = f"touch {canary}"
    alone: list[dict[str, Any]] = [
        {"_target_": "torch.utils.collect_env.run", "command": touch},
        {"_target_": "os.system", "_args_": [touch]},
        {"_target_": "subprocess.Popen", "args": ["touch", str(canary)]},
        {"_target_": "builtins.exec", "_args_": [f"open({str(canary)!r}, 'w')"]},
        {"_target_": "pathlib.Path.touch", "_args_": [{"_target_": "pathlib.Path", "_args_": [str(canary)]}]},
        {"_target_": "nas_lightning.records.files.write_text_atomically", "path": str(canary), "text": "x"},
        {"_target_": "nas_lightning.tabular.NB201Table", "path": str(canary)},
        {"_target_": "nas_lightning.data.datamodules.SearchData"},
        {"_target_": f"{canary.stem}.Space"},
        {"_target_": ["os.system"]},
    ]
    mine = [{**DATASET, "padding": each} for each in alone] + [{**SPACE, "C": each} for each in alone]
    more = [{**DATASET, "_args_": [8]}, {**DATASET, "_partial_": True}, {**SPACE, "_recursive_": False}]
    return [*alone, *mine, *more]


def whole(folder: Path) -> None:
    """A finished search in `folder`, and its training in `folder`/trained."""
    genotype = parse_nb201(ARCHITECTURE)
    config = {"name": "toy", "seed": 0, "run_dir": "runs/x", "space": SPACE, "dataset": DATASET, "sched": {"lam": 0.1}}
    report = {
        "schema": 1, "kind": "search", "experiment": "toy", "method": "edd", "space": "nb201", "dataset": "fake", "seed": 0,
        "overrides": ["seed=0", "sched.lam=0.1"], "genotype": json.loads(genotype.to_json()), "architecture": ARCHITECTURE,
        "final": {"epoch": 2, "entropy": 0.2, "discrete_accuracy": 0.5}, "scores": {"cifar10_test_200": 91.0}, "table": ["t"],
        "selection": "last", "epochs": 3, "seconds": 9.5, "device": "cpu", "commit": None, "config": config,
    }  # fmt: skip
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"none")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "genotype.json").write_text(genotype.to_json())
    (folder / "failed.txt").write_text("a cause\n")  # read where there is no report
    rows = [f"{epoch},{0.5**epoch},{0.2 * epoch},{0.9**epoch},{ARCHITECTURE}" for epoch in range(3)]
    (folder / "metrics.csv").write_text(
        "\n".join(["epoch,entropy,discrete_accuracy,temperature,architecture", *rows]) + "\n"
    )
    found = json.dumps(report["genotype"]).replace('"', '""')
    rows = [f'{epoch},{0.1 * epoch},{0.5 + 0.1 * epoch},"{found}"' for epoch in range(3)]
    columns = "epoch,alpha/cell/0/none,beta/cell/0/none,architecture"
    (folder / "architecture.csv").write_text("\n".join([columns, *rows]) + "\n")
    trained = {
        **report, "kind": "evaluation", "recipe": "nb201", "params": 1000, "macs": 2000, "num_classes": 5, "image_size": 8,
        "test_accuracy": 0.5, "classes": INTERFACE.classes, "normalisation": INTERFACE.normalisation, "resize": None,
    }  # fmt: skip
    (folder / "trained").mkdir()
    (folder / "trained" / "report.json").write_text(json.dumps(trained))
    save_weights(NB201(4, 1).network(genotype, 5), folder / "trained", INTERFACE)


def draw(seed: int, place: Path, template: Path, canary: Path) -> Path:
    """A hostile folder below the empty folder `place`, beside an honest one, from which it differs in what a table shows.

    `template` is a `whole` one; links lead to `place`/../private. Each kind of attack has its turn.
    """
    chance = random.Random(seed)
    shutil.copytree(template, place / "honest")
    folder = place / chance.choice(NAMES)
    shutil.copytree(template, folder)
    attack = (_attack_targets, _attack_texts, _attack_files, _attack_failures, _attack_anything)[seed % 5]
    attack(chance, folder, canary, place.parent / "private")
    return folder


def _changed(file: Path, change: Callable[[Any], None]) -> None:
    """JSON is YAML too."""
    data = yaml.safe_load(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def _attack_targets(chance: random.Random, folder: Path, canary: Path, private: Path) -> None:
    runs = targets(canary)
    _changed(folder / "config.yaml", lambda config: config.update(dataset=deepcopy(chance.choice(runs))))
    for file in (folder / "report.json", folder / "trained" / "report.json"):
        _changed(file, lambda report: report["config"].update(space=deepcopy(chance.choice(runs))))


def _attack_texts(chance: random.Random, folder: Path, canary: Path, private: Path) -> None:
    def change(report: Any) -> None:
        for key in ("experiment", "method", "dataset", "recipe", "architecture", "selection", "device"):
            if chance.random() < 0.6:
                report[key] = chance.choice(TEXTS[:-5])
        report["overrides"] += [f"{chance.choice(TEXTS)}={chance.choice(TEXTS)}" for _ in range(3)]
        report["overrides"].append(f"sched.lam={chance.choice(TEXTS)}")
        report["config"]["sched"]["lam"] = chance.choice(TEXTS)
        report["final"][chance.choice(TEXTS)] = 1.0
        if chance.random() < 0.5:
            report["scores"] = {chance.choice(TEXTS): 1.0}
        if chance.random() < 0.3:
            space, cell, operation = chance.choices(TEXTS, k=3)
            report["genotype"] = {"space": space, "cells": {cell: [[operation, 0, 1]]}}
        report["split"] = {"caution": chance.choice(TEXTS)}
        if "classes" in report:
            report["classes"] = chance.sample(TEXTS[:-5], 5)

    for file in (folder / "report.json", folder / "trained" / "report.json"):
        _changed(file, change)
    text = chance.choice(TEXTS)
    _changed(folder / "config.yaml", lambda config: config["dataset"].update({text: 1, "padding": text}))
    _mutate_table(chance, folder / "architecture.csv")


def _attack_files(chance: random.Random, folder: Path, canary: Path, private: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for file in chance.sample(files, 3):
        _replace(chance, file, private)


def _attack_failures(chance: random.Random, folder: Path, canary: Path, private: Path) -> None:
    """An unfinished run, or one with a cause."""
    (folder / "report.json").unlink()
    cause = folder / "failed.txt"
    kind = chance.choice(("texts", "link", "no file", "unfinished"))
    if kind == "texts":
        cause.write_bytes("".join(chance.sample(TEXTS, 5)).encode("utf-8", "replace"))
    elif kind == "link":
        cause.unlink()
        cause.symlink_to(private)
    elif kind == "no file":
        _replace(chance, cause, private)
    else:
        cause.unlink()
        _mutate_table(chance, folder / "metrics.csv")


def _attack_anything(chance: random.Random, folder: Path, canary: Path, private: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for file in chance.sample(files, 3):
        if file.suffix in (".json", ".yaml"):
            _mutate(chance, file, canary)
        elif file.suffix == ".csv":
            _mutate_table(chance, file)


def _mutate(chance: random.Random, file: Path, canary: Path) -> None:
    data = yaml.safe_load(file.read_text())
    for _ in range(chance.choice((1, 2, 5))):
        nodes = _nodes(data)
        node = chance.choice(nodes) if nodes else data
        value = deepcopy(_value(chance, canary))
        if isinstance(node, dict):
            key = chance.choice([*node, chance.choice(TEXTS)])
            if chance.random() < 0.15:
                node.pop(key, None)
            else:
                node[key] = value
        elif isinstance(node, list) and node:
            node[chance.randrange(len(node))] = value
    file.write_text(json.dumps(data))


def _nodes(data: Any) -> list[Any]:
    """The mappings and lists of `data`, itself included."""
    if not isinstance(data, dict | list):
        return []
    below = data.values() if isinstance(data, dict) else data
    return [data, *(node for each in below for node in _nodes(each))]


def _value(chance: random.Random, canary: Path) -> Any:
    kind = chance.random()
    if kind < 0.45:
        return chance.choice(TEXTS)
    if kind < 0.7:
        return chance.choice(NUMBERS)
    if kind < 0.9:
        return chance.choice(targets(canary))
    return chance.choice([[], {}, [[[]]], [chance.choice(TEXTS)] * 3, {chance.choice(TEXTS): 1}, ["seed=1"] * 5_000])


def _mutate_table(chance: random.Random, file: Path) -> None:
    lines = [line.split(",") for line in file.read_text().splitlines()]
    for _ in range(chance.choice((1, 3))):
        line = chance.choice(lines or [[""]])
        value = chance.choice((*TEXTS, *map(str, NUMBERS), "alpha/x", "beta/a/b/c/d"))
        line[chance.randrange(len(line))] = value.encode("utf-8", "replace").decode()
    file.write_text("\n".join(map(",".join, lines)))


def _replace(chance: random.Random, file: Path, private: Path) -> None:
    """By something that is no such file."""
    content = chance.choice(list(CONTENTS))
    file.unlink()
    kind = chance.choice((0, 1, 1, 2, 3, 4, 5, 6, 6, 6))
    if kind == 0:
        os.mkfifo(file)
    elif kind == 1:
        file.symlink_to(chance.choice((private, Path("/proc/self/environ"), Path("/dev/zero"), Path("/dev/stdin"))))
    elif kind == 2:
        file.symlink_to(file.name)  # a loop
    elif kind == 3:
        file.mkdir()
    elif kind == 4:
        with socket.socket(socket.AF_UNIX) as bound:
            here = os.open(file.parent, os.O_RDONLY)  # such a path may have a hundred characters
            bound.bind(f"/proc/self/fd/{here}/{file.name}")
            os.close(here)
    elif kind == 5:
        with file.open("wb") as sparse:
            sparse.truncate(2**34)
    else:
        file.write_bytes(CONTENTS[content]())


def _aliases() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 10)]
    return ("\n".join(lines) + "\ndataset: *a9\nspace: *a9\n").encode()


def _zip_bomb() -> bytes:
    """Four megabytes that say, and are, an archive of a part of four gigabytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed, size, name = zeros * 255 + packer.flush(), 255 * 2**24, b"archive/data.pkl"
    sizes = (0, len(packed), size)  # after a checksum
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, zipfile.ZIP_DEFLATED, 0, 33, *sizes, len(name), 0) + name
    entry = struct.pack(
        "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, zipfile.ZIP_DEFLATED, 0, 33, *sizes, len(name), *[0] * 6
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(entry + name), len(local) + len(packed), 0)
    return local + packed + entry + name + end


CONTENTS: dict[str, Callable[[], bytes]] = {
    "empty": bytes,
    "binary": lambda: random.Random(0).randbytes(4_000),
    "utf-16": lambda: '{"schema": 1}'.encode("utf-16"),
    "deep list": lambda: b"[" * 100_000,
    "deep mapping": lambda: b'{"config":' * 50_000,
    "deep yaml": lambda: b"".join(b" " * level + b"a:\n" for level in range(400)),
    "million entries": lambda: b'{"scores": {' + b",".join(b'"%d":1' % each for each in range(10**6)) + b"}}",
    "many entries": lambda: b'{"scores": {' + b",".join(b'"%d":1' % each for each in range(60_000)) + b"}}",
    "million columns": lambda: b"epoch," + b",".join(b"%d" % each for each in range(10**6)),
    "million rows": lambda: b"epoch,entropy\n" + b"1,1\n" * 10**6,
    "yaml aliases": _aliases,
    "yaml recursion": lambda: b"dataset: &a [*a]\n",
    "base 60": lambda: b"dataset: " + b"1" + b":1" * 200_000,
    "long number": lambda: b'{"schema": ' + b"9" * 5_000 + b"}",
    "python tag": lambda: b"dataset: !!python/object/apply:os.system ['touch escaped']\n",
    "timestamp": lambda: b"dataset: 2001-01-01\nspace: !!binary aGk=\nname: !!set {a, b}\n",
    "zip bomb": _zip_bomb,
    "packed": lambda: b"PK\x03\x04" + b"\0" * 100,
}

_SETTINGS: dict[str, Any] = {}


def settings(config: Any) -> None:
    """The composed config of evaluate, which does not depend on a folder."""
    _SETTINGS["evaluate"] = config


def _evaluate(folder: Path, out: Path) -> None:
    config = deepcopy(_SETTINGS["evaluate"])
    config.run = str(folder).replace("${", "\\${")
    config.run_dir = str(out / "evaluation")
    evaluate(config, Job({"space": "nb201", "dataset": "digits", "recipe": "nb201"}, ["run=x"]))


def _load(folder: Path, out: Path) -> None:
    nas_lightning.load(folder / "trained")


def _predict(folder: Path, out: Path) -> None:
    Image.new("RGB", (9, 12), "red").save(out / "image.png")
    predict([str(folder / "trained"), str(out / "image.png")])


def _export(folder: Path, out: Path) -> None:
    export_network(folder / "trained", "torch").rename(out / "model.pt2")


def _go_on(folder: Path, out: Path) -> None:
    """The files that a program reads before it goes on with a run."""
    try:
        Checkpoints.of(RunFolder(folder, {"seed": 1}), folder).newest()
    finally:
        read_rows(folder / "metrics.csv")


def _trial(folder: Path, out: Path) -> None:
    _objective(folder / "report.json", "final.discrete_accuracy")


def _report(*arguments: str) -> Callable[[Path, Path], None]:
    def run(folder: Path, out: Path) -> None:
        status = reports(
            [each.replace("OUT", str(out)) if each != "RUNS" else str(folder.parent) for each in arguments]
        )
        assert status in (0, 1)

    return run


PROGRAMS: dict[str, Callable[[Path, Path], None]] = {
    "evaluate": _evaluate,
    "load": _load,
    "predict": _predict,
    "go on": _go_on,
    "trial": _trial,
    **{form: _report("summary", "RUNS", "--format", form) for form in ("table", "markdown", "latex", "csv")},
    "paper tables": _report("table", "all", "RUNS", "-o", "OUT/tables"),
}
"""By name: called with the folder and one that may be written to. Each may raise UserError."""

SLOW: dict[str, Callable[[Path, Path], None]] = {
    "export": _export,
    **{
        name: _report("figure", name, "RUNS", "-o", f"OUT/{name}")
        for name in ("fig4", "cost", "cells", "alpha", "beta")
    },
    "html": _report("html", "RUNS", "-o", "OUT/page.html"),
}
"""Those that draw or trace."""

REFUSAL = UserError
