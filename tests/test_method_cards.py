"""Every method has a card of half a page, the page lists all cards, and the README's row of methods is that list."""

import re

import pytest

from tests.axes import options
from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "methods"
METHODS = options("method")
CARDS = sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "README")
TABLE_ONLY = ("gibbsnas", "sparsenas")
STATUS = ("verified against a reference", "runs", "approximation", "table only")
SECTIONS = ["Idea", "Formula", "Settings", "Departures", "Cost"]


def card(name):
    return (FOLDER / f"{name}.md").read_text()


def status(name):
    """The first words of the status, up to its colon."""
    (text,) = re.findall(r"\*\*Status\.\*\* (.*?)[:.]", card(name), re.DOTALL)
    return text.replace("\n", " ").lower()


def listed():
    """Card -> (what it is called, status) of the page that lists all."""
    rows = re.findall(r"^\| \[`?(\w+)`?\]\((\w+)\.md\) \| .*? \| ([\w ]+) \|", card("README"), re.MULTILINE)
    return {file: (name, status) for name, file, status in rows}


def test_every_method_has_a_card_and_every_card_is_of_a_method_or_says_that_there_is_none():
    assert sorted((*METHODS, *TABLE_ONLY)) == CARDS
    assert [name for name in CARDS if status(name) == "table only"] == list(TABLE_ONLY)


def test_the_page_lists_every_card_with_its_status():
    assert sorted(listed()) == CARDS
    assert {name: listed_as for name, (_, listed_as) in listed().items()} == {name: status(name) for name in CARDS}
    assert [name for name, (called, _) in listed().items() if called != name] == ["sparsenas", "gibbsnas"]


def test_the_readmes_row_of_methods_is_the_pages():
    (row,) = re.findall(r"^\| `method` \| (.*?): ", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == [name for name in listed() if name in METHODS]


@pytest.mark.parametrize("name", METHODS)
def test_a_card_is_half_a_page_of_the_same_sections(name):
    text = card(name)
    assert text.startswith("# ")
    assert f"`method={name}`" in text
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert status(name) in STATUS
    assert len(text.splitlines()) <= 60
    assert f"<!-- begin cost-{name} -->" in text
    idea = text.partition("## Idea\n\n")[2].partition("\n\n")[0].replace("\n", " ")
    assert 1 <= len(re.findall(r"[.;](?: |$)", idea)) <= 3


@pytest.mark.parametrize("name", METHODS)
def test_a_card_cites_the_paper_that_the_yaml_cites(name):
    comments = "".join(re.findall(r"^#.*$", (ROOT / "conf" / "method" / f"{name}.yaml").read_text(), re.MULTILINE))
    assert {*re.findall(r"arXiv \d{4}\.\d{5}", comments)} <= {*re.findall(r"arXiv \d{4}\.\d{5}", card(name))}


@pytest.mark.parametrize("name", METHODS)
def test_files_that_a_card_names_as_its_tests_are_there(name):
    named = re.findall(r"`(?:tests/)?(test_\w+\.py)`", card(name))
    assert all((ROOT / "tests" / file).exists() for file in named)
    assert named or status(name) != "verified against a reference"


@pytest.mark.parametrize("name", METHODS)
def test_groups_and_options_that_a_card_names_are_in_conf(name):
    groups = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    for group, option in re.findall(r"`(\w+)=(\w+)", card(name)):
        if group in groups:
            assert option in options(group), (group, option)
