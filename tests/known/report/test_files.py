"""The files beside the page: JSON, CSV, Markdown and LaTeX hold the same figures."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from wholesight.benchmark.report import tables
from wholesight.benchmark.results import DataSetResult, Results
from wholesight.metrics.registry import METRICS

SUBJECTS = 6


def test_json_of_one_data_set_keeps_oracles_apart(pair: Results, written: dict[str, Path]) -> None:
    content = json.loads((written["pair"].parent / "metrics.json").read_text())
    assert list(content)[:2] == ["deployable", "oracle"]
    oracles = {name for name, metric in METRICS.items() if metric.kind == "oracle"}
    assert set(content["oracle"]["detector"]["set"]) == oracles
    assert set(content["deployable"]) == {"detector", "floor & <noise>"}
    assert not any(name in json.dumps(content["deployable"]) for name in oracles)
    own = pair.datasets[0].methods[0].evaluations[0]
    assert content["deployable"]["detector"]["set"]["dice"] == own.deployable["set"]["dice"]
    assert content["counts"] == own.counts
    assert content["thresholds"]["detector"] == "5 % of normals"
    assert content["facts"] == {"model": "a&b"}
    assert len(content["cases"]) == 2 * SUBJECTS
    assert content["cases"][0]["auroc"] is None


def test_json_of_several_data_sets_names_them(written: dict[str, Path]) -> None:
    content = json.loads((written["many"].parent / "metrics.json").read_text())
    assert list(content)[:2] == ["deployable", "oracle"]
    assert set(content["deployable"]) == {"heads", "stress", "ill only"}
    own = content["deployable"]["heads"]["method-0"]
    dices = [each["set"]["dice"] for each in own["seeds"].values()]
    assert own["set"]["dice"] == pytest.approx(np.mean(dices))
    assert {f["method"] for f in content["failures"]["heads"]} == {"two-seeds", "gone"}
    assert content["exclusions"]["heads"] == [{"case": "head_9", "reason": "0.01 % lesion"}]
    assert len(content["cases"]["heads"]) == (22 * 3 + 2 + 3) * SUBJECTS


def test_json_has_strata_and_ranking_errors_by_method_and_seed(
    pair: Results, many: Results, written: dict[str, Path]
) -> None:
    content = json.loads((written["pair"].parent / "metrics.json").read_text())
    for method in pair.datasets[0].methods:
        (own,) = method.evaluations
        assert set(own.strata) == {"lesion size", "contrast", "site"}
        assert content["strata"][method.name] == own.strata
        assert content["ranking_error"][method.name] == own.ranking_error
    content = json.loads((written["many"].parent / "metrics.json").read_text())
    for method in many.datasets[0].methods:
        strata = [each.strata for each in method.evaluations]
        errors = [each.ranking_error for each in method.evaluations]
        for part, expected in (("strata", strata), ("ranking_error", errors)):
            found = content[part]["heads"].get(method.name)
            seeds = [found] if len(expected) == 1 else list((found or {}).values())
            assert seeds == expected
            if len(expected) > 1:
                assert list(found) == [str(seed) for seed in method.seeds]


def lines(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_table_has_one_line_a_figure(many: Results, written: dict[str, Path]) -> None:
    table = lines(written["many"].parent / "table.csv")
    keys = [(x["dataset"], x["method"], x["metric"], x["pixels"], x["over"]) for x in table]
    assert len(keys) == len(set(keys))
    found = dict(zip(keys, table, strict=True))
    own = many.datasets[0].methods[0].figures["best_dice"]
    line = found["heads", "method-0", "best_dice", "inside", "set"]
    assert line["kind"] == "oracle"
    assert float(line["mean"]) == own.mean
    assert (float(line["lowest"]), float(line["highest"])) == (own.lowest, own.highest)
    assert own.interval is not None
    assert float(line["interval_low"]) == own.interval.low
    assert (line["seeds"], line["subjects"]) == ("3", str(SUBJECTS))
    assert found["heads", "unmasked", "dice", "inside", "set"]["mean"] == ""
    assert ("heads", "method-0", "dice", "all", "set") in found
    assert ("heads", "method-0", "dice", "inside", "cases") in found
    assert "gone" not in {line["method"] for line in table}


def test_cases_have_one_line_a_method_seed_and_case(written: dict[str, Path]) -> None:
    table = lines(written["many"].parent / "cases.csv")
    keys = [(x["dataset"], x["method"], x["seed"], x["case"]) for x in table]
    assert len(keys) == len(set(keys))
    assert len([key for key in keys if key[0] == "heads"]) == (22 * 3 + 2 + 3) * SUBJECTS
    normal = table[0]
    assert normal["lesion_voxels"] == "0"
    assert normal["average_precision"] == ""
    assert "best_dice_oracle" in normal


def test_markdown_and_latex_hold_the_headline(written: dict[str, Path]) -> None:
    folder = written["many"].parent
    markdown = (folder / "table.md").read_text()
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    # Where a method has several seeds there is a column for them.
    assert set(widths) == {len(tables.HEADLINE) + 5, len(tables.HEADLINE) + 6}
    assert "Best Dice (oracle)" in markdown
    assert "gone (failed)" in markdown
    assert "floor\\_mode (reference, untrained)" in markdown
    latex = (folder / "table.tex").read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 3
    assert r"floor\_mode" in latex
    assert re.search(r"(?<!\\)_", latex) is None
    assert r"\shortstack[c]{Oracle\\threshold chosen\\on the labels}" in latex


def columns_of(row: str) -> int:
    """Count a LaTeX row's columns, the spans of \\multicolumn too."""
    cells = re.split(r"(?<!\\)&", row)
    spans = (re.match(r"\s*\\multicolumn\{(\d+)\}", cell) for cell in cells)
    return sum(int(span[1]) if span else 1 for span in spans)


@pytest.mark.parametrize("which", ["pair", "many"])
def test_latex_columns_add_up(written: dict[str, Path], which: str) -> None:
    latex = (written[which].parent / "table.tex").read_text()
    assert len(re.findall(r"(?<!\\)\{", latex)) == len(re.findall(r"(?<!\\)\}", latex))
    labels = re.findall(r"\\label\{tab:([a-z0-9-]+)\}", latex)
    assert len(labels) == len(set(labels)) == latex.count(r"\begin{table}")
    for table in latex.split(r"\begin{tabular}")[1:]:
        wide = len(table[1 : table.index("}")])
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert {columns_of(row) for row in rows} == {wide}
        rules = [(int(a), int(b)) for a, b in re.findall(r"\\cmidrule\(lr\)\{(\d+)-(\d+)\}", table)]
        assert [first for first, _ in rules] == [2, *(last + 1 for _, last in rules[:-1])]
        assert rules[-1][1] <= wide


def test_tables_can_be_read_on_their_own(written: dict[str, Path]) -> None:
    caption = (written["many"].parent / "table.md").read_text()
    for said in (
        "6 cases of 6 subjects, 2 of them without a lesion.",
        "eroded by 6 x 6 pixels",
        "subjects resampled",
        "Wilcoxon's signed-rank test over subjects, adjusted by Holm over 25 comparisons",
        "threshold chosen on the labels",
        "no network is trained",
        "the lowest and highest AUPRC among them",
    ):
        assert said in caption


def test_tables_speak_of_intervals_only_where_there_are_any(
    few: Results, bodiless: DataSetResult, written: dict[str, Path]
) -> None:
    for write in (tables.table_md, tables.table_tex):
        said = write(few)
        assert "No intervals: they need five subjects." in said
        assert "95" not in said
        assert "No intervals: they need five" in write(Results("Nothing", "", [bodiless]))
    assert "In brackets: 95 % intervals" in (written["many"].parent / "table.md").read_text()
    assert "In small print: 95" in (written["many"].parent / "table.tex").read_text()
    assert "No intervals" not in (written["pair"].parent / "table.md").read_text()


def test_json_says_what_each_method_is(written: dict[str, Path]) -> None:
    content = json.loads((written["pair"].parent / "metrics.json").read_text())
    assert content["methods"]["detector"] == {
        "summary": "what detector does",
        "citation": "Someone & others 2021",
        "trained": True,
        "seeds": [0],
    }


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_latex_compiles(written: dict[str, Path], tmp_path: Path) -> None:
    table = (written["many"].parent / "table.tex").read_text()
    source = (
        r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
        f"\n{table}\n" + r"\end{document}"
    )
    (tmp_path / "t.tex").write_text(source)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]


@pytest.mark.parametrize(
    "text", ["a_b", "50 %", "x & y", "#1", "{", "}", "~", "^", "$", "\\end{x}"]
)
def test_latex_escapes_what_latex_reads(text: str) -> None:
    plain = re.sub(r"\\text\w+\{\}|\\[&%$#_{}]", "", tables.tex(text))
    assert not set(plain) & set("&%$#_{}~^\\")
