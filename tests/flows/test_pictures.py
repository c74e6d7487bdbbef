"""Pictures the whole way: check, fit, calibrate, segment, evaluate, on made-up cloth with flaws."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from wholesight.cli.main import run
from wholesight.io import reading

# A third of the recipe's training.
SHORT = ("--set", "training.epochs=20")


@pytest.fixture(scope="module")
def woven(write_cloth, tmp_path_factory):
    """A set of 30 good pictures to learn from, and 23 to judge on."""
    return write_cloth(tmp_path_factory.mktemp("cloth") / "cloth")


@pytest.fixture(scope="module")
def weaver(woven, tmp_path_factory):
    """A calibrated model of the recipe `picture`. Tests do not write into it."""
    folder = tmp_path_factory.mktemp("model") / "model"
    calibrate = ["calibrate", folder, woven, "--rule", "percentile", "--alpha", "0.01", "--no-cost"]
    with pytest.MonkeyPatch.context() as patch:
        for command in (
            ["fit", woven, "--recipe", "picture", *SHORT, "--out", folder],
            calibrate,
        ):
            patch.setattr(sys, "argv", ["wholesight", *map(str, command)])
            with pytest.raises(SystemExit) as stop:
                run()
            assert not stop.value.code
    return folder


@pytest.fixture(scope="module")
def maps(woven, weaver, tmp_path_factory):
    """What `segment` writes for the pictures of test."""
    folder = tmp_path_factory.mktemp("maps") / "maps"
    with pytest.MonkeyPatch.context() as patch:
        command = ["segment", weaver, woven, "--subset", "test", "--out", folder]
        patch.setattr(sys, "argv", ["wholesight", *map(str, command)])
        with pytest.raises(SystemExit) as stop:
            run()
        assert not stop.value.code
    return folder


def test_check_counts_what_is_known_to_be_normal(wholesight, woven):
    ended = wholesight("check", woven, "--json", woven.parent / "check.json")
    assert ended.code == 0
    report = json.loads((woven.parent / "check.json").read_text())
    assert report["layout"] == "mvtec"
    splits = report["splits"]
    assert (splits["train"]["cases"], splits["calibration"]["cases"]) == (24, 6)
    assert (splits["test"]["normal_slices"], splits["test"]["slices"]) == (8, 23)
    assert not any(part["unmarked_slices"] for part in splits.values())


@pytest.mark.slow
def test_flaws_are_found_which_intensity_does_not_find(wholesight, woven, maps, tmp_path):
    ended = wholesight("evaluate", maps, woven, "--subset", "test", "--out", tmp_path / "report")
    assert ended.code == 0
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    theirs, floor = (metrics["deployable"][name]["set"] for name in ("picture", "intensity floor"))
    assert theirs["auroc"] > 0.9
    assert theirs["average_precision"] > floor["average_precision"] + 0.3
    assert floor["auroc"] < 0.7
    assert theirs["lesion_sensitivity"] > 0.7
    assert (metrics["counts"]["cases"], metrics["counts"]["cases_without_lesion"]) == (23, 8)
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.slow
def test_what_is_written_lies_on_the_pictures_own_pixels(woven, maps):
    records = sorted(path for path in maps.glob("*.json") if path.stem != "run")
    assert len(records) == 23
    for path in records:
        record = json.loads(path.read_text())
        assert set(record["outputs"]) == {f"{path.stem}_anomaly.tif", f"{path.stem}_mask.png"}
        assert "N_NO_SPACING" in {note["code"] for note in record["notes"]}
        anomaly = reading.read(maps / f"{path.stem}_anomaly.tif")
        mask = reading.read_mask(maps / f"{path.stem}_mask.png")
        assert anomaly.shape == mask.shape == (96, 96, 1)
        above = anomaly.voxels > record["threshold"]["value"]
        np.testing.assert_array_equal(mask.voxels, above)


@pytest.mark.slow
def test_a_picture_that_is_displayed_turned_is_marked_as_it_is_displayed(
    wholesight, woven, weaver, tmp_path
):
    """Wide pictures too: 96 x 60 pixels as displayed, 60 x 96 as stored."""
    shown = np.asarray(Image.open(woven / "test" / "stain" / "000.png"))[:60]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(shown).save(tmp_path / "upright.png")
    Image.fromarray(shown.T[::-1]).save(tmp_path / "turned.png", exif=exif)
    ended = wholesight(
        "segment",
        weaver,
        tmp_path / "upright.png",
        tmp_path / "turned.png",
        "--out",
        tmp_path / "o",
    )
    assert ended.code == 0
    upright, turned = (
        np.asarray(Image.open(tmp_path / "o" / f"{name}_anomaly.tif"))
        for name in ("upright", "turned")
    )
    assert upright.shape == (60, 96)
    np.testing.assert_array_equal(upright, turned)
    notes = json.loads((tmp_path / "o" / "turned.json").read_text())["notes"]
    assert "N_ROTATED" in {note["code"] for note in notes}


@pytest.mark.slow
def test_another_threshold_on_maps_of_pictures(wholesight, maps, tmp_path):
    ended = wholesight(
        "threshold", maps, "--rule", "percentile", "--alpha", "0.2", "--out", tmp_path / "o"
    )
    assert ended.code == 0
    for path in maps.glob("*_mask.png"):
        before = np.asarray(Image.open(path))
        after = np.asarray(Image.open(tmp_path / "o" / path.name))
        assert set(np.unique(after)) <= {0, 255}
        assert (after >= before).all()
        assert (after > before).any()


@pytest.mark.slow
def test_a_flaw_of_the_colour_alone_is_found_by_a_recipe_with_colours(
    wholesight, write_cloth, tmp_path
):
    root = write_cloth(tmp_path / "cloth", flaws=("dye",), colour=True)
    colours = ("--set", "channels=[red, green, blue]")
    model, maps, report = (tmp_path / name for name in ("model", "maps", "report"))
    for command in (
        ("fit", root, "--recipe", "picture", *colours, "--out", model),
        ("calibrate", model, root, "--rule", "percentile", "--alpha", "0.01"),
        ("segment", model, root, "--subset", "test", "--out", maps),
        ("evaluate", maps, root, "--out", report),
    ):
        assert wholesight(*command).code == 0
    found = json.loads((report / "metrics.json").read_text())["deployable"]
    assert found["picture"]["set"]["auroc"] > 0.9
    assert found["intensity floor"]["set"]["auroc"] < 0.7
    grey = tmp_path / "grey.png"
    Image.open(root / "test" / "dye" / "000.png").convert("L").save(grey)
    ended = wholesight("segment", model, grey, "--out", tmp_path / "o")
    assert ended.code == 7
    assert "E_MISSING_MODALITY" in (tmp_path / "o" / "failures.tsv").read_text()


def test_pictures_beside_volumes_are_previews(heads, model, wholesight, tmp_path):
    scan = next(heads.glob("*/*_flair.nii.gz"))
    shutil.copy(scan, tmp_path / scan.name)
    Image.new("L", (9, 9), 7).save(tmp_path / "preview.png")
    ended = wholesight("segment", model, tmp_path, "--out", tmp_path / "o")
    assert ended.code == 0
    assert not (tmp_path / "o" / "preview_mask.png").exists()
