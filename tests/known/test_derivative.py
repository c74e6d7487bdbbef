"""What the sidecars of a BIDS derivative say of maps and masks."""

import json
from pathlib import Path

import pytest

from wholesight.cohort.derivative import describe, describe_again, map_sidecar, mask_sidecar
from wholesight.datasets import Case


def case_of(root: Path, name: str, told: object = None, inside: str | None = None) -> Case:
    """A case by its names alone; told is what the sidecar of the scan says."""
    anat = root / "sub-1" / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    if told is not None:
        (anat / f"{name}.json").write_text(json.dumps(told))
    body = anat / f"{inside}.nii.gz" if inside else None
    return Case(name, "1", anat / f"{name}.nii.gz", inside=body)


def test_a_scan_as_it_was_acquired(tmp_path):
    case = case_of(tmp_path, "sub-1_T1w", inside="sub-1_desc-brain_mask")
    sources = [f"bids:scans:sub-1/anat/{name}.nii.gz" for name in
               ("sub-1_T1w", "sub-1_desc-brain_mask")]  # fmt: skip
    out = tmp_path / "derivatives" / "x"
    said = map_sidecar(case, tmp_path, out, unit=False)
    assert (said["SkullStripped"], said["SpatialReference"], said["Sources"]) == (
        False, "orig", sources,
    )  # fmt: skip
    assert "SkullStripped" not in map_sidecar(case, tmp_path, out, unit=True)
    mask = mask_sidecar(case, tmp_path, out)
    assert (mask["Type"], mask["SpatialReference"], mask["Sources"]) == ("ROI", "orig", sources)


def test_a_prepared_scan_brings_what_its_sidecar_says(tmp_path):
    told = {"SkullStripped": True, "SpatialReference": "https://templateflow.org/x"}
    case = case_of(tmp_path, "sub-1_space-x_desc-preproc_T1w", told)
    said = map_sidecar(case, tmp_path, tmp_path / "o", unit=False)
    assert said["SkullStripped"] is True
    assert said["SpatialReference"] == told["SpatialReference"]


@pytest.mark.parametrize("told", [None, [], "text", {"SkullStripped": "yes"}])
def test_a_sidecar_that_says_nothing(tmp_path, told):
    case = case_of(tmp_path, "sub-1_space-x_T1w", told)
    said = map_sidecar(case, tmp_path, tmp_path / "o", unit=False)
    assert said["SkullStripped"] is False
    assert "SpatialReference" not in said


RUN = {"recipe": "quick", "model": "abc"}


@pytest.mark.parametrize(
    ("out", "link"),
    [("data/derivatives/x", "../.."), ("x", "../data"), ("x/y", "../../data"), ("../x", None)],
)
def test_scans_are_pointed_at_from_near_alone(tmp_path, out, link):
    data, out = tmp_path / "inner" / "data", tmp_path / "inner" / out
    case = case_of(data, "sub-1_T1w")
    out.mkdir(parents=True)
    describe(out, RUN, source=data)
    written = json.loads((out / "dataset_description.json").read_text())
    assert written.get("DatasetLinks") == (link and {"scans": link})
    assert (
        ("SourceDatasets" in written) == ("Sources" in mask_sidecar(case, data, out)) == bool(link)
    )
    assert written["Name"] == "Anomaly maps of data"


def test_results_of_results_point_at_the_same_scans(tmp_path):
    data, maps, new = (tmp_path / name for name in ("data", "maps", "a/b"))
    for folder in (data, maps, new):
        folder.mkdir(parents=True)
    (data / "dataset_description.json").write_text('{"Name": "Heads"}')
    describe(maps, RUN, source=data)
    assert describe_again(new, maps)
    first, second = (json.loads((f / "dataset_description.json").read_text()) for f in (maps, new))
    assert second.pop("DatasetLinks") == {"scans": "../../data"}
    assert first.pop("DatasetLinks") == {"scans": "../data"}
    assert first == second
    assert first["Name"] == "Anomaly maps of Heads"
