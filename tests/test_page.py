"""The page: what it says, that it holds everything and asks for nothing, and how it looks to a browser."""

import json
import re
import statistics
import time
from html.parser import HTMLParser

import pytest

from nas_lightning.genotypes.base import Choice, Genotype
from nas_lightning.reports import find_runs, summary
from nas_lightning.reports.__main__ import main
from nas_lightning.reports.edges import edge_names
from nas_lightning.reports.page import MOST_DETAILED, MOST_DRAWN
from nas_lightning.reports.page_curves import MOST_LINES, MOST_PANELS, as_json, comparison_figures
from nas_lightning.reports.page_networks import networks_section
from nas_lightning.reports.runs import find_evaluations, read_metrics
from nas_lightning.reports.tables import group_names
from tests.browser import CHROMIUM, browser
from tests.test_reports import ALL_FIVE, ARCHITECTURE, write_architecture, write_metrics, write_run

GENOTYPE = json.loads(ALL_FIVE.to_json())
MARKUP = "<b>&amp;</script><script>alert(1)</script>"
VOID = ("meta", "br", "link", "input")


class Page(HTMLParser):
    """Of a page without its scripts: ids, links, tables, text. AssertionError where tags do not close."""

    def __init__(self, file):
        super().__init__()
        self.ids, self.links, self.text, self.open = [], [], "", []
        self.data, self.rows, self.tags = [], [], set()
        self.source = file.read_text()
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.add(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [v for k, v in attributes if k in ("src", "href", "xlink:href", "data", "action") and v]
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag == "script":
            self.data.append((values.get("type"), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open:
            self.data[-1] = (self.data[-1][0], self.data[-1][1] + data)
        elif "style" not in self.open:
            self.text += data
            if {"td", "th"} & {*self.open}:
                self.rows[-1][-1] += data

    @property
    def figures(self):
        """The data of each figure."""
        return [json.loads(text) for kind, text in self.data if kind == "application/json"]

    def row(self, name):
        """The cells of the run that the table of runs calls so."""
        (found,) = [row for row in self.rows if row and row[0].startswith(name)]
        return found


def made(tmp_path):
    assert main(["html", str(tmp_path / "runs"), "-o", str(tmp_path / "report.html")]) == 0
    return Page(tmp_path / "report.html")


def write_settings(folder, settings, seeds=1):
    for number in range(settings):
        config = {"sched": {"lam": number}}
        for seed in range(seeds):
            name = f"lam={number},seed={seed}"
            write_run(folder / name, seed, overrides=[f"sched.lam={number}"], config=config, genotype=GENOTYPE)


def texts_of(data):
    """Every text in it."""
    if isinstance(data, dict | list):
        return [text for each in (data.values() if isinstance(data, dict) else data) for text in texts_of(each)]
    return [data] if isinstance(data, str) else []


def test_the_page_holds_everything_and_asks_nothing_of_the_network(tmp_path):
    for seed in range(2):
        folder = write_run(tmp_path / "runs" / f"seed={seed} <&>", seed, genotype=GENOTYPE)
        if seed == 0:
            write_architecture(folder)
    page = made(tmp_path)
    assert len(page.ids) == len(set(page.ids)) == 2
    assert {*page.links} == {"#run-1", "#run-2"}
    style = re.search(r"<style>(.*?)</style>", page.source, re.DOTALL)[1]
    assert not re.search(r"@import|url\(|https?:", style)
    assert "https://" not in page.text
    for part in (
        "91.50 ± 0.71",
        "seed=0 <&>",
        "seed=1 <&>",
        "nor_conv_1x1",
        "β after epoch 5",
        "lam: 0.12",
        ARCHITECTURE,
    ):
        assert part in page.text, part


def test_the_head_says_what_when_machine_and_commit(tmp_path):
    for seed, dirty in enumerate((False, False, True)):
        origin = {"commit": "0123456789abcdef", "dirty": dirty, "device": "A chip", "threads": 1 + dirty}
        write_run(tmp_path / "runs" / str(seed), seed, **origin, versions={"torch": "2.9.0"})
    head = made(tmp_path).source.split("</header>")[0]
    today = time.strftime("%Y-%m-%d", time.gmtime((tmp_path / "runs" / "0" / "report.json").stat().st_mtime))
    for part in (
        "edd on nb201, data set digits, 6 epochs", "3 searches finished", f"{today} (UTC, by the dates of files)",
        "A chip, 1 thread (2), A chip, 2 threads (1)", "0123456 (2), 0123456 with uncommitted changes (1)", "torch 2.9.0",
    ):  # fmt: skip
        assert f"<dd>{part}</dd>" in head, part


def test_the_head_has_the_days_that_reports_record(tmp_path):
    for seed, finished in enumerate(("2026-01-31T23:59:59+00:00", "2026-02-02T00:00:00+00:00")):
        write_run(tmp_path / "runs" / str(seed), seed, finished=True)
        path = tmp_path / "runs" / str(seed) / "report.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"finished": finished}))
    assert "<dd>2026-01-31 to 2026-02-02 (UTC)</dd>" in made(tmp_path).source


def test_the_best_is_marked_with_a_word_in_head_table_and_gallery(tmp_path):
    other = Genotype("nb201", {"cell": (Choice("none", 0, 1), *ALL_FIVE.cells["cell"][1:])})
    for seed in range(3):
        genotype = json.loads((other if seed == 1 else ALL_FIVE).to_json())
        score = {"cifar10_test_200": 93.5 if seed == 1 else 90 + seed}
        write_run(tmp_path / "runs" / str(seed), seed, genotype=genotype, scores=score)
    page = made(tmp_path)
    assert "Best: 93.50 % CIFAR-10 test accuracy in the table: edd, seed 1" in page.text
    assert page.row("edd, seed 1")[0] == "edd, seed 1 best"
    assert page.row("edd, seed 0")[0] == "edd, seed 0"
    assert page.row("edd, seed 1")[2] == "93.50"
    first, second = page.source.split("<article ")[1:]
    assert "93.50 % if trained on CIFAR-10 <strong" in first
    assert "92.00 % if trained on CIFAR-10</h3>" in second  # found by two runs: with the better one's score
    assert "found by" in second


def test_what_cannot_be_compared_has_a_best_each_and_one_run_has_none(tmp_path):
    for seed in range(2):
        write_run(tmp_path / "runs" / f"a{seed}", seed, space="s2", scores={})
        write_run(tmp_path / "runs" / f"b{seed}", seed, space="s4", scores={})
    assert made(tmp_path).text.count("Best: ") == 2
    write_run(tmp_path / "alone" / "runs" / "run")
    assert "best" not in made(tmp_path / "alone").row("edd, seed 0")[0]


def test_failed_unfinished_and_broken_runs_are_listed_with_their_cause(tmp_path):
    write_run(tmp_path / "runs" / "a")
    write_run(tmp_path / "runs" / "b", finished=False)
    write_run(tmp_path / "runs" / "c", schema=7)
    (tmp_path / "runs" / "d").mkdir()
    (tmp_path / "runs" / "d" / "failed.txt").write_text("sched.lam must be a positive number, got <-1>.\n")
    text = made(tmp_path).text
    assert "1 search finished, 1 unfinished, 1 failed, 1 broken" in text
    assert f"failed: {tmp_path / 'runs' / 'd'}: sched.lam must be a positive number, got <-1>." in text
    assert f"unfinished: {tmp_path / 'runs' / 'b'}: 6 epochs done" in text
    assert "report.json has schema 7" in text


def test_a_page_without_a_finished_run_or_without_any_is_one_sentence(tmp_path, capsys):
    (tmp_path / "none").mkdir()
    write_run(tmp_path / "unfinished" / "a", finished=False)
    for folder, sentence in (("none", "holds no run"), ("unfinished", "no run for .* is finished")):
        assert main(["html", str(tmp_path / folder), "-o", str(tmp_path / "report.html")]) == 1
        assert re.search(sentence, error := capsys.readouterr().err)
        assert error.count("\n") == 1
    (tmp_path / "unfinished" / "b").mkdir()
    (tmp_path / "unfinished" / "b" / "failed.txt").write_text("It has diverged.\n")
    assert main(["html", str(tmp_path / "unfinished"), "-o", str(tmp_path / "report.html")]) == 1
    assert "report.html is finished (2 runs: It has diverged); let a search end" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_runs_are_named_by_their_settings_and_folders_only_tell_equal_ones_apart(tmp_path):
    for name, seed in (("3f2a9c", 0), ("77b01d", 0), ("b00", 10), ("c0ffee", 2)):
        write_run(tmp_path / "runs" / name, seed)
    page = made(tmp_path)
    names = [row[0].removesuffix(" best") for row in page.rows if row and row[0].startswith("edd")]
    assert names == ["edd, seed 0 (3f2a9c)", "edd, seed 0 (77b01d)", "edd, seed 2", "edd, seed 10"]


def test_names_stay_text_wherever_they_stand(tmp_path):
    for seed in range(2):
        changes = dict.fromkeys(("experiment", "method", "device", "commit", "selection"), MARKUP)
        changes |= {
            "genotype": {"space": MARKUP, "cells": {MARKUP: [[MARKUP, 0, 1]]}},
            "config": {MARKUP: seed, "lone": "\ud800"},
        }
        folder = write_run(tmp_path / "runs" / f"{seed}", seed, overrides=[f"{MARKUP}={seed}"], **changes)
        write_architecture(folder, operations=("<b>one", "two"))
    page = made(tmp_path)
    assert "b" not in page.tags
    assert [kind for kind, _ in page.data].count(None) == 2  # Plotly and page.js
    assert len(page.data) == 2 + 3
    assert page.text.count(MARKUP) > 10
    assert MARKUP not in page.source
    assert {MARKUP, "<b>one"} <= {text.partition("=0 ")[0] for text in texts_of(page.figures)}  # read back as they were


def test_data_cannot_end_its_element():
    data = {"</script>": ["<!--", "]]>&", "\u2028", "\ud800", float("nan"), -float("inf"), 0.1]}
    text = as_json(data)
    assert not re.search(r"[<>&\u2028]", text)
    assert text.isascii()
    assert json.loads(text) == {"</script>": ["<!--", "]]>&", "\u2028", "\ud800", None, None, 0.1]}


@pytest.mark.parametrize("settings", [1, MOST_LINES, MOST_LINES + 1])
def test_no_panel_has_more_than_four_lines_beside_the_mean_of_all(settings, tmp_path):
    write_settings(tmp_path / "runs", settings, seeds=3)
    figures = comparison_figures(group_names(summary(find_runs(tmp_path / "runs"))))
    for figure in figures:
        for panel in figure["panels"]:
            of_all = [line for line in panel["lines"] if line["name"] == "mean of all settings"]
            assert len(panel["lines"]) - len(of_all) <= MOST_LINES
    panels = [panel["title"] for panel in figures[0]["panels"]]
    if settings > MOST_LINES:
        assert (
            panels == [f"{number}.0 (n=3)".replace(".0", "") for number in range(settings)] or len(panels) == settings
        )
        assert len(figures) == 5  # the quantities, of which one is shown at a time
    else:
        assert len(figures) == 1
        assert panels[:2] == ["CIFAR-10 test accuracy in the table (%)", "discretised validation accuracy (%)"]


def test_the_curves_are_the_numbers_of_metrics_csv(tmp_path):
    write_settings(tmp_path / "runs", settings=5, seeds=3)
    page = made(tmp_path)
    comparison = {figure["name"]: figure["panels"] for figure in page.figures[0]}
    for column, name, factor in (
        ("table/cifar10_test_200", "CIFAR-10 test accuracy in the table (%)", 1),
        ("discrete_accuracy", "discretised validation accuracy (%)", 100),
        ("temperature", "temperature t", 1),
    ):
        for number, panel in enumerate(comparison[name]):
            files = [tmp_path / "runs" / f"lam={number},seed={seed}" / "metrics.csv" for seed in range(3)]
            values = [[factor * value for value in read_metrics(file)[column]] for file in files]
            _, *single, mean = panel["lines"]
            assert [line["y"] for line in single] == values
            assert mean["x"] == list(range(6))
            assert mean["y"] == pytest.approx([statistics.fmean(epoch) for epoch in zip(*values, strict=True)])
            assert mean["low"] == [min(epoch) for epoch in zip(*values, strict=True)]
            assert mean["high"] == [max(epoch) for epoch in zip(*values, strict=True)]
    (own,) = page.figures[1]
    metrics = read_metrics(tmp_path / "runs" / "lam=0,seed=0" / "metrics.csv")
    drawn = {
        own["legend"][line["key"]]["name"]: line["y"] for panel in own["panels"] for line in panel.get("lines", ())
    }
    assert drawn["mean entropy"] == metrics["entropy"]
    assert drawn["CIFAR-10 test, in the table"] == metrics["table/cifar10_test_200"]
    (edges,) = [panel for panel in own["panels"] if "z" in panel]
    assert edges["rows"] == [f"cell {edge}" for edge in ("0->1", "0->2", "1->2", "0->3", "1->3", "2->3")]
    assert edges["z"][0] == pytest.approx(metrics["entropy/cell/0"], rel=1e-3)


def test_the_axis_of_the_table_shows_88_to_its_best_and_where_means_end(tmp_path):
    write_settings(tmp_path / "runs", settings=2)
    panel = made(tmp_path).figures[0][0]["panels"][0]
    assert (panel["best"], panel["from"]) == (94.37, 88)
    write_run(tmp_path / "runs" / "low", overrides=["sched.lam=9"], config={"sched": {"lam": 9}})
    write_metrics(tmp_path / "runs" / "low", offset=-20.0)  # ends at 71.5
    assert made(tmp_path).figures[0][0]["panels"][0]["from"] == 71


def test_a_thousand_runs_are_written_in_seconds_and_what_is_left_out_is_said(tmp_path):
    text = (write_run(tmp_path / "first", genotype=GENOTYPE) / "report.json").read_text()
    metrics = (tmp_path / "first" / "metrics.csv").read_text()
    for number in range(1_000):
        (folder := tmp_path / "runs" / f"{number}").mkdir(parents=True)
        report = json.loads(text) | {"seed": number, "overrides": [f"sched.lam={number // 2}"]}
        report["scores"] = {"cifar10_test_200": 80 + number / 100}
        report["config"] = {"sched": {"lam": number // 2}}
        if number < 40:
            report["genotype"] = {"space": "mine", "cells": {"cell": [[f"op{number}", 0, 1]]}}
        (folder / "report.json").write_text(json.dumps(report))
        (folder / "metrics.csv").write_text(metrics)
    start = time.process_time()
    page = made(tmp_path)
    assert time.process_time() - start < 20
    for sentence in (
        f"{MOST_PANELS} of 500 settings are drawn", f"{MOST_DETAILED} of 1,000 runs have a section",
        f"{MOST_DRAWN} of 41 architectures are drawn",
    ):  # fmt: skip
        assert sentence in page.text
    assert sum(len(row) > 4 and "seed" in row[0] for row in page.rows) == 1_000
    assert len(page.ids) == MOST_DETAILED
    assert all(link.removeprefix("#") in page.ids for link in page.links)
    assert "seed 999" in page.source.split('class="run"')[-1]  # the best is among those with a section
    assert len(page.source) < 8e6


def test_edges_are_named_by_their_nodes_where_these_are_known():
    assert edge_names(ALL_FIVE, "cell", 6) == ["0->1", "0->2", "1->2", "0->3", "1->3", "2->3"]
    darts = Genotype("darts", {"normal": (Choice("sep_conv_3x3", 0, 2), Choice("skip_connect", 4, 5))})
    names = edge_names(darts, "normal", 14)
    assert names[:5] == ["c_{k-2}->0", "c_{k-1}->0", "c_{k-2}->1", "c_{k-1}->1", "0->1"]
    assert names[-2:] == ["1->3", "2->3"]
    assert edge_names(darts, "normal", 13)[-1] == "edge 12"
    assert edge_names(Genotype("mine", {"cell": (Choice("a", 0, 9),)}), "cell", 6)[0] == "edge 0"


# --- in a browser


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no chromium in the PATH")
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


WIDE = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth"


def test_the_page_fits_says_nothing_and_works_in_a_browser(tab, tmp_path):
    for number in range(6):
        name = f"{MARKUP}{'x' * 70}" if number == 5 else f"m{number}"
        folder = write_run(
            tmp_path / "runs" / str(number), method=name, genotype=GENOTYPE, overrides=[f"method={name}"]
        )
        write_architecture(folder)
    made(tmp_path)
    for width, dark in ((1280, False), (390, True)):
        tab.open(tmp_path / "report.html", width, dark=dark, fragment="#run-6")
        assert tab.value("document.querySelector('#run-6').open")
        assert tab.value(WIDE) <= 0
        assert tab.value("document.querySelectorAll('.plot .main-svg').length") == 2 * 3  # of all, and of the open run
        for button in tab.value(
            "[...document.querySelectorAll('#run-6 .bar:not(.lines) button')].map(b => b.textContent)"
        ):
            assert button in ("curves", "β of each edge (blue: 1)", "α of each edge (blue: above 0)")
        tab.value("document.querySelectorAll('#run-6 .figure > .bar button').forEach(button => button.click())")
        assert tab.value(WIDE) <= 0
        ink = tab.value("getComputedStyle(document.querySelector('.plot .xtick text')).fill")
        assert (max(map(int, re.findall(r"\d+", ink)[:3])) > 128) == dark
        titles = "[...document.querySelectorAll('.annotation-text')].map(text => text.textContent)"
        assert any(title.startswith("<b>&amp;</script>") for title in tab.value(titles))
        assert tab.value("document.querySelectorAll('.plot a, .plot [style*=bold]').length") == 0
    assert tab.complaints == []
    outside = {url.split("#")[0] for url in tab.requests if not url.startswith("data:image/")}
    assert outside <= {"about:blank", (tmp_path / "report.html").as_uri()}


def test_a_click_sorts_the_table_and_hides_a_line(tab, tmp_path):
    write_settings(tmp_path / "runs", settings=3, seeds=2)
    made(tmp_path)
    tab.open(tmp_path / "report.html", 1280)
    table = (
        "[...document.querySelectorAll('h2')].find(h => h.textContent === 'Runs').nextElementSibling.firstElementChild"
    )
    place = tab.value(
        f"[...{table}.tHead.rows[0].cells].findIndex(cell => cell.textContent.startsWith('if trained on CIFAR-10'))"
    )
    column = f"[...{table}.tBodies[0].rows].map(row => row.cells[{place}].textContent)"
    click = f"{table}.tHead.rows[0].cells[{place}].querySelector('button').click()"
    before = tab.value(column)
    assert before == ["91.00", "92.00"] * 3
    tab.value(click)
    assert tab.value(column) == sorted(before, reverse=True)
    tab.value(click)
    assert tab.value(column) == sorted(before)
    assert tab.value(f"{table}.tHead.rows[0].cells[{place}].getAttribute('aria-sort')") == "ascending"
    lines = "document.querySelector('.plot').data.filter(trace => trace.visible !== false).length"
    drawn = tab.value(lines)
    tab.value("document.querySelector('.bar.lines button').click()")
    assert tab.value(lines) == drawn * 2 / 3
    assert tab.complaints == []


def evaluation(folder, **changes):
    """A training's report of three networks and three classes, one of them without test images."""
    networks = {
        name: {"architecture": "x", "params": params, "macs": 10 * params, "scores": {}, "test_accuracy": accuracy,
               "file_bytes": 4 * params, "latency_ms": 1.5}
        for name, params, accuracy in (("found", 1_000, 0.75), ("resnet18", 9_000, 0.5))
    }  # fmt: skip
    report = {
        "schema": 1, "kind": "evaluation", "experiment": "toy", "space": "nb201", "dataset": "folder", "recipe": "nb201",
        "overrides": [], "config": {}, "scores": {}, **networks["found"], "networks": networks, "classes": ["<b>ä", "b", "c"],
        "classwise": {
            "images": [6, 2, 0], "recall": [5 / 6, 0.5, None], "confusion": [[5, 1, 0], [1, 1, 0], [0, 0, 0]],
            "majority": {"class": 0, "share": 0.75}, "test_accuracy": 0.75,
        },
        **changes,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(report))


def cells_of(table):
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table, re.S)]


def test_trained_networks_stand_side_by_side_with_recalls_and_the_confusion_matrix(tmp_path):
    evaluation(tmp_path / "net", method="edd", search={"seed": 3, "overrides": [], "commit": None})
    section = networks_section(find_evaluations(tmp_path))
    networks, classes = (cells_of(table) for table in section.split("<details>"))
    assert [row[1:] for row in networks[1:]] == [
        ["found", "edd, seed 3", "75.00", "75.00", "1000", "10000", "0.00", "1.50"],
        ["resnet18", "", "50.00", "75.00", "9000", "90000", "0.04", "1.50"],
    ]
    assert classes[0] == ["true class", "images", "recall (%)", "answered &lt;b&gt;ä", "answered b", "answered c"]
    assert classes[1:] == [
        ["&lt;b&gt;ä", "6", "83.3", "5", "1", "0"], ["b", "2", "50.0", "1", "1", "0"], ["c", "0", "", "0", "0", "0"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "classwise",
    [
        None, [], {}, {"recall": "x", "images": 3}, {"recall": [1.0], "images": [1]},
        {"recall": [1, 2, "3"], "images": [1, 2, 3]},
        {"recall": [1.0] * 3, "images": [[1], 2, 3]}, {"recall": [1.0] * 3, "images": [1] * 3, "confusion": [[1], [2], [3]]},
        {"recall": [1.0] * 3, "images": [1] * 3, "confusion": {"a": 1}}, {"majority": [1], "recall": None, "images": None},
    ],
)  # fmt: skip
def test_a_foreign_record_of_classes_is_left_out(classwise, tmp_path):
    evaluation(tmp_path / "net", classwise=classwise)
    section = networks_section(find_evaluations(tmp_path))
    assert "resnet18" in section
    assert "answered" not in section


def test_without_trainings_there_is_no_section_of_them(tmp_path):
    evaluation(tmp_path / "net", test_accuracy=None)
    assert networks_section(find_evaluations(tmp_path)) == ""
    assert networks_section([]) == ""
