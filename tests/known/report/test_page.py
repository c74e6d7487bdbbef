"""The page: well formed, offline, escaped, small; and what it must say."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wholesight.benchmark.judge.evaluate import Evaluation
from wholesight.benchmark.report import lineup, tables
from wholesight.benchmark.report.write import write_report
from wholesight.benchmark.results import DataSetResult, MethodResult, Results
from wholesight.metrics.registry import METRICS

BOTH = pytest.mark.parametrize("which", ["pair", "many"])


@BOTH
def test_page_is_well_formed(
    written: dict[str, Path], which: str, read_page: Callable[[Path], Any]
) -> None:
    page = read_page(written[which])
    assert page.open == []
    tags = {tag for tag, _ in page.seen}
    assert {"table", "svg", "polyline", "image", "use", "title", "nav", "figure"} <= tags


@BOTH
def test_page_asks_for_nothing_and_runs_nothing(
    written: dict[str, Path], which: str, read_page: Callable[[Path], Any]
) -> None:
    page, text = read_page(written[which]), written[which].read_text()
    for asking in ("http:", "https:", "@import", "url(", "<script", "<link", "<iframe"):
        assert asking not in text
    links = [a[key] or "" for _, a in page.seen for key in ("href", "src") if key in a]
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    policy = [a["content"] for tag, a in page.seen if a.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert not any(name.startswith("on") for _, a in page.seen for name in a)


@BOTH
def test_ids_are_unique_and_every_link_lands(
    written: dict[str, Path], which: str, read_page: Callable[[Path], Any]
) -> None:
    page = read_page(written[which])
    ids = [a["id"] for _, a in page.seen if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {(a["href"] or "")[1:] for _, a in page.seen if (a.get("href") or "").startswith("#")}
    labels = {a["aria-labelledby"] for _, a in page.seen if "aria-labelledby" in a}
    assert targets
    assert targets | labels <= set(ids)


@BOTH
def test_every_picture_has_a_text(
    written: dict[str, Path], which: str, read_page: Callable[[Path], Any]
) -> None:
    pictures = [a for tag, a in read_page(written[which]).seen if tag == "svg"]
    assert all(a.get("aria-label") or a.get("aria-hidden") == "true" for a in pictures)


def test_names_are_escaped(written: dict[str, Path], read_page: Callable[[Path], Any]) -> None:
    text = written["pair"].read_text()
    assert "<heads>" not in text
    assert "<noise>" not in text
    assert "On <heads>" in read_page(written["pair"]).text


def test_page_says_what_it_must(written: dict[str, Path], read_page: Callable[[Path], Any]) -> None:
    said = read_page(written["pair"]).text
    for promise in (
        "Does it see?",
        "Research use only",
        "Not a medical device",
        "threshold chosen on the labels",
        "eroded by 6 x 6 pixels",
        "2 of 6 cases have no lesion",
        "False positives on normal scans",
        "By lesion size",
        "By contrast",
        "By site",
        "FROC",
        "Read this (Baur et al. 2021).",
        "No case of the subset was left out.",
        "Subjects are the unit",
    ):
        assert promise in said
    assert "prefers-color-scheme:dark" in written["pair"].read_text()


def test_page_of_many_says_what_it_must(
    written: dict[str, Path], read_page: Callable[[Path], Any]
) -> None:
    said = read_page(written["many"]).text
    for promise in (
        "All data sets",
        "E_MEMORY 9 GB & more",
        "E_DIVERGED the loss is infinite | in epoch 3",
        "2 of 3 seeds",
        "head_9: 0.01 % lesion",
        "There is no normal scan among these cases",
        "Stress: lesions of known size and contrast",
        "The best of many methods looks better than it is",
    ):
        assert promise in said


def test_the_legend_counts_the_grey_lines(
    many: Results, written: dict[str, Path], read_page: Callable[[Path], Any]
) -> None:
    looks = lineup.looks(many)
    names = [method.name for method in lineup.judged(many.datasets[0])]
    grey = [name for name in names if name not in looks]
    assert len(grey) > 15
    assert f"the other {len(grey)} are the grey lines" in read_page(written["many"]).text


@pytest.mark.slow
def test_a_full_benchmark_fits_in_ten_megabytes(many: Results, tmp_path: Path) -> None:
    """25 methods x 20 cases with slices as large as they get, and maps that compress badly."""
    rng = np.random.default_rng(0)

    def large(each: Evaluation) -> Evaluation:
        side = (224, 200)
        noisy = tuple(
            seen._replace(
                image=rng.integers(0, 255, side).astype(np.uint8),
                inside=np.ones(side, bool),
                truth=rng.random(side) > 0.5,
                map=rng.random(side),
                mask=rng.random(side) > 0.5,
            )
            for seen in each.thumbnails
        )
        return dataclasses.replace(each, thumbnails=noisy)

    first = many.datasets[0]
    able = [
        dataclasses.replace(m, evaluations=[large(lineup.middle(m))] * len(m.evaluations))
        for m in first.methods
        if m.evaluations
    ]
    assert len(able) >= 25
    heavy = dataclasses.replace(many, datasets=[dataclasses.replace(first, methods=able)])
    assert write_report(heavy, tmp_path).stat().st_size < 10_000_000


def test_methods_and_thresholds_are_told_once(
    written: dict[str, Path], read_page: Callable[[Path], Any]
) -> None:
    said = read_page(written["many"]).text
    assert said.count("What two-seeds does. Someone & others 2021. Seeds 0, 1. Training") == 1
    assert "Training took 1.0 min." in said
    assert "heads, unmasked: None." in said
    assert "stress, every method: 5 % of normals." in said
    assert ".." not in said.replace("...", "")


def test_the_page_speaks_of_intervals_only_where_there_are_any(
    few: Results,
    tmp_path: Path,
    written: dict[str, Path],
    read_page: Callable[[Path], Any],
) -> None:
    read = read_page(write_report(few, tmp_path / "one")).text
    shown, _, explained = read.rpartition("How sure.")
    assert shown.count("o intervals: they need five subjects") == 3  # cards, headline, figures
    assert "95 %" not in shown
    assert "its interval, on an axis" not in shown
    assert "under five subjects there is none" in explained
    twice = [few.datasets[0], dataclasses.replace(few.datasets[0], name="again")]
    page = write_report(dataclasses.replace(few, datasets=twice), tmp_path / "two")
    said = read_page(page).text.partition("Best mean first")[0]
    assert said.endswith("mean over seeds; no intervals: they need five subjects. ")
    for which in ("pair", "many"):
        said = read_page(written[which]).text
        assert "In small print: 95 % intervals, subjects resampled" in said
        assert "Under AUPRC: its interval, on an axis" in said
    assert "in small print the 95 % interval" in said


def test_seeds_are_counted_where_they_are_explained(
    few: Results, written: dict[str, Path], tmp_path: Path, read_page: Callable[[Path], Any]
) -> None:
    said = read_page(write_report(few, tmp_path)).text
    assert "; “2 seeds” are the lowest and highest of the same" in said
    assert "“3 seeds”" not in said
    said = read_page(written["many"]).text
    # Of three data sets the last has a single seed.
    assert said.count("“2 seeds” and “3 seeds” are the lowest") == 1
    assert said.count("; “3 seeds” are the lowest") == 1
    assert "seeds” are" not in read_page(written["pair"]).text


def test_warnings_of_training_and_the_clock_are_told(
    few: Results, tmp_path: Path, read_page: Callable[[Path], Any]
) -> None:
    (found,) = few.datasets
    noted = dataclasses.replace(
        found.methods[0],
        training_s=[60.0, 180.0],
        case_s=[0.5, 0.5],
        clocks=["CPU time"],
        notes=["the <barrier> never left its linear branch"],
    )
    sets = [dataclasses.replace(found, methods=[noted, found.methods[1]])]
    other = dataclasses.replace(noted, clocks=["time passed"], notes=[*noted.notes, "Few slices."])
    sets += [dataclasses.replace(sets[0], name="again", methods=[other, found.methods[1]])]
    one = read_page(write_report(dataclasses.replace(few, datasets=sets[:1]), tmp_path / "1")).text
    assert "Training took 2.0 min (CPU time). A map takes 0.50 s a case (CPU time)." in one
    both = read_page(write_report(dataclasses.replace(few, datasets=sets), tmp_path / "2")).text
    assert "Training took 2.0 min (CPU time and time passed)." in both
    assert both.count("Note. The <barrier> never left its linear branch. Note. Few slices.") == 1
    assert both.count("Note.") == 2


def test_a_mean_over_data_sets_is_over_all_of_them(
    many: Results, pair: Results, tmp_path: Path, written: dict[str, Path]
) -> None:
    overview = written["many"].read_text().partition('id="overview"')[2].partition("</table>")[0]
    means = re.findall(r'<td class="first">([^<]*)</td></tr>', overview)
    assert len(means) == 28
    assert set(means) == {"\N{EN DASH}"}
    first = pair.datasets[0]
    twice = [first, dataclasses.replace(first, name="again")]
    page = write_report(dataclasses.replace(many, datasets=twice), tmp_path).read_text()
    overview = page.partition('id="overview"')[2].partition("</table>")[0]
    means = re.findall(r'<td class="first">([^<]*)</td></tr>', overview)
    figures = [lineup.mean_of(method, "average_precision") for method in lineup.judged(first)]
    assert means == [f"{figure:.3f}" for figure in figures]


def test_oracles_are_hatched_and_nothing_else_is(written: dict[str, Path]) -> None:
    """A column is hatched exactly where labels choose the threshold."""
    text = written["pair"].read_text()
    head = re.findall(r'<th scope="col" class="([^"]*)"><span[^>]*>([^<]*)</span>', text)
    kinds = {title: css.split()[0] for css, title in head}
    for name in tables.HEADLINE:
        assert kinds[tables.SHORT.get(name, METRICS[name].title)] == METRICS[name].kind


def test_same_results_give_the_same_files(
    pair: Results, written: dict[str, Path], tmp_path: Path
) -> None:
    again = write_report(pair, tmp_path).parent
    for old in sorted(written["pair"].parent.iterdir()):
        assert (again / old.name).read_bytes() == old.read_bytes(), old.name


def test_a_body_that_is_empty_breaks_nothing(
    bodiless: DataSetResult, tmp_path: Path, read_page: Callable[[Path], Any]
) -> None:
    page = read_page(write_report(Results("Nothing", "", [bodiless]), tmp_path))
    assert "1 has no judged body" in page.text


def broken(change: Callable[[DataSetResult], DataSetResult]) -> Callable[[Results], Results]:
    return lambda results: dataclasses.replace(
        results, datasets=[change(each) for each in results.datasets]
    )


def _on_other_cases(found: DataSetResult) -> MethodResult:
    last = found.methods[-1]
    fewer = dataclasses.replace(last.evaluations[0], rows=last.evaluations[0].rows[1:])
    return dataclasses.replace(last, evaluations=[fewer])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: dataclasses.replace(r, datasets=[]), "at least one data set"),
        (lambda r: dataclasses.replace(r, datasets=[*r.datasets] * 2), "data sets share a name"),
        (broken(lambda d: dataclasses.replace(d, methods=[])), "at least one method"),
        (
            broken(lambda d: dataclasses.replace(d, methods=[*d.methods] * 2)),
            "methods share a name",
        ),
        (
            broken(lambda d: dataclasses.replace(d, methods=[d.methods[0], _on_other_cases(d)])),
            "different cases",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    pair: Results, tmp_path: Path, change: Callable[[Results], Results], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_report(change(pair), tmp_path)
