"""What training tells of itself: gradient norms, and the pictures of the learning curve."""

import pytest
import torch
from matplotlib.figure import Figure

from wholesight.training.history import draw_curve
from wholesight.training.module import gradient_norms


def test_gradient_norms_are_over_what_all_rivals_reach():
    shared = torch.tensor([3.0, 4.0], requires_grad=True)
    own = torch.tensor([7.0], requires_grad=True)
    frozen = torch.tensor([1.0])
    rivals = {"reconstruction": shared.sum() * 2 + own.sum(), "constraint": shared.square().sum()}
    found = gradient_norms(rivals, [shared, own, frozen])
    # d/dx 2 (x + y) = (2, 2); d/dx (x^2 + y^2) = (6, 8); `own` is the reconstruction's alone.
    assert found["gradient_reconstruction"].item() == pytest.approx(8**0.5)
    assert found["gradient_constraint"].item() == pytest.approx(10.0)
    rivals["constraint"].backward()  # the graph is still there


def test_pairs_of_rivals_that_share_nothing_with_each_other_are_told_apart():
    """Two parts of a combination, each with a reconstruction and a constraint of its own."""
    one, other = (torch.tensor([start], requires_grad=True) for start in (1.0, 2.0))
    rivals = {"a_1": 3 * one.sum(), "b_1": one.square().sum(), "a_2": 5 * other.sum()}
    found = gradient_norms(rivals, [one, other])
    assert {name: value.item() for name, value in found.items()} == {
        "gradient_a_1": 3.0,
        "gradient_b_1": 2.0,
    }


def test_gradient_norms_of_rivals_that_share_nothing_are_not_told():
    one, other = (torch.ones(1, requires_grad=True) for _ in range(2))
    assert gradient_norms({"a": one.sum(), "b": other.sum()}, [one, other]) == {}


@pytest.mark.slow
def test_the_curve_puts_together_what_belongs_together(tmp_path, monkeypatch):
    titles: dict[str, list[str]] = {}

    def look(figure: Figure, *_: object, **__: object) -> None:
        for axes in figure.axes:
            titles[axes.get_title(loc="left")] = [str(line.get_label()) for line in axes.lines]

    rows = [
        {"epoch": 1, "seconds": 2.0, "loss": 5.0, "reconstruction": 4.0, "critic": 1.0},
        {
            **{"epoch": 2, "seconds": 2.0, "loss": 4.0, "reconstruction": 3.0},
            **{"constraint_1": 1.0, "satisfied_1": 0.5, "satisfied_2": 0.4, "log_branch_1": 0.2},
            **{"contrast_1": 2.0, "satisfied_contrast_1": 0.1, "slack_1": -0.1},
            **{"gradient_reconstruction": 3.0, "gradient_constraint": 30.0},
        },
    ]
    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", look)
        draw_curve(rows, tmp_path / "seen.png")
    assert titles["share satisfied"] == ["satisfied 1", "satisfied 2", "satisfied contrast 1"]
    assert titles["share on the logarithm"] == ["log branch 1"]
    assert titles["constraints' cost, nats a slice"] == ["constraint 1", "contrast 1"]
    assert titles["gradient norm, shared weights"] == ["reconstruction", "constraint"]
    assert "seconds" not in titles
    # A part of a phase that is over is shown too.
    assert titles["critic"] == ["critic"]
    draw_curve(rows, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5000
