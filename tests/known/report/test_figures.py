"""Plots, strips and pictures: what is drawn, and where."""

from __future__ import annotations

import dataclasses
from base64 import b64decode
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imread

from wholesight.benchmark.judge.evaluate import FrocCurve
from wholesight.benchmark.report import figures, lineup, mosaic, png, strips
from wholesight.benchmark.report.plot import Scale
from wholesight.benchmark.results import MethodResult, Results

SUBJECTS = 6


def test_best_method_stands_first_and_middle_seed_is_shown(many: Results) -> None:
    first = many.datasets[0]
    order = [lineup.mean_of(m, "average_precision") for m in lineup.judged(first)]
    known = [figure for figure in order if figure is not None]
    assert known == sorted(known, reverse=True)
    assert order[-1] is None  # a method without a map has no AUPRC
    assert [m.name for m in lineup.failed(first)] == ["gone"]
    own = first.methods[3]
    seeds = sorted(each.deployable["set"]["average_precision"] for each in own.evaluations)
    assert lineup.middle(own).deployable["set"]["average_precision"] == seeds[1]


def test_few_methods_all_have_a_look_many_only_the_best(pair: Results, many: Results) -> None:
    assert lineup.looks(pair) == {"detector": 0, "floor & <noise>": 1}
    looks = lineup.looks(many)
    assert len(looks) <= lineup.HIGHLIGHTS
    assert len(set(looks.values())) == len(looks)
    assert "floor_mode" in looks
    best = [m.name for m in lineup.judged(many.datasets[0])][:3]
    assert set(best) <= set(looks)


def test_case_means_leave_out_what_a_seed_does_not_define() -> None:
    seeds = [SimpleNamespace(rows=[{"dice": a}, {"dice": None}]) for a in (0.2, 0.4, None)]
    own = MethodResult("m", "", "", True, evaluations=seeds)  # pyright: ignore[reportArgumentType]
    assert lineup.case_means(own, "dice") == [pytest.approx(0.3), None]


def test_froc_is_drawn_as_what_can_be_had() -> None:
    """Where components merge, both numbers fall again; the envelope never does."""
    curve = FrocCurve(np.array([1.0, 3.0, 2.0]), np.array([0.2, 0.5, 0.8]), np.arange(3.0))
    false, found = figures.attainable(curve)
    assert false.tolist() == [1.0, 2.0, 2.0, 3.0, 3.0]
    assert found.tolist() == [0.2, 0.2, 0.8, 0.8, 0.8]


def test_froc_shows_the_oracle_figure_and_reaches_every_mask(pair: Results) -> None:
    first = pair.datasets[0]
    own = first.methods[0].evaluations[0]
    false, found = figures.attainable(own.froc)
    at_one = max((y for x, y in zip(false, found, strict=True) if x <= 1), default=0.0)
    assert at_one == pytest.approx(own.oracle["set"]["lesion_sensitivity_at_1"])
    assert own.operating_point is not None
    noisy = dataclasses.replace(
        own, operating_point=own.operating_point._replace(false_per_scan=150.0)
    )
    loud = dataclasses.replace(first.methods[0], evaluations=[noisy])
    plots = figures.curve_plots(dataclasses.replace(first, methods=[loud]), {"detector": 0})
    assert plots[2].x.high == 1000.0
    assert plots[2].marks[0].x < plots[2].frame.right


def test_stress_curves_are_means_over_cases(many: Results) -> None:
    stress = many.datasets[1]
    plots = figures.stress_figures(stress, lineup.looks(many))[0].plots
    assert [plot.title for plot in plots] == ["1 ml", "2 ml"]
    marks = [mark.text for mark in plots[0].marks if mark.text.startswith("floor_mode")]
    rows = stress.methods[-1].evaluations[0].rows
    assert marks == [
        f"floor_mode, contrast {contrast:+g}: {rows[case]['average_precision']:.3f}"
        for contrast, case in ((-0.5, 2), (0.5, 4))
    ]


def test_normal_scans_are_dots_on_a_common_axis(pair: Results) -> None:
    found = strips.normals_strip(pair.datasets[0], {})
    assert found is not None
    strip, normal = found
    assert normal
    assert [row.name for row in strip.rows] == ["detector"]
    rows = pair.datasets[0].methods[0].evaluations[0].rows[:2]
    top = max(row["flagged_share"] for row in rows)
    assert [dot.share for dot in strip.rows[0].dots] == [
        pytest.approx(row["flagged_share"] / top) for row in rows
    ]


def test_lesions_are_found_or_missed(pair: Results) -> None:
    strip = strips.found_strip(pair.datasets[0], {})
    assert strip is not None
    lesions = pair.datasets[0].methods[0].evaluations[0].lesions
    assert [dot.hollow for dot in strip.rows[0].dots] == [not lesion["found"] for lesion in lesions]
    found = sum(lesion["found"] for lesion in lesions)
    assert strip.rows[0].note == f"{found} of {len(lesions)} found"


def test_few_methods_show_the_noisiest_healthy_case(pair: Results) -> None:
    shown = mosaic.mosaic(pair.datasets[0], "p")
    assert [picture.rank for picture in shown.cases[:4]] == [f"Rank {n} of 4" for n in range(1, 5)]
    last = shown.cases[-1]
    rows = pair.datasets[0].methods[0].evaluations[0].rows
    noisiest = max(rows[:2], key=lambda row: row["flagged_share"])
    assert (last.rank, last.row["case"]) == ("No lesion", noisiest["case"])


def test_many_methods_have_three_cases_each(many: Results) -> None:
    shown = mosaic.mosaic(many.datasets[0], "p")
    assert len(shown.methods) == 26
    ranks = ["Best", "Median", "Worst"]
    assert all([case.rank for case in each.cases] == ranks for each in shown.methods)
    own = [case.row["average_precision"] for case in shown.methods[0].cases]
    assert own == sorted(own, reverse=True)
    masks = next(each for each in shown.methods if each.name == "no-map")
    assert all(case.row["lesion_voxels"] for case in masks.cases)  # by Dice, and none is normal
    assert [panel.label for panel in masks.cases[0].panels] == ["Image", "Mask"]
    used = {case.shared for each in shown.methods for case in each.cases}
    assert used == set(shown.shared)
    assert len(shown.shared) <= SUBJECTS  # each slice is drawn once, for all methods


def test_outline_of_a_square_at_the_edge_is_closed() -> None:
    path = mosaic.outline(np.ones((2, 2), bool))
    assert path.count("M") == path.count("Z") == 1
    assert mosaic.outline(np.zeros((2, 2), bool)) == ""


@pytest.mark.parametrize("colours", [3, 40])
def test_png_reads_back(colours: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (colours, 4)).astype(np.uint8)
    picture = rng.integers(0, colours, (5, 7)).astype(np.uint8)
    uri = png.data_uri(picture, palette)
    (tmp_path / "x.png").write_bytes(b64decode(uri.removeprefix("data:image/png;base64,")))
    read = np.rint(255 * imread(tmp_path / "x.png")).astype(np.uint8)
    np.testing.assert_array_equal(read, palette[picture])


@pytest.mark.parametrize(
    ("scale", "texts"),
    [
        (Scale(0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (Scale(0.1, 100.0, log=True), ["0.1", "0.3", "1", "3", "10", "30", "100"]),
        (Scale(2.0, 30.0, log=True), ["2", "5", "10", "20"]),
        (Scale(-0.6, 0.6), ["-0.6", "-0.4", "-0.2", "0", "0.2", "0.4", "0.6"]),
    ],
)
def test_ticks_are_round_and_inside(scale: Scale, texts: list[str]) -> None:
    ticks = scale.ticks(6)
    assert [text.replace("\N{MINUS SIGN}", "-") for _, text in ticks] == texts
    assert all(0 <= share <= 1 for share, _ in ticks)


def test_scale_places_values() -> None:
    assert Scale(0.1, 10.0, log=True).share(1.0) == pytest.approx(0.5)
    assert Scale(-1.0, 1.0).share(0.5) == 0.75
    assert Scale(0.0, 1.0).share(7.0) == 1.0
    assert Scale(0.1, 1.0, log=True).share(0.0) == 0.0
