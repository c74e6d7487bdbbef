"""A scan that is none of the kind a model knows gets `qc: fail`, wherever a user would look."""

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from wholesight.detector import Detector
from wholesight.io import reading
from wholesight.volume import Volume


@pytest.fixture(scope="module")
def head(heads):
    """A test scan of the phantom: voxels and affine."""
    subject = sorted(json.loads((heads / "split.json").read_text())["test"])[0]
    image = reading.read_image(heads / subject / f"{subject}_flair.nii.gz")
    return image.voxels, image.affine


def inverted(voxels):
    return np.where(voxels > 0, voxels.max() + 1 - voxels, 0)


def with_skull(voxels):
    """A dark shell and a bright one around the brain, as skull and scalp are."""
    brain = voxels > 0
    plane = np.ones((3, 3, 1), bool)
    skull = binary_dilation(brain, plane, iterations=2)
    scalp = binary_dilation(skull, plane, iterations=3)
    return np.where(brain, voxels, np.where(skull, 20, np.where(scalp, 1.8 * voxels.max(), 0)))


def ct(voxels):
    """Soft tissue of nearly one value, and bone around it that is far brighter."""
    rng = np.random.default_rng(0)
    brain = voxels > 0
    bone = binary_dilation(brain, np.ones((3, 3, 1), bool), iterations=3) & ~brain
    return np.where(brain, 35 + rng.normal(0, 2, voxels.shape), np.where(bone, 1000, 0))


def knee(voxels):
    """Two bright bones in a long dark cylinder that fills all slices."""
    i, j, _ = np.indices(voxels.shape)
    ci, cj = voxels.shape[0] / 2, voxels.shape[1] / 2
    leg = np.hypot(i - ci, j - cj) < 0.3 * voxels.shape[0]
    bone = np.hypot(i - ci, j - cj + 3) < 0.17 * voxels.shape[0]
    noise = np.random.default_rng(0).normal(0, 5, voxels.shape)
    return np.where(bone, 900, np.where(leg, 250, 0)) + noise * leg


ODD = {"inverted": inverted, "with-skull": with_skull, "ct": ct, "knee": knee}


@pytest.fixture(scope="module")
def seen(heads, model, head, tmp_path_factory):
    """What `segment` says of every odd scan, and of the head as it is."""
    import sys

    from wholesight.cli.main import run

    folder = tmp_path_factory.mktemp("odd")
    (folder / "in").mkdir()
    voxels, affine = head
    for name, change in {"as-it-is": np.array, **ODD}.items():
        image = nib.Nifti1Image(change(voxels).astype(np.float32), affine)
        nib.save(image, folder / "in" / f"{name}.nii.gz")
    with pytest.MonkeyPatch.context() as patch:
        words = ["wholesight", "segment", str(model), str(folder / "in"), "--out"]
        patch.setattr(sys, "argv", [*words, str(folder / "out")])
        with pytest.raises(SystemExit) as stop:
            run()
    assert not stop.value.code
    return folder / "out"


@pytest.mark.parametrize("name", ODD)
def test_a_scan_of_another_kind_fails(seen, name):
    told = json.loads((seen / f"{name}.json").read_text())
    assert told["qc"] == "fail", told["likeness"]
    (note,) = (note for note in told["notes"] if note["code"] == "N_UNLIKE")
    assert told["likeness"]["oddest"] in note["text"]
    assert told["likeness"]["p_value"] == pytest.approx(1 / 3, abs=1e-3)


def test_a_head_of_the_same_kind_passes(seen, heads, model, wholesight, tmp_path):
    assert json.loads((seen / "as-it-is.json").read_text())["qc"] == "pass"
    ended = wholesight("segment", model, heads, "--subset", "test", "--out", tmp_path / "out")
    assert ended.code == 0
    assert "N_UNLIKE" not in ended.out


def test_the_table_says_it_too(seen):
    with (seen / "results.tsv").open() as file:
        told = {row["case"]: row["qc"] for row in csv.DictReader(file, delimiter="\t")}
    assert told == {"as-it-is": "pass", **dict.fromkeys(ODD, "fail")}


def test_evaluate_marks_it_in_red_beside_the_figures(heads, model, wholesight, tmp_path):
    data = tmp_path / "data"
    first, second = sorted(json.loads((heads / "split.json").read_text())["test"])[:2]
    for subject in (first, second):
        shutil.copytree(heads / subject, data / subject)
    (data / "split.json").write_text(json.dumps({"test": [first, second]}))
    changed = data / first / f"{first}_flair.nii.gz"
    image = reading.read_image(changed)
    nib.save(nib.Nifti1Image(inverted(image.voxels), image.affine), changed)
    wholesight("segment", model, data, "--out", tmp_path / "maps")
    ended = wholesight("evaluate", tmp_path / "maps", data, "--out", tmp_path / "report")
    assert ended.code == 0, ended.err
    assert f"qc: fail for {first}, unlike the scans" in " ".join(ended.out.split())
    page = (tmp_path / "report" / "report.html").read_text()
    rows = page[page.index("AUPRC under every method") :].split("</tr>")
    (marked,) = (row for row in rows if '<small class="worse">qc: fail</small>' in row)
    assert first in marked
    assert second not in marked


def test_a_model_that_describes_other_figures_says_that_it_does_not_know(model, head, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    voxels, affine = head
    record = json.loads((copy / "record.json").read_text())
    kinds = record["typical"]["kinds"]
    for told, verdict in ((kinds, "pass"), (["other", *kinds[1:]], "unknown")):
        record["typical"]["kinds"] = told
        (copy / "record.json").write_text(json.dumps(record))
        found = Detector.load(copy).segment(Volume(voxels, affine, "x.nii.gz"))
        assert found.likeness.verdict == verdict


def test_calibrate_names_a_subject_that_is_unlike_the_training(heads, model, wholesight, tmp_path):
    data, copy = tmp_path / "data", tmp_path / "model"
    shutil.copytree(model, copy)
    shutil.copytree(heads, data)
    split = json.loads((data / "split.json").read_text())
    # Of up to five none can be told to be the odd one: the largest distance is held to be usual.
    sources = [*split["calibration"], *split["calibration"], *split["calibration"]]
    names = [f"again-{number}" for number in range(len(sources))]
    for number, (name, source) in enumerate(zip(names, sources, strict=True)):
        folder = data / name
        folder.mkdir()
        image = reading.read_image(data / source / f"{source}_flair.nii.gz")
        voxels = (
            with_skull(image.voxels) if not number else image.voxels + (image.voxels > 0) * number
        )
        nib.save(
            nib.Nifti1Image(voxels.astype(np.float32), image.affine),
            folder / f"{name}_flair.nii.gz",
        )
    split["calibration"] = names
    (data / "split.json").write_text(json.dumps(split))
    ended = wholesight("calibrate", copy, data, "--rule", "percentile", "--no-cost")
    assert ended.code == 0, ended.err
    assert f"unlike the training: {names[0]}: other" in ended.out, ended.out
    told = json.loads((copy / "calibration.json").read_text())["groups"]["all"]
    assert told["unlike_training"] == names[:1]
