"""A user's mistakes: each ends in a message and an exit code, never in an internal fault."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wholesight.cli import main
from wholesight.datasets.phantom.atlas import load_atlas


@pytest.fixture(scope="module")
def maps(heads, model, tmp_path_factory) -> Path:
    """Maps of the test subset. Tests copy them before they change anything."""
    out = tmp_path_factory.mktemp("maps") / "maps"
    with pytest.MonkeyPatch.context() as patch:
        words = ["wholesight", "segment", model, heads, "--subset", "test", "--out", out]
        patch.setattr(sys, "argv", [str(word) for word in words])
        with pytest.raises(SystemExit):
            main.run()
    return out


def test_info_of_a_data_set_names_the_command_that_tells_of_it(wholesight, heads):
    ended = wholesight("info", heads)
    assert ended.code == 2
    assert f"Of a data set: wholesight check {heads}." in ended.err


@pytest.mark.parametrize("subset", ["train", "calibration", "all"])
def test_maps_are_judged_on_unseen_subjects_only(wholesight, heads, maps, tmp_path, subset):
    ended = wholesight("evaluate", maps, heads, "--subset", subset, "--out", tmp_path / "r")
    assert ended.code == 2
    assert "Legal: test, validation" in ended.err


def with_run(maps: Path, folder: Path, content: str) -> Path:
    shutil.copytree(maps, folder)
    (folder / "run.json").write_text(content)
    return folder


@pytest.mark.parametrize("content", ['{"threshold": 3}', "[1]", '"text"', '{"recipe": {}}'])
def test_a_foreign_run_json_is_no_concern_of_ours(wholesight, heads, maps, tmp_path, content):
    other = with_run(maps, tmp_path / "other-tool", content)
    ended = wholesight("evaluate", other, heads, "--out", tmp_path / "r")
    assert ended.code == 0, ended.err
    told = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert told["thresholds"]["other-tool"] == "as these masks came; how is not recorded"


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": None},
        {"threshold": {"rule": "percentile", "alpha": 0.05, "subjects": 2}},
        {"threshold": {"rule": "guess", "alpha": 0.05, "subjects": 2, "statement": "."}},
        {"threshold": {"rule": [], "alpha": 0.05, "subjects": 2, "statement": "."}},
        {"threshold": {"rule": "percentile", "alpha": "x", "subjects": 2, "statement": "."}},
        {"recipe": 3},
        {"body": {"kind": "elbow"}},
        {"body": {"kind": []}},
    ],
)
def test_a_damaged_run_json_is_refused(wholesight, heads, maps, tmp_path, change):
    run = {**json.loads((maps / "run.json").read_text()), **change}
    damaged = with_run(maps, tmp_path / "maps", json.dumps(run))
    ended = wholesight("evaluate", damaged, heads, "--out", tmp_path / "r")
    assert ended.code == 3
    assert "damaged" in ended.err
    (damaged / "run.json").write_text("{")
    assert wholesight("evaluate", damaged, heads, "--out", tmp_path / "r").code == 3


@pytest.mark.slow
def test_the_body_is_that_of_the_maps_unless_another_is_asked_for(
    wholesight, heads, maps, tmp_path
):
    """The figures count other voxels; run.json says which, or the option does."""

    def counted(*options: str) -> tuple[set[int], str]:
        out = tmp_path / "-".join(["r", *options])
        ended = wholesight("evaluate", folder, heads, *options, "--out", out)
        assert ended.code == 0, ended.err
        metrics = json.loads((out / "metrics.json").read_text())
        return {row["body_voxels"] for row in metrics["cases"]}, metrics["facts"]["body"]

    run = json.loads((maps / "run.json").read_text())
    assert run["body"]["kind"] == "nonzero"
    folder = with_run(maps, tmp_path / "maps", json.dumps({**run, "body": {"kind": "whole"}}))
    whole, said = counted()
    assert said.endswith("whole")
    assert counted("--body", "whole")[0] == whole
    brain, said = counted("--body", "nonzero")
    assert said.endswith("nonzero")
    assert max(brain) < max(whole)


@pytest.mark.parametrize("name", ["out[/x]", "scans [v2]", ":smile: it's"])
@pytest.mark.slow
def test_a_path_is_printed_as_it_was_typed(wholesight, heads, model, maps, tmp_path, tiny, name):
    place = tmp_path / name
    ended = wholesight("segment", model, heads, "--subset", "test", "--out", place)
    assert ended.code == 0, ended.err
    assert str(place) in ended.out
    ended = wholesight("evaluate", place, heads, "--out", place / "r")
    assert ended.code == 0, ended.err
    assert str(place / "r") in ended.out
    ended = wholesight("fit", heads, *tiny, "--out", place / "m")
    assert ended.code == 0, ended.err
    command = ended.out.splitlines()[-1].split("wholesight", 1)[1]
    words = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True
    )
    assert words.stdout.splitlines() == [
        *("calibrate", str(place / "m"), str(heads)),
        *("--alpha", "0.34"),  # what two calibration subjects allow
    ]
    ended = wholesight("calibrate", place / "m", heads, "--rule", "percentile", "--no-cost")
    assert str(place) in ended.out.replace("'\"'\"'", "'")


def test_demo_says_how_to_run_it_again(wholesight, tmp_path):
    (tmp_path / "my demo").mkdir()
    (tmp_path / "my demo" / "file").write_text("")
    ended = wholesight("demo", "--out", tmp_path / "my demo")
    assert ended.code == 2
    assert f"rm -r '{tmp_path}/my demo'" in ended.err
    assert f"wholesight demo --out '{tmp_path}/my demo-2'" in ended.err
    assert wholesight("demo", "--out", tmp_path / "my demo" / "file").code == 2


def test_without_the_atlas_the_phantom_says_what_to_install(wholesight, monkeypatch, tmp_path):
    load_atlas.cache_clear()
    monkeypatch.setattr("wholesight.datasets.phantom.atlas.find_spec", lambda _: None)
    ended = wholesight("demo", "--out", tmp_path / "demo")
    assert ended.code == 2
    assert 'pip install "wholesight[demo]"' in ended.err


def test_a_link_to_nowhere_is_the_readers_message(wholesight, heads, tmp_path, tiny):
    data = tmp_path / "heads"
    shutil.copytree(heads, data)
    subject = json.loads((heads / "split.json").read_text())["train"][0]
    scan = data / subject / f"{subject}_flair.nii.gz"
    scan.unlink()
    scan.symlink_to("annexed")
    ended = wholesight("fit", data, *tiny, "--out", tmp_path / "m")
    assert ended.code == 3
    assert "datalad get" in ended.err


@pytest.mark.parametrize(
    ("number", "code", "said"), [(errno.ENOSPC, 5, "has room"), (errno.ENOENT, 1, "bug")]
)
def test_only_a_disk_that_refuses_is_called_one(
    wholesight, monkeypatch, tmp_path, number, code, said
):
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, "so it is", "some-file")

    monkeypatch.setattr("wholesight.datasets.phantom.write_phantom", fails)
    ended = wholesight("phantom", tmp_path / "x")
    assert ended.code == code
    assert said in ended.err


@pytest.mark.parametrize("command", ["fit", "phantom"])
def test_a_seed_has_a_range(wholesight, heads, tmp_path, command):
    words = {"fit": ["fit", heads, "--out", tmp_path / "m"], "phantom": ["phantom", tmp_path / "p"]}
    assert wholesight(*words[command], "--seed", "99999999999999999999").code == 2


def spoken(*words: str) -> subprocess.CompletedProcess[str]:
    code = "from wholesight.cli.main import run; run()"
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )


def test_an_unknown_command_is_2_and_none_is_help():
    unknown = spoken("nosuch")
    assert unknown.returncode == 2
    assert "No such command" in unknown.stderr
    assert "Usage" in spoken().stdout
    assert spoken("--help").returncode == 0
