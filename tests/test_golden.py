"""No change moves a search that is not meant to: every method's trajectory is the recorded one, number by number."""

import copy
import json
import math

import pytest

from tests.golden import FILE, searches, text, trajectory

RECORDED = json.loads(FILE.read_text())
AGAIN = "where that is meant, run python -m tests.golden and commit the file"


def moved(name, ours, recorded):
    """A sentence for the first number that is another than the recorded one; None where there is none."""
    if recorded is None:
        return f"{name} has no recorded trajectory in {FILE.name}: run python -m tests.golden and commit the file."
    for epoch, (one, other) in enumerate(zip(ours, recorded, strict=True)):
        for key in {**one, **other}:
            if key not in one or key not in other:
                return f"{name}, epoch {epoch}: {key} is in one of both trajectories only; {AGAIN}."
            values, wanted = (value if isinstance(value, list) else [value] for value in (one[key], other[key]))
            for place, (a, b) in enumerate(zip(values, wanted, strict=True)):
                # Holds across machines: sums in another order differ by far less.
                if a != b if isinstance(b, str) else not math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9):
                    entry = f"{key}[{place}]" if isinstance(other[key], list) else key
                    return f"{name}, epoch {epoch}: {entry} is {a}, recorded is {b}; {AGAIN}."
    return None


@pytest.mark.parametrize("name", searches())
def test_a_search_goes_the_recorded_way(name):
    assert (sentence := moved(name, trajectory(searches()[name]), RECORDED.get(name))) is None, sentence


def test_what_moved_and_how_it_is_recorded_anew_is_one_sentence():
    name, recorded = next(iter(RECORDED.items()))
    assert moved(name, recorded, recorded) is None
    other = copy.deepcopy(recorded)
    other[1]["alpha/cell"][2] *= 1 + 1e-5
    assert moved(name, other, recorded).startswith(f"{name}, epoch 1: alpha/cell[2] is ")
    assert moved(name, other, recorded).endswith("run python -m tests.golden and commit the file.")
    other = copy.deepcopy(recorded)
    other[0]["architecture"] += "x"
    assert moved(name, other, recorded).startswith(f"{name}, epoch 0: architecture is ")
    del other[0]["architecture"]
    assert "architecture is in one of both" in moved(name, other, recorded)
    assert moved("new/nb201", other, None) == (
        "new/nb201 has no recorded trajectory in golden_trajectories.json: run python -m tests.golden and commit the file."
    )


def test_the_file_holds_no_other_searches_and_is_as_it_was_written():
    assert RECORDED.keys() <= searches().keys(), "run python -m tests.golden and commit the file"
    assert FILE.read_text() == text(RECORDED)


# Searches that two epochs of a toy do not tell apart from plain DARTS: a stop and a selection act after the last epoch,
# and a schedule of temperature that starts at 1 moves it only later.
@pytest.mark.parametrize("space", ["nb201", "darts"])
def test_the_recorded_methods_differ_where_their_half_steps_do(space):
    ours = {
        name: RECORDED[f"{name}/{space}"] for name in ("darts", "darts_v2", "beta_darts", "sdarts_rs", "sdarts_adv")
    }
    ours |= {name: RECORDED[f"{name}/{space}"] for name in ("edd", "edd_pc", "pc_darts", "sgas", "darts_pt")}
    assert len({json.dumps(epochs) for epochs in ours.values()}) == len(ours)
    assert all(ours[name][1]["candidates"] < ours[name][0]["candidates"] for name in ("sgas", "darts_pt"))
