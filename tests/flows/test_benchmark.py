"""A benchmark as a user runs it: whole, stopped, resumed, with cells that fail, and refused."""

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wholesight.benchmark.plan.contenders import contenders
from wholesight.benchmark.plan.suite import load_suite
from wholesight.recipe_file import shipped

SUITE = """
summary: a floor, and one network for two epochs
question: does a benchmark run?
reference: floor
methods:
  - floor
  - name: tiny
    recipe: quick
    set:
      - size=32
      - training.epochs=2
      - training.batch=4
      - method.network.width=4
      - method.network.width_top=16
seeds: 2
"""
CELLS = ("floor/seed-0", "tiny/seed-0", "tiny/seed-1")


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "tiny.yaml"
    path.write_text(SUITE)
    return path


def words(suite: Path, heads: Path, out: Path, *more: object) -> list[str]:
    own = ["benchmark", suite, "--data", heads, "--out", out, "--device", "cpu", *more]
    return [str(word) for word in own]


def start(*line: str) -> subprocess.Popen:
    """Run the command line in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", "wholesight", *line],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def cells(out: Path, heads: Path) -> list[str]:
    folder = out / "cells" / heads.name
    return sorted(p.parent.relative_to(folder).as_posix() for p in folder.glob("*/*/cell.json"))


def hidden(out: Path) -> list[Path]:
    return list(out.glob("cells/*/*/.*"))


def wait_for_a_cell(running: subprocess.Popen, out: Path) -> None:
    deadline = time.monotonic() + 120
    while not list(out.glob("cells/*/*/seed-*/cell.json")):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def still_living(group: int) -> bool:
    """Whether a process of the group goes on; one that nobody has asked after is a zombie."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        stats = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                stats.append(path.read_text().rpartition(")")[2].split())
        if not any(int(own) == group and state not in "ZX" for state, _, own, *_ in stats):
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def whole(suite, heads, tmp_path_factory) -> Path:
    """The folder of a run that nothing disturbed, with one job. Tests do not write into it."""
    out = tmp_path_factory.mktemp("benchmark") / "whole"
    running = start(*words(suite, heads, out, "--jobs", "1"))
    said, complained = running.communicate(timeout=240)
    assert running.returncode == 0, said + complained
    assert "Traceback" not in said + complained
    (out / "said.txt").write_text(said)
    return out


@pytest.mark.slow
def test_it_finishes_with_a_report(whole, heads):
    assert cells(whole, heads) == list(CELLS)
    assert not hidden(whole)
    for name in ("report.html", "metrics.json", "table.csv", "cases.csv", "protocol.json"):
        assert (whole / name).stat().st_size > 100, name
    assert (whole / "failures.tsv").read_text() == "data\tmethod\tseed\tcode\treason\n"
    said = (whole / "said.txt").read_text()
    assert f"1/3  {heads.name}.floor.seed-0  AUPRC 0." in said
    assert "3 of 3 cells finished" in said


@pytest.mark.slow
def test_a_cell_says_what_it_is(whole, heads):
    folder = whole / "cells" / heads.name / "tiny" / "seed-1"
    facts = json.loads((folder / "cell.json").read_text())
    assert (facts["method"], facts["seed"], facts["device"]) == ("tiny", 1, "cpu")
    assert facts["seconds"]["training"] > 0
    assert facts["seconds"]["case"] > 0
    record = json.loads((folder / "model" / "record.json").read_text())
    assert facts["digest"] == record["digest"]
    split = json.loads((heads / "split.json").read_text())
    assert record["data"]["subjects"] == sorted(split["train"])
    assert (
        json.loads((folder / "model" / "threshold.json").read_text())["model"] == record["digest"]
    )


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed_it_gives_the_same_table(whole, suite, heads, tmp_path):
    """And with two jobs, where the first run had one."""
    out = tmp_path / "killed"
    running = start(*words(suite, heads, out, "--jobs", "2"))
    wait_for_a_cell(running, out)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)
    finished = cells(out, heads)
    assert 0 < len(finished) < len(CELLS)
    assert not (out / "table.csv").exists()
    before = {name: (out / "cells" / heads.name / name).stat().st_ctime_ns for name in finished}

    resumed = start(*words(suite, heads, out, "--jobs", "2", "--resume"))
    said, complained = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, said + complained
    assert cells(out, heads) == list(CELLS)
    assert not hidden(out)
    for name, changed in before.items():
        assert (out / "cells" / heads.name / name).stat().st_ctime_ns == changed
    assert (out / "table.csv").read_bytes() == (whole / "table.csv").read_bytes()
    assert (out / "cases.csv").read_bytes() == (whole / "cases.csv").read_bytes()


@pytest.mark.slow
def test_ctrl_c_leaves_no_half_cell_and_no_worker(suite, heads, tmp_path):
    out = tmp_path / "stopped"
    running = start(*words(suite, heads, out, "--jobs", "1"))
    wait_for_a_cell(running, out)
    os.killpg(running.pid, signal.SIGINT)
    said, complained = running.communicate(timeout=60)
    assert running.returncode == 130, said + complained
    assert "--resume goes on from there" in complained
    assert "Traceback" not in said + complained
    assert not hidden(out)
    assert not still_living(running.pid)


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(suite, heads, tmp_path):
    out = tmp_path / "orphans"
    running = start(*words(suite, heads, out, "--jobs", "2"))
    wait_for_a_cell(running, out)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)  # both pipes are closed once nobody holds them any more
    assert not still_living(running.pid)


@pytest.fixture(scope="module")
def folded(tmp_path_factory) -> Path:
    """The suite in two folds."""
    path = tmp_path_factory.mktemp("folded") / "folded.yaml"
    path.write_text(f"{SUITE}folds: {{number: 2, calibration: 2}}\n")
    return path


@pytest.mark.slow
def test_in_folds_everybody_is_judged_once_and_a_resumed_run_gives_the_same_table(
    folded, heads, tmp_path
):
    """Killed while the second fold of a network is trained, with one job and resumed with two."""
    whole, out = tmp_path / "whole", tmp_path / "killed"
    said, complained = start(*words(folded, heads, whole, "--jobs", "2")).communicate(timeout=240)
    assert "3 of 3 cells finished" in said, said + complained
    told = json.loads((whole / "protocol.json").read_text())["data"][heads.name]["subjects"]
    subjects = sorted(subject for part in told["fold-1"].values() for subject in part)
    assert len(subjects) == 10
    assert sorted(told["fold-1"]["judged"] + told["fold-2"]["judged"]) == subjects
    with (whole / "cases.csv").open() as file:
        rows = [(row["method"], row["seed"], row["subject"]) for row in csv.DictReader(file)]
    runs = [cell.split("/seed-") for cell in CELLS]
    assert sorted(rows) == sorted((*run, subject) for run in runs for subject in subjects)
    for cell in CELLS:
        for name, fold in told.items():
            model = whole / "cells" / heads.name / cell / "model" / name
            served = json.loads((model / "record.json").read_text())["data"]["subjects"]
            assert served == fold["train"]
            assert not {*served, *fold["calibration"]} & {*fold["judged"]}

    running = start(*words(folded, heads, out, "--jobs", "1"))
    deadline = time.monotonic() + 120
    while not list(out.glob("cells/*/tiny/.*/model/fold-1/record.json")):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)
    (first,) = out.glob("cells/*/tiny/.*/model/fold-1/record.json")
    trained = json.loads(first.read_text())["started"]
    resumed = start(*words(folded, heads, out, "--jobs", "2", "--resume"))
    said, complained = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, said + complained
    kept = out / "cells" / heads.name / "tiny" / "seed-0" / "model" / "fold-1" / "record.json"
    assert json.loads(kept.read_text())["started"] == trained
    for table in ("table.csv", "cases.csv"):
        assert (out / table).read_bytes() == (whole / table).read_bytes()


def test_with_folds_there_is_no_subset(wholesight, folded, heads, tmp_path):
    ended = wholesight(*words(folded, heads, tmp_path / "out", "--subset", "test"))
    assert ended.code == 2
    assert "--subset test: suite folded judges all subjects, in 2 folds. Leave out" in ended.err
    assert not (tmp_path / "out").exists()


def test_too_few_subjects_for_the_folds_are_told_before_anything_is_trained(
    wholesight, folded, heads, tmp_path
):
    (tmp_path / "many.yaml").write_text(folded.read_text().replace("number: 2", "number: 11"))
    ended = wholesight(*words(tmp_path / "many.yaml", heads, tmp_path / "out"))
    assert ended.code == 3
    assert "10 subjects, too few for the suite's 11 folds" in ended.err
    assert not (tmp_path / "out").exists()


FAILING = """
summary: one that cannot be judged
question: does the rest go on?
reference: floor
methods:
  - floor
  - {name: bare, recipe: floor, set: ["prep.body=given"]}
"""


@pytest.mark.slow
def test_a_failing_cell_is_listed_and_the_rest_stands(wholesight, heads, tmp_path):
    (tmp_path / "failing.yaml").write_text(FAILING)
    out = tmp_path / "out"
    ended = wholesight(*words(tmp_path / "failing.yaml", heads, out, "--jobs", "1"))
    assert ended.code == 4, ended.err
    assert "1 of 2 cells finished, 1 failed" in ended.out
    (row,) = (out / "failures.tsv").read_text().splitlines()[1:]
    data, method, seed, code, reason = row.split("\t")
    assert (data, method, seed, code) == (heads.name, "bare", "0", "E_NO_BODY")
    assert "came without a mask of its body" in reason
    assert "Traceback" not in ended.out + ended.err + reason
    assert "Traceback" in (out / "failures" / f"{heads.name}.bare.seed-0.txt").read_text()
    assert cells(out, heads) == ["floor/seed-0"]
    assert not hidden(out)
    assert "came without a mask of its body" in (out / "report.html").read_text()


@pytest.mark.slow
def test_a_worker_that_dies_takes_its_own_cell_along_and_no_more(suite, heads, tmp_path):
    out = tmp_path / "out"
    running = start(*words(suite, heads, out, "--jobs", "1"))
    wait_for_a_cell(running, out)
    (child,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()[-1:]
    os.kill(int(child), signal.SIGKILL)
    said, complained = running.communicate(timeout=240)
    assert running.returncode == 4, said + complained
    assert "E_WORKER: its process ended by signal 9 (SIGKILL)" in said
    assert "2 of 3 cells finished, 1 failed" in said


@pytest.mark.slow
def test_nothing_but_failures_is_7_and_no_report(wholesight, heads, tmp_path):
    text = FAILING.replace("  - floor\n", "").replace("reference: floor", "reference: bare")
    (tmp_path / "failing.yaml").write_text(text)
    ended = wholesight(*words(tmp_path / "failing.yaml", heads, tmp_path / "out"))
    assert ended.code == 7
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["arrays.npz", "evaluation.json", "cell.json"])
def test_a_damaged_cell_is_named_and_done_again(wholesight, whole, suite, heads, tmp_path, name):
    out = tmp_path / "damaged"
    shutil.copytree(whole, out)
    file = out / "cells" / heads.name / "floor" / "seed-0" / name
    file.write_bytes(file.read_bytes()[:50])
    ended = wholesight(*words(suite, heads, out, "--resume", "--jobs", "1"))
    assert ended.code == 0, ended.out + ended.err
    assert f"{heads.name}.floor.seed-0  is damaged, and done again" in ended.out
    assert "3/3" in ended.out
    for table in ("table.csv", "cases.csv"):
        assert (out / table).read_bytes() == (whole / table).read_bytes()


@pytest.mark.slow
def test_a_model_that_was_removed_to_save_room_is_not_trained_again(
    wholesight, whole, suite, heads, tmp_path
):
    out = tmp_path / "small"
    shutil.copytree(whole, out)
    shutil.rmtree(out / "cells" / heads.name / "tiny" / "seed-1" / "model")
    (out / "report.html").unlink()
    ended = wholesight(*words(suite, heads, out, "--resume", "--jobs", "1"))
    assert ended.code == 0, ended.out + ended.err
    assert "tiny.seed-1" not in ended.out
    assert (out / "report.html").is_file()


@pytest.mark.slow
def test_another_protocol_is_no_resumption(wholesight, whole, suite, heads):
    ended = wholesight(*words(suite, heads, whole))
    assert ended.code == 2
    assert f"wholesight benchmark {suite}" in ended.err
    assert "--resume" in ended.err
    ended = wholesight(*words(suite, heads, whole, "--resume", "--seeds", "3"))
    assert ended.code == 2
    assert "suite.seeds was 2, now it is 3" in ended.err
    ended = wholesight(*words(suite, heads, whole, "--resume", "--subset", "validation"))
    assert ".subset was test, now it is validation" in ended.err


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        (["clam"], 2, "Did you mean 'claim'? Legal: claim, few-subjects, methods"),
        (["claim"], 2, "needs data: --data FOLDER"),
        (["protocol-bmvc2021"], 2, "training set of BraTS 2019 (335 subjects"),
        (["stress", "--data", "x"], 2, "makes its own data"),
        (["claim", "--data", "not-there"], 3, "no such folder"),
        (["claim", "--subset", "train"], 2, "Legal: test, validation"),
        (["protocol-bmvc2021", "--subset", "validation"], 2, "splits the data itself"),
        (["stress", "--subset", "train"], 2, "Legal: test, validation"),
    ],
)
def test_mistakes(wholesight, tmp_path, line, code, told):
    ended = wholesight("benchmark", *line, "--out", tmp_path / "out")
    assert ended.code == code
    assert told in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*linear branch:UserWarning")
def test_the_published_protocol_wants_its_335_subjects(wholesight, heads, tmp_path):
    ended = wholesight("benchmark", "protocol-bmvc2021", "--data", heads, "--out", tmp_path / "out")
    assert ended.code == 3
    assert "10 subjects, and the suite's split needs 335 (271 for train" in ended.err
    assert "BraTS 2019" in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_published_protocol_runs_on_a_phantom_of_brats_shape(wholesight, heads, tmp_path):
    """As shipped but for the numbers of subjects and slices and the network's size."""
    text = shipped("suite")["protocol-bmvc2021"].read_text()
    small = "[size=32, method.network.width=4, method.network.width_top=16, training.epochs=7]"
    for shipped_as, here in {
        "train: 271, calibration: 32, test: 32": "train: 5, calibration: 2, test: 3",
        "slices: [73, 82]": "slices: [3, 8]",
        "  - bmvc2021\n": f"  - {{name: bmvc2021, recipe: bmvc2021, set: {small}}}\n",
        "  - vae-paper\n  - media2022-gradcamcons\n  - media2022-amcons\n": "",
        "seeds: 3": "seeds: 1",
    }.items():
        assert shipped_as in text
        text = text.replace(shipped_as, here)
    (tmp_path / "small.yaml").write_text(text)
    out = tmp_path / "out"
    ended = wholesight(*words(tmp_path / "small.yaml", heads, out, "--jobs", "2"))
    assert ended.code == 0, ended.out + ended.err
    assert "4 of 4 cells finished" in ended.out
    told = json.loads((out / "protocol.json").read_text())
    assert told["suite"]["slices"] == [3, 8]
    assert told["suite"]["modality"] == "flair"
    left_out = {case for case, _ in told["data"][heads.name]["excluded"]}
    judged = {row.split(",")[2] for row in (out / "cases.csv").read_text().splitlines()[1:]}
    assert not left_out & judged
    assert len(left_out) + len(told["data"][heads.name]["subjects"]["judged"]) == 3
    assert "Axial slices 3 to 8" in (out / "report.html").read_text()


@pytest.mark.slow
def test_a_suite_makes_its_own_data(wholesight, tmp_path):
    text = shipped("suite")["stress"].read_text()
    for shipped_as, here in {
        "normal: 24": "normal: 12",
        "volumes_ml: [0.1, 0.6, 3.5, 20.0]": "volumes_ml: [20.0]",
        "contrasts: [-0.5, -0.3, -0.15, 0.15, 0.3, 0.5]": "contrasts: [-0.5, 0.5]",
        "repeats: 8": "repeats: 2",
        "  - quick\n  - standard\n  - vae-residual\n": "",
    }.items():
        assert shipped_as in text
        text = text.replace(shipped_as, here)
    (tmp_path / "small.yaml").write_text(text)
    out = tmp_path / "out"
    line = ["benchmark", tmp_path / "small.yaml", "--out", out, "--jobs", "1", "--device", "cpu"]
    ended = wholesight(*line)
    assert ended.code == 0, ended.out + ended.err
    # A mere brightness detector shows as such: bright lesions found, dark ones below chance.
    with (out / "cases.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "floor" and row["auroc"]]
    facts = json.loads((out / "data" / "small" / "phantom.json").read_text())["cases"]
    auroc = {facts[row["case"]]["contrast"]: float(row["auroc"]) for row in rows}
    assert auroc[0.5] > 0.8
    assert auroc[-0.5] < 0.3
    assert wholesight(*line, "--resume").code == 0


def test_leakage_is_refused_before_anything_is_trained(wholesight, suite, heads, tmp_path):
    copy = tmp_path / "leaky"
    shutil.copytree(heads, copy)
    split = json.loads((copy / "split.json").read_text())
    one, other = split["train"][0], split["test"][0]
    image = (copy / one / f"{one}_flair.nii.gz").read_bytes()
    (copy / other / f"{other}_flair.nii.gz").write_bytes(image)
    ended = wholesight(*words(suite, copy, tmp_path / "out"))
    assert ended.code == 3
    assert one in ended.err
    assert other in ended.err
    assert not (tmp_path / "out").exists()


def test_the_tiny_suite_is_what_it_says(suite):
    floor, tiny = contenders(load_suite(str(suite)))
    assert (floor.seeds, tiny.seeds) == ((0,), (0, 1))
