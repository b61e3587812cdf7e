"""Figures 2 and 3 against slow references and known numbers."""

import math

import pytest
import torch

from nas_lightning.relaxations.curves import gradient_norms, random_alpha, schedule_entropies, schedule_example
from nas_lightning.reports.__main__ import main


def test_gradient_norms_equal_those_of_the_explicit_jacobians():
    curves = gradient_norms(edges=40, points=7)
    alpha_EO = random_alpha(40, 5)
    v_EO = torch.randn(40, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def term(a, v, t):
        beta = (a / t).softmax(0)
        return (torch.diag(beta) - torch.outer(beta, beta)) @ v / t

    for index, t in enumerate(10.0**-n for n in range(7)):
        for name, second in (("softmax", None), ("sn-softmax, s=100", 100 * t), ("sn-softmax, st=1", 1.0)):
            norms = []
            for a, v in zip(alpha_EO, v_EO, strict=True):
                g = term(a, v, t) + (term(a, v, second) if second is not None and second > t else 0)
                norms.append(g.norm())
            x, y = curves[name]
            assert x[index] == pytest.approx(t)
            assert y[index] == pytest.approx(torch.stack(norms).median().item(), rel=1e-9, abs=1e-15)


def test_the_softmaxs_gradient_vanishes_where_st1s_stays():
    curves = gradient_norms(edges=100, points=13)
    assert curves["softmax"][1][-1] < 1e-12
    assert 0.1 < curves["sn-softmax, st=1"][1][-1] < 1
    assert curves["softmax"][1][4] == pytest.approx(curves["sn-softmax, s=1000"][1][4], rel=0.05)  # before saturation


def test_entropies_of_the_schedules_are_the_known_ones():
    curves = schedule_entropies(steps=4, edges=100_000)
    assert curves["ETS"][1] == pytest.approx([1.6094, 1.5765, 1.4987, 1.4031, 1.3063], abs=4e-3)
    assert curves["LTS"][1] == pytest.approx([math.log(5)] * 4 + [1.3063], abs=4e-3)


def test_the_example_is_the_papers():
    example = schedule_example()
    assert example["ETS"] == pytest.approx([1, 0.0034427178, 0.001818373, 0.0012737906, 0.001], rel=1e-6)
    assert example["LTS"] == pytest.approx([1, 0.75025, 0.5005, 0.25075, 0.001])


@pytest.mark.parametrize(("name", "word"), [("fig2a", "sn-softmax, st=1"), ("fig2b", "LTS"), ("fig3", "0.003443")])
def test_the_command_draws_them_without_runs(name, word, tmp_path, monkeypatch):
    monkeypatch.setattr("nas_lightning.relaxations.curves.gradient_norms", lambda: gradient_norms(edges=10, points=5))
    assert main(["figure", name, "-o", str(tmp_path / "figure.svg")]) == 0
    assert word in (tmp_path / "figure.svg").read_text()
    assert (tmp_path / "figure.png").exists()
