"""Names and disks as they come: odd paths, what cannot be read, what cannot be written."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest

NAMES = ["with spaces", "größe", "头部扫描", "-dash", "a" * 180, "per%cent #1 [x]", "qu'o\"te"]


@pytest.fixture
def scan(heads):
    subject = sorted(json.loads((heads / "split.json").read_text())["test"])[0]
    return heads / subject / f"{subject}_flair.nii.gz"


@pytest.mark.parametrize("name", NAMES)
def test_a_path_of_any_name_goes_in_and_comes_out(wholesight, model, scan, tmp_path, name):
    folder, out = tmp_path / name, tmp_path / f"out {name}"
    folder.mkdir()
    shutil.copy(scan, folder / f"{name}.nii.gz")
    ended = wholesight("segment", model, folder / f"{name}.nii.gz", "--out", out)
    assert ended.code == 0, ended.err
    assert {path.name for path in out.iterdir()} >= {
        f"{name}_anomaly.nii.gz",
        f"{name}_mask.nii.gz",
        f"{name}.json",
    }
    assert wholesight("info", folder / f"{name}.nii.gz").code == 0


def test_a_name_that_begins_with_a_dash_after_two_of_them(
    wholesight, model, scan, tmp_path, monkeypatch
):
    shutil.copy(scan, tmp_path / "-x.nii.gz")
    monkeypatch.chdir(tmp_path)
    assert wholesight("segment", "--out", "out", model, "--", "-x.nii.gz").code == 0
    assert (tmp_path / "out" / "-x_mask.nii.gz").is_file()
    ended = wholesight("segment", "--out", "out2", model, "-x.nii.gz")
    assert ended.code == 2


def test_a_linked_scan_is_read_through_its_link(wholesight, model, scan, tmp_path):
    (tmp_path / "a.nii.gz").symlink_to(scan)
    (tmp_path / "b.nii.gz").symlink_to("a.nii.gz")
    assert wholesight("segment", model, tmp_path / "b.nii.gz", "--out", tmp_path / "o").code == 0
    assert (tmp_path / "o" / "b_mask.nii.gz").is_file()


def test_inputs_are_only_read(wholesight, model, scan, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    shutil.copy(scan, source / "x.nii.gz")
    before = (source / "x.nii.gz").read_bytes()
    for path in (source / "x.nii.gz", source):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert wholesight("segment", model, source, "--out", tmp_path / "out").code == 0
        assert [path.name for path in source.iterdir()] == ["x.nii.gz"]
        assert (source / "x.nii.gz").read_bytes() == before
    finally:
        source.chmod(0o755)


def test_a_missing_output_folder_is_made(wholesight, model, scan, tmp_path):
    out = tmp_path / "a" / "b" / "c"
    assert wholesight("segment", model, scan, "--out", out).code == 0
    assert (out / "results.tsv").is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_folder_is_exit_5(wholesight, model, scan, tmp_path):
    (tmp_path / "out").mkdir(mode=0o555)
    ended = wholesight("segment", model, scan, "--out", tmp_path / "out")
    assert ended.code == 5
    assert "cannot be written" in ended.err


def test_an_output_folder_that_is_a_file_is_exit_5(wholesight, model, scan, tmp_path):
    (tmp_path / "out").write_text("mine")
    ended = wholesight("segment", model, scan, "--out", tmp_path / "out")
    assert ended.code == 5
    assert (tmp_path / "out").read_text() == "mine"
    assert wholesight("segment", model, scan, "--out", tmp_path / "out" / "deeper").code == 5


@pytest.mark.slow
@pytest.mark.parametrize("most_bytes", [0, 2000, 20000])
def test_a_full_disk_is_exit_5_and_nothing_half_written_stays(model, scan, tmp_path, most_bytes):
    """A file that may not grow is how a full disk looks to whoever writes it."""

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    out = tmp_path / "out"
    words = [sys.executable, "-m", "wholesight", "segment", model, scan, "--out", out]
    ended = subprocess.run(
        list(map(str, words)),
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=small_disk,
        timeout=120,
    )
    assert ended.returncode == 5, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "disk" in ended.stderr
    left = [path.name for path in out.rglob("*")] if out.exists() else []
    assert not [name for name in left if name.endswith(".tmp")]
    # What is there is whole; without its JSON the case does not count as done.
    assert f"{scan.name.removesuffix('.nii.gz')}.json" not in left
