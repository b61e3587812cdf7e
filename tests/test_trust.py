"""What docs/trust.md guarantees of folders that come from anybody."""

import csv
import io
import json
import os
import re
import resource
import signal
import stat
import time
from base64 import b64encode
from contextlib import contextmanager
from hashlib import sha256
from html.parser import HTMLParser

import pytest
import torch
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

import nas_lightning
from nas_lightning import escapes
from nas_lightning.app.evaluate import evaluate
from nas_lightning.app.job import Job
from nas_lightning.errors import UserError
from nas_lightning.genotypes.base import Genotype
from nas_lightning.records.overrides import quote_values
from nas_lightning.records.received import received_bytes, received_json, received_table, received_yaml
from nas_lightning.reports.__main__ import _title
from nas_lightning.reports.__main__ import main as reports
from nas_lightning.reports.grid import Grid, latex, markdown, terminal
from nas_lightning.saved import _CLASSES, build_saved, check_saved
from nas_lightning.spaces import DARTS, NB201
from nas_lightning.training.export import save_weights
from tests import hostile
from tests.conftest import ROOT, composed

SECONDS = 10  # of this process, and three times as many of the clock
SMALL = ("space.C=4", "space.N=1", "benchmark=none")


@pytest.fixture(scope="module", autouse=True)
def evaluation():
    hostile.settings(composed(*SMALL, "run_dir=x", config="evaluate"))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    hostile.whole(folder)
    return folder


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    monkeypatch.setenv("NAS_SECRET", hostile.SECRET)


@contextmanager
def limited(what):
    """Fails where the block takes too long, waiting included."""

    def late(number, frame):
        raise AssertionError(f"{what} hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(3 * SECONDS)
    start = time.process_time()
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - start < SECONDS, f"{what} took {time.process_time() - start:.1f} s"


def everything(folder, but):
    """What lies below `folder`, with sizes and times, without what is below `but`."""
    found = {}
    for place, below, files in os.walk(folder):
        below[:] = [name for name in below if os.path.join(place, name) != str(but)]
        for name in (*below, *files):
            status = os.lstat(path := os.path.join(place, name))
            found[path] = (status.st_mode, status.st_size, status.st_mtime_ns * (not stat.S_ISDIR(status.st_mode)))
    return found


def written(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".png"}


def attempt(name, program, folder, out, capfd):
    """Run `program`; returns all that it said and wrote."""
    out.mkdir()
    capfd.readouterr()
    refusal = ""
    with limited(name):
        try:
            program(folder, out)
        except UserError as error:
            refusal = str(error)
    said = capfd.readouterr()
    assert "\n" not in refusal
    assert "Traceback" not in said.err
    for text in (refusal, said.out, said.err):
        assert all(line.isprintable() for line in text.split("\n")), (name, text)
        assert hostile.SECRET not in text, (name, text)
    files = written(out)
    for path, content in files.items():
        assert hostile.SECRET.encode() not in content, (name, path)
    return said.out, files


class Tags(HTMLParser):
    """The names of a page's elements and attributes but scripts; these, and what its policy says."""

    def __init__(self, text):
        super().__init__()
        self.names, self.scripts, self.policy = set(), [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "script":
            self.scripts.append((values, ""))
        else:
            self.names |= {tag, *values}
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]

    def handle_data(self, data):
        if self.cdata_elem == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = attributes, before + data


def check_page(text):
    """Nothing acts but the two scripts that the page's policy names by their digests, whatever it quotes."""
    page = Tags(text)
    assert "svg" in page.names
    assert not page.names & {"b", "iframe", "img", "onload", "onerror", "onclick"}
    own = []
    for attributes, script in page.scripts:
        if attributes.get("type") == "application/json":
            json.loads(script)
        else:
            own.append(b64encode(sha256(script.encode()).digest()).decode())
    assert re.findall(r"script-src ([^;]*);", page.policy) == [" ".join(f"'sha256-{digest}'" for digest in own)]
    assert page.policy.startswith("default-src 'none';")
    assert len(own) == 2
    assert "unsafe-eval" not in page.policy


def check_csv(text):
    for row in csv.reader(io.StringIO(text)):
        for cell in row:
            if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
                float(cell)


def check_written(name, said, files):
    """Each output is what it is, whatever it quotes."""
    if name == "csv":
        check_csv(said)
    if name == "latex":
        assert "\\input" not in said
    if name == "markdown":
        assert not re.search(r"<script|[^&\w]`|!\[", said)
        tables = [line for line in said.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in tables}) <= 2  # of searches and of evaluations
    for path, content in files.items():
        if path.suffix == ".html":
            check_page(content.decode())
        elif path.suffix == ".csv":
            check_csv(content.decode())


def drawn(seeds, programs, tmp_path, template, capfd):
    for seed in seeds:
        place = tmp_path / str(seed)
        (place / "received").mkdir(parents=True)
        (place / "private").write_text(hostile.SECRET)
        canary = place / "canary"
        folder = hostile.draw(seed, place / "received", template, canary)
        for name, program in programs.items():
            out = place / "out"
            before = everything(place, but=out)
            said, files = attempt(f"{name}, seed {seed}", program, folder, out, capfd)
            check_written(name, said, files)
            assert everything(place, but=out) == before, (name, seed)
            out.rename(place / f"out {name}")
        assert not canary.exists()


@pytest.mark.parametrize(
    ("chosen", "title"),
    [("latex", "% \\textbackslash{}input\\{x\\}\n"), ("markdown", "&#92;input{x}\n"), ("table", "\\input{x}\n")],
)
def test_the_title_of_a_table_is_text(chosen, title):
    assert _title("\\input{x}", chosen) == title


@pytest.mark.parametrize("first", range(0, 30, 10))
def test_hostile_folders_run_write_leak_and_stop_nothing(first, tmp_path, template, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    drawn(range(first, first + 10), hostile.PROGRAMS, tmp_path, template, capfd)
    assert not list(tmp_path.rglob("*escaped"))


def test_hostile_folders_are_drawn_and_traced_or_refused(tmp_path, template, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(hostile.SLOW):
        attack = 0 if name == "export" else 1  # by targets, by texts
        drawn([5 * number + attack], {name: hostile.SLOW[name]}, tmp_path, template, capfd)
    assert not list(tmp_path.rglob("*escaped"))


def test_a_whole_folder_passes_every_program(tmp_path, template, capfd):
    """Else the draws would only show that nothing is read."""
    programs = {**hostile.PROGRAMS, **hostile.SLOW}
    for name in ("evaluate", "load", "predict", "trial", "table", "csv", "cells", "html"):
        out = tmp_path / name
        out.mkdir()
        programs[name](template, out)
        assert capfd.readouterr().out or list(out.rglob("*")) or name in ("load", "trial")


# --- what a folder names


def test_the_table_has_every_space_and_data_set_of_ours():
    for group in ("space", "dataset"):
        named = {
            yaml.safe_load(path.read_text()).get("_target_") for path in (ROOT / "conf" / group).glob("*.yaml")
        } - {None}
        assert named == set(_CLASSES[group])


@pytest.mark.parametrize("group", ["space", "dataset"])
def test_every_yaml_of_ours_is_built_from_its_saved_form(group):
    for path in sorted((ROOT / "conf" / group).glob("*.yaml")):
        config = composed(f"{group}={path.stem}", "run_dir=x")
        saved = OmegaConf.to_container(config[group], resolve=True)
        saved.update({"root": "images"} if "root" in saved else {})
        built = build_saved(saved, group, "config.yaml", "")
        assert type(built).__name__ == saved["_target_"].rpartition(".")[2]
        assert type(built).__module__.startswith("nas_lightning.")


@pytest.mark.parametrize("number", range(len(hostile.targets(ROOT))))
def test_no_target_is_run(number, tmp_path, template):
    canary = tmp_path / "canary"
    target = hostile.targets(canary)[number]
    for group in ("space", "dataset"):
        with pytest.raises(UserError, match=rf"^config.yaml: {group} .*; remedy\.$"):
            build_saved(target, group, "config.yaml", "remedy.")
    assert not canary.exists()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"root": "${oc.env:NAS_SECRET}"}, "root="),
        ({"root": "a\x1b[31m"}, "root="),
        ({"root": "???"}, "root="),
        ({"root": None}, "root="),
        ({"download": 1}, "download=1"),
        ({"image_size": True}, "image_size=True"),
        ({"image_size": 32.0}, "image_size=32.0"),
        ({"image_size": 10**9}, "image_size=1000000000"),
        ({"normalisation": "imagenet"}, "normalisation='imagenet'"),
        ({"self": 1}, "'self', which is no setting of Cifar10"),
        ({"name": "x"}, "'name', which is no setting of Cifar10"),
    ],
)
def test_values_are_plain_and_of_their_types(changes, fault):
    settings = {"_target_": "nas_lightning.data.Cifar10", "root": "/mnt/images of 2020/cifar", "image_size": None}
    assert check_saved(settings, "dataset", "config.yaml", "") == settings
    with pytest.raises(UserError, match=re.escape(fault)):
        check_saved({**settings, **changes}, "dataset", "config.yaml", "name it.")


def test_a_ramp_is_plain_settings_by_name():
    settings = {"_target_": "nas_lightning.spaces.NB201", "drop_path": {"start": 0, "end": 0.2}}
    assert build_saved(settings, "space", "report.json", "").cells["cell"].drop_path.end == 0.2
    for ramp in (
        {"start": 0, "_target_": "os.system"},
        {"start": {"_target_": "os.system"}},
        {"start": [[1]]},
        {"a b": 1},
    ):
        with pytest.raises(UserError, match="drop_path="):
            build_saved({**settings, "drop_path": ramp}, "space", "report.json", "give it.")


def test_a_data_set_of_the_users_own_is_named_on_the_command_line(tmp_path, template):
    searched = yaml.safe_load((template / "config.yaml").read_text()) | {"dataset": {"_target_": "mine.Own"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(searched))
    (tmp_path / "genotype.json").write_text((template / "genotype.json").read_text())
    config = composed(*SMALL, f"run={tmp_path}", f"run_dir={tmp_path / 'out'}", config="evaluate")
    with pytest.raises(UserError, match=r"config.yaml: dataset is 'mine.Own'.*name the data set .* dataset=mine\.$"):
        evaluate(config, Job({}, []))
    assert not (tmp_path / "out").exists()
    assert evaluate(config, Job({"dataset": "digits"}, ["dataset=digits"]))["dataset"] == "digits"


class Own(NB201):
    """A user's own space."""


def test_a_space_of_the_users_own_is_given_to_load(tmp_path, template):
    report = json.loads((template / "trained" / "report.json").read_text())
    report["config"]["space"] = {"_target_": "tests.test_trust.Own", "C": 4, "N": 1}
    (tmp_path / "report.json").write_text(json.dumps(report))
    network = Own(4, 1).network(Genotype.read(template / "genotype.json"), 5)
    save_weights(network, tmp_path, hostile.INTERFACE)
    with pytest.raises(
        UserError, match=r"'tests.test_trust.Own', of which nothing is run.*load\(folder, space=\.\.\.\)"
    ):
        nas_lightning.load(tmp_path)
    loaded = nas_lightning.load(tmp_path, Own(4, 1))
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("settings", [{"C": 1000, "N": 100}, {"C": 8}])
def test_a_network_of_another_size_than_its_weights_is_not_even_made(settings, tmp_path, template):
    report = json.loads((template / "trained" / "report.json").read_text())
    report["config"]["space"] |= settings
    (tmp_path / "found").mkdir()
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "found" / "weights.pt").write_bytes((template / "trained" / "found" / "weights.pt").read_bytes())
    with limited("load"), pytest.raises(UserError, match="does not hold the weights of this network"):
        nas_lightning.load(tmp_path)


def test_the_loaded_network_has_no_auxiliary_head(tmp_path, template):
    """Which the weights lack; the report's settings have it."""
    space = {"_target_": "nas_lightning.spaces.DARTS", "C": 4, "num_cells": 3, "auxiliary_head": True}
    genotype = DARTS().parse("DARTS_V2")
    report = json.loads((template / "trained" / "report.json").read_text())
    report |= {"genotype": json.loads(genotype.to_json()), "config": {"space": space}, "image_size": 32}
    network = DARTS(4, 3, auxiliary_head=True).network(genotype, 5)
    save_weights(network, tmp_path, hostile.INTERFACE)
    (tmp_path / "report.json").write_text(json.dumps(report))
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(nas_lightning.load(tmp_path)(x), network.eval()(x))


# --- names and texts


@pytest.mark.parametrize("name", sorted({*hostile.NAMES, *hostile.TEXTS} - {"", "x" * 20_000, "\udcff", "lone \ud800"}))
@pytest.mark.parametrize("key", ["run", "genotype"])
def test_a_folders_name_is_a_text_to_hydra(name, key, tmp_path):
    text = f"{tmp_path}/{name}"
    if "/" not in name and len(name) < 200:
        (tmp_path / name).mkdir(exist_ok=True)
    elif "," in name:
        return
    if not name.isprintable() and (key == "run" or os.path.exists(text)):
        with pytest.raises(
            UserError, match=r"cannot be printed; rename it\.$"
        ):  # Hydra prints the overrides of a sweep
            quote_values([f"{key}={text}"])
        return
    (argument,) = quote_values([f"{key}={text}"])
    (override,) = OverridesParser.create().parse_overrides([argument])
    raw = override.value()
    config = OmegaConf.create({key: getattr(raw, "text", raw), "again": f"${{{key}}}"})
    assert config[key] == config.again == OmegaConf.to_container(config, resolve=True)[key] == text
    assert quote_values([argument]) == [argument]


def test_folders_found_by_a_pattern_are_not_interpolated_by_a_sweep_either(tmp_path, template):
    names = ["a ${oc.env:NAS_SECRET}", "b'${oc.env:NAS_SECRET}", "c\\"]
    for name in names:
        (tmp_path / name).mkdir()
        for file in ("genotype.json", "report.json", "metrics.csv"):
            (tmp_path / name / file).touch()
    (argument,) = quote_values([f"run={tmp_path}/*"])
    (override,) = OverridesParser.create().parse_overrides([argument])
    found = []
    for single in override.sweep_string_iterator():
        # As Hydra's launchers do: one job's overrides are parsed again.
        (again,) = OverridesParser.create().parse_overrides([f"run={single}"])
        found.append(OmegaConf.create({"run": getattr(again.value(), "text", again.value())}).run)
    assert found == [f"{tmp_path}/{name}" for name in names]


def test_an_evaluation_of_a_folder_with_an_interpolation_in_its_name_keeps_the_secret(tmp_path, template):
    folder = tmp_path / "x${oc.env:NAS_SECRET}"
    hostile.shutil.copytree(template, folder)
    config = composed(*SMALL, *quote_values([f"run={folder}"]), f"run_dir={tmp_path / 'out'}", config="evaluate")
    report = evaluate(config, Job({"space": "nb201"}, [f"run={folder}"]))
    assert report["config"]["run"] == str(folder)
    for path in (tmp_path / "out").iterdir():
        assert hostile.SECRET not in path.read_text()


def test_an_error_is_one_printable_line_whatever_it_quotes():
    error = UserError("it holds \x1b[31mred\nand \u202e" + "x" * 10**6)
    assert str(error).startswith("it holds \\x1b[31mred\\nand \\u202exxx")
    assert str(error).isprintable()
    assert len(str(error)) < 2_000


@pytest.mark.parametrize(
    ("escape", "text", "shown"),
    [
        (escapes.visible, "plain é ± 中 ~", "plain é ± 中 ~"),
        (escapes.visible, "\x1b[2J\t\x00\x9b\u2066\u2028\ud800", r"\x1b[2J\t\x00\x9b\u2066\u2028\ud800"),
        (escapes.markdown, "a|b\\|c", r"a\|b&#92;\|c"),
        (escapes.markdown, "<a href='x'>&", "&lt;a href='x'&gt;&amp;"),
        (
            escapes.markdown,
            "`x` **y** [z](u) $w$ @me",
            "&#96;x&#96; &#42;&#42;y&#42;&#42; &#91;z&#93;(u) &#36;w&#36; &#64;me",
        ),
        (escapes.markdown, "sched.lam_min _x_ __y__", "sched.lam_min &#95;x&#95; &#95;&#95;y&#95;&#95;"),
        (escapes.markdown, "https://x\n# y", r"https:&#47;&#47;x\n# y".replace("\\n", "&#92;n")),
        (escapes.latex, "\\input{x}%$^_", r"\textbackslash{}input\{x\}\%\$\textasciicircum{}\_"),
        (escapes.latex, "[0pt]*", "{[}0pt]{*}"),
        (escapes.latex, "P(A > B) <0.001|", "P(A $>$ B) $<$0.001$|$"),
        (escapes.csv_cell, "=1+1", "'=1+1"),
        (escapes.csv_cell, "\t=1", r"'\t=1"),
        (escapes.csv_cell, "-0.5", "-0.5"),
        (escapes.csv_cell, "-0.5+x", "'-0.5+x"),
        (escapes.csv_cell, "＝x", "'＝x"),
        (escapes.csv_cell, "a\nb", r"a\nb"),
        (escapes.html, '<b a="x">\n', r"&lt;b a=&quot;x&quot;&gt;\n"),
    ],
)
def test_a_text_is_shown_and_not_acted_on(escape, text, shown):
    assert escape(text) == shown


def test_tables_keep_their_columns_and_rows():
    """Read back by a reader of each form, every cell is a cell."""
    cells = tuple(text for text in hostile.TEXTS if len(text) < 100)
    grid = Grid(("a", "b", "c"), tuple((text, "x", text) for text in cells), labels=2)
    lines = markdown(grid).splitlines()
    assert len(lines) == len(cells) + 2
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines} == {5}
    rows = latex(grid).splitlines()[4:-2]
    assert len(rows) == len(cells)
    assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {3}
    assert not any(row.startswith(("[", "*")) for row in rows)
    assert len(terminal(grid).rows) == len(cells)


# --- where reports write


def test_a_reports_name_does_not_lead_out_of_the_output_folder(tmp_path, template):
    for number, experiment in enumerate(("../../escaped", "/escaped", "..", "", "toy", "toy")):
        place = tmp_path / "received" / str(number) / "run"
        hostile.shutil.copytree(template, place)
        report = json.loads((place / "report.json").read_text()) | {"experiment": experiment}
        (place / "report.json").write_text(json.dumps(report))
        (place / "trained" / "report.json").unlink()
    before = everything(tmp_path, but=tmp_path / "out")
    assert reports(["figure", "cells", str(tmp_path / "received"), "-o", str(tmp_path / "out")]) == 0
    assert everything(tmp_path, but=tmp_path / "out") == before
    assert {path.name for path in (tmp_path / "out").glob("*.svg")} == {
        "escaped-run.svg", "escaped-run-2.svg", "-run.svg", "-run-2.svg", "toy-run.svg", "toy-run-2.svg"
    }  # fmt: skip


# --- unfriendly files


@pytest.mark.parametrize("kind", ["pipe", "link", "loop", "folder", "socket", "device", "sparse"])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(kind, tmp_path):
    path = tmp_path / "report.json"
    (tmp_path / "private").write_text(hostile.SECRET)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "private")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        path.touch()
        os.truncate(path, 2**40)
    elif kind == "socket":
        with hostile.socket.socket(hostile.socket.AF_UNIX) as bound, pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            bound.bind("report.json")
    place = path if kind != "device" else "/dev/zero"
    for read in (received_json, received_yaml, received_table, lambda path: received_bytes(path, 10)):
        with limited(kind), pytest.raises((OSError, ValueError)) as error:
            read(place)
        assert hostile.SECRET not in str(error.value)


@pytest.mark.parametrize("name", hostile.CONTENTS)
def test_content_beyond_the_limits_is_refused_within_seconds_and_little_memory(name, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(hostile.CONTENTS[name]())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for read in (received_json, received_yaml, received_table):
        with limited(name):
            try:
                read(path)
            except (OSError, ValueError):
                refused += 1
    assert refused >= 2 - (name in ("empty", "million rows"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 400 * 2**10  # KiB


def test_the_limits_leave_room_for_what_runs_write():
    """Ten times the largest committed file, and the largest table that 600 epochs in the DARTS space make."""
    for name, read in {
        "report.json": received_json,
        "config.yaml": received_yaml,
        "architecture.csv": received_table,
    }.items():
        largest = max((ROOT / "results").rglob(name), key=lambda path: path.stat().st_size)
        read(largest)
    assert len(received_table(largest)[0]) * 600 < 1_000_000 / 2
