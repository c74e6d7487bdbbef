"""Evaluation and report on four small heads whose figures can be worked out by hand."""

from __future__ import annotations

import csv
import dataclasses
import json
import weakref
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from wholesight.benchmark import figures
from wholesight.benchmark.evaluate import Evaluation, Scored, evaluate
from wholesight.benchmark.report import write_report
from wholesight.benchmark.thumbnail import LIMIT_PX, thumbnail
from wholesight.errors import InputError

SHAPE = (20, 24, 3)
AFFINE = np.diag([1.0, 2.0, 5.0, 1.0])


def heads(*, masked: bool = True, noise: float = 0.0, bar: float = 0.5) -> Iterator[Scored]:
    """Two lesions, one normal and silent, one normal with four false flags of its 320 pixels."""
    rng = np.random.default_rng(0)
    for number in range(4):
        inside, truth = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
        inside[2:18, 2:22, 1] = True
        truth[4:8, 4:8, 1] = number < 2
        image = inside * rng.uniform(50, 100, SHAPE)
        scores = truth + noise * rng.normal(size=SHAPE)
        if number == 3:
            scores[10:12, 10:12, 1] = 1.0
        mask = (scores > bar) & inside if masked else None
        yield Scored(
            f"head-{number}", f"s{number // 2}", image, inside, truth, scores, mask, 2, AFFINE
        )


@pytest.fixture(scope="module")
def detector() -> Evaluation:
    return evaluate("detector", heads(), threshold_note="fixed 0.5")


@pytest.fixture(scope="module")
def floor() -> Evaluation:
    return evaluate("floor & <noise>", heads(masked=False, noise=1.0), threshold_note="none")


@pytest.fixture(scope="module")
def written(
    detector: Evaluation, floor: Evaluation, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("report") / "new"
    return write_report([detector, floor], out, title="Four <heads>", facts={"Model": "a&b"})


def test_figures_of_the_set_by_hand(detector: Evaluation) -> None:
    figures_of_set = detector.deployable["set"]
    assert figures_of_set["sensitivity"] == 1.0
    assert figures_of_set["precision"] == pytest.approx(32 / 36)
    assert figures_of_set["dice"] == pytest.approx(64 / 68)
    assert figures_of_set["average_precision"] == pytest.approx(32 / 36)
    assert figures_of_set["flagged_share"] == pytest.approx(4 / (4 * 320 - 32))
    assert detector.oracle["set"] == {"best_dice": pytest.approx(64 / 68)}
    assert detector.oracle["threshold"] == 1.0
    assert detector.prevalence == pytest.approx(32 / 1280)
    assert detector.operating_point == (1.0, pytest.approx(32 / 36))


def test_empty_cases_are_counted_and_left_out(detector: Evaluation) -> None:
    dice = detector.deployable["per_case"]["dice"]
    assert dice == {"mean": pytest.approx(2 / 3), "median": 1.0, "defined": 3, "undefined": 1}
    assert [row["dice"] for row in detector.rows] == [1.0, 1.0, None, 0.0]
    assert [row["auroc"] for row in detector.rows] == [1.0, 1.0, None, None]
    assert detector.deployable["per_case"]["auroc"]["undefined"] == 2
    assert detector.counts["cases"] == 4
    assert detector.counts["subjects"] == 2
    assert detector.counts["cases_without_lesion"] == 2
    assert detector.counts["cases_without_lesion_and_flag"] == 1


def test_lesions_have_a_volume_where_the_world_is_known(detector: Evaluation) -> None:
    assert detector.rows[0]["lesion_ml"] == pytest.approx(16 * 10 / 1000)
    nowhere = (scored._replace(affine=None) for scored in heads())
    assert evaluate("x", nowhere, threshold_note="").rows[0]["lesion_ml"] is None


def test_a_method_without_threshold_has_no_deployed_figures(floor: Evaluation) -> None:
    for name in ("dice", "sensitivity", "precision", "flagged_share"):
        assert floor.deployable["set"][name] is None
    assert 0.5 < floor.deployable["set"]["auroc"] < 1
    assert floor.operating_point is None


def test_a_body_that_is_empty_breaks_nothing(tmp_path: Path) -> None:
    """Erosion can leave nothing of a small body, and then of the only case."""
    bodiless = [next(heads())._replace(inside=np.zeros(SHAPE, bool))]
    judged = evaluate("d", bodiless, threshold_note="")
    assert judged.counts["cases_without_body"] == 1
    assert judged.deployable["set"]["dice"] is None
    assert write_report([judged], tmp_path, title="Nothing", facts={}).exists()


def test_volumes_do_not_stay_in_memory() -> None:
    seen = []

    def watched() -> Iterator[Scored]:
        for scored in heads():
            seen.extend(weakref.ref(array) for array in (scored.image, scored.map, scored.truth))
            yield scored

    kept = evaluate("d", watched(), threshold_note="")
    assert len(kept.thumbnails) == 4
    assert [alive for alive in seen if alive() is not None] == []


def test_no_case_is_an_error_of_the_user() -> None:
    with pytest.raises(InputError, match="no case to evaluate"):
        evaluate("d", [], threshold_note="")


def test_half_masked_is_an_error_of_the_caller() -> None:
    first, second, *_ = heads()
    with pytest.raises(ValueError, match="1 of 2 cases have no mask"):
        evaluate("d", [first, second._replace(mask=None)], threshold_note="")


def test_thumbnails_are_the_right_way_up() -> None:
    """Anterior above and the patient's right on the left, whatever the file's axes."""
    volume = np.zeros((6, 8, 3))
    volume[5, 7, 1] = 1.0  # right and anterior under an identity affine in RAS+
    volume[0, 0, 1] = 0.5
    common = {"inside": np.ones(volume.shape, bool), "truth": volume > 0, "mask": None}
    ras = thumbnail(image=volume, map=volume, axis=2, affine=np.diag([1, 3.0, 5, 1]), **common)
    assert ras.map[0, 0] == 1.0
    assert ras.map[-1, -1] == 0.5
    assert ras.map.shape == (8, 6)
    assert ras.pixel_mm == (3.0, 1.0)
    assert ras.slice_index == 1
    stored = thumbnail(image=volume, map=volume, axis=2, affine=None, **common)
    assert stored.map[0, 0] == 0.5


def test_large_slices_are_shrunk() -> None:
    large = np.zeros((700, 500, 1))
    full = np.ones(large.shape, bool)
    small = thumbnail(
        image=large, inside=full, truth=full, map=large, mask=full, axis=2, affine=None
    )
    assert max(small.image.shape) <= LIMIT_PX
    assert small.truth.all()
    assert small.pixel_mm == (1.0, 1.0)


def test_outline_of_a_square_at_the_edge_is_closed() -> None:
    path = figures.outline(np.ones((2, 2), bool))
    assert path.count("M") == path.count("Z") == 1
    assert figures.outline(np.zeros((2, 2), bool)) == ""


def test_json_keeps_oracles_apart(written: Path) -> None:
    content = json.loads((written.parent / "metrics.json").read_text())
    assert list(content)[:2] == ["deployable", "oracle"]
    assert set(content["oracle"]["detector"]["set"]) == {"best_dice"}
    assert set(content["deployable"]) == {"detector", "floor & <noise>"}
    assert "best_dice" not in json.dumps(content["deployable"])
    assert len(content["cases"]) == 8
    assert content["cases"][2]["auroc"] is None
    assert content["facts"] == {"Model": "a&b"}


def test_to_json_is_strict(detector: Evaluation) -> None:
    again = json.loads(json.dumps(detector.to_json(), allow_nan=False))
    assert again["oracle"]["threshold"] == 1.0
    assert len(again["cases"]) == 4


def test_table_has_one_line_a_method_and_case(written: Path) -> None:
    lines = list(csv.DictReader((written.parent / "table.csv").read_text().splitlines()))
    assert len(lines) == 8
    assert lines[0]["best_dice_oracle"] == "1.0"
    assert lines[2]["dice"] == ""


class Page(HTMLParser):
    """Collects what a test asks of a page, and checks that elements close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    parsed = Page()
    parsed.feed(written.read_text())
    return parsed


def test_page_is_well_formed(page: Page) -> None:
    assert page.open == []
    tags = {tag for tag, _ in page.seen}
    assert {"table", "svg", "polyline", "image", "title"} <= tags


def test_page_asks_for_nothing_and_runs_nothing(page: Page, written: Path) -> None:
    text = written.read_text()
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    links = [a[key] or "" for _, a in page.seen for key in ("href", "src") if key in a]
    assert links
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    assert "script" not in {tag for tag, _ in page.seen}
    assert len(text) < 5_000_000


def test_every_picture_has_a_text(page: Page) -> None:
    pictures = [a for tag, a in page.seen if tag == "svg"]
    assert all(a.get("aria-label") or a.get("aria-hidden") == "true" for a in pictures)


def test_names_are_escaped(written: Path) -> None:
    text = written.read_text()
    assert "Four &lt;heads&gt;" in text
    assert "<heads>" not in text
    assert "<noise>" not in text


def test_page_says_what_it_must(written: Path) -> None:
    text = " ".join(written.read_text().split())
    for promise in (
        "Research use only",
        "not a medical device",
        "threshold chosen on the labels",
        "eroded by 6 x 6 pixels",
        "2 of 4 cases have no lesion",
        "prefers-color-scheme:dark",
    ):
        assert promise in text


def test_page_shows_the_noisiest_healthy_case(detector: Evaluation) -> None:
    shown = figures.case_pictures([detector])
    assert [(picture.rank, picture.row["case"]) for picture in shown] == [
        ("Rank 1 of 2", "head-0"),
        ("Rank 2 of 2", "head-1"),
        ("No lesion", "head-3"),
    ]


def test_same_evaluations_give_the_same_page(
    written: Path, detector: Evaluation, floor: Evaluation, tmp_path: Path
) -> None:
    facts = {"Model": "a&b"}
    again = write_report([detector, floor], tmp_path, title="Four <heads>", facts=facts)
    assert again.read_bytes() == written.read_bytes()


def test_methods_must_share_their_cases(detector: Evaluation, tmp_path: Path) -> None:
    other = evaluate("other", list(heads())[:2], threshold_note="")
    with pytest.raises(ValueError, match="different cases"):
        write_report([detector, other], tmp_path, title="x", facts={})
    with pytest.raises(ValueError, match="share a name"):
        write_report([detector, detector], tmp_path, title="x", facts={})
    with pytest.raises(ValueError, match="at least one"):
        write_report([], tmp_path, title="x", facts={})


def test_more_methods_than_colours(detector: Evaluation, tmp_path: Path) -> None:
    many = [dataclasses.replace(detector, name=f"m{number}") for number in range(7)]
    assert write_report(many, tmp_path, title="Seven", facts={}).exists()
