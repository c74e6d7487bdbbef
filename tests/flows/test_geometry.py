"""A lesion is where it is, however a scan lies in its file; and the file's geometry comes back.

48 orientations of a head that is straight, turned by 15 degrees, sheared, or of thick slices.
"""

import itertools
import json

import nibabel as nib
import numpy as np
import pytest

from wholesight.calibration import Threshold
from wholesight.cohort.plan import Job
from wholesight.cohort.worker import segment_case
from wholesight.datasets import Case
from wholesight.detector import Detector
from wholesight.io import nifti
from wholesight.recipe import Recipe
from wholesight.volume import Volume

# What a header says of where the voxels lie.
GEOMETRY = ["dim_info", "pixdim", "xyzt_units", "qform_code", "sform_code", "toffset"]
GEOMETRY += [f"quatern_{x}" for x in "bcd"] + [f"qoffset_{x}" for x in "xyz"]
GEOMETRY += [f"srow_{x}" for x in "xyz"]
TURNS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product([1, -1], repeat=3)
]
HEAD_MM, LESION_AT, LESION_MM = (62.0, 78.0, 58.0), (22.0, -30.0, 16.0), 14.0


def about(axis: int, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = np.eye(3)
    one, other = (n for n in range(3) if n != axis)
    turned[[one, one, other, other], [one, other, one, other]] = c, -s, s, c
    return turned


KINDS = {
    "straight": (np.eye(3), (3.0, 3.5, 4.0)),
    "oblique": (about(0, 15) @ about(2, 15), (3.0, 3.5, 4.0)),
    "sheared": (np.array([[1, 0.2, 0], [0, 1, -0.1], [0, 0, 1]]), (3.0, 3.5, 4.0)),
    "thick": (np.eye(3), (1.0, 1.0, 6.0)),
}


@pytest.fixture(scope="module")
def bright() -> Detector:
    """Its map is the scan's own intensity, by way of slices of 64 pixels."""
    changes = ["prep.slices.size=64", "prep.slices.field=body", "prep.slices.margin_mm=4.0"]
    recipe = Recipe.load("floor", [*changes, "method.sigma_px=0.0"])
    threshold = Threshold(
        value=2.0,
        min_lesion_mm3=0.0,
        rule="fixed",
        alpha=None,
        confidence=None,
        share=None,
        subjects=1,
        scans=1,
        slices=1,
        voxels=1,
        finest=0.5,
        guarantee="none",
        statement="",
    )
    return Detector(recipe=recipe, threshold=threshold)


def affine_of(kind: str, order: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    """Lay the file's axes along the head's in this order and direction; the head's centre at 0."""
    frame, spacing_mm = KINDS[kind]
    affine = np.eye(4)
    affine[:3, :3] = (frame * spacing_mm)[:, order] * signs
    shape = shape_of(kind, order)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def shape_of(kind: str, order: tuple[int, ...]) -> tuple[int, int, int]:
    spacing_mm = KINDS[kind][1]
    shape = [int(2 * mm / each) + 14 for mm, each in zip(HEAD_MM, spacing_mm, strict=True)]
    return tuple(shape[n] for n in order)


def painted(affine: np.ndarray, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A head in the world as a file sees it, and its lesion."""
    index = np.indices(shape).reshape(3, -1)
    x, y, z = (affine[:3, :3] @ index + affine[:3, 3:]).reshape(3, *shape)
    head = sum((axis / mm) ** 2 for axis, mm in zip((x, y, z), HEAD_MM, strict=True)) < 1
    far = sum((axis - at) ** 2 for axis, at in zip((x, y, z), LESION_AT, strict=True))
    # A texture, so that the mode is one, and nothing is the same left and right.
    tissue = 100 + 8 * np.sin(x / 9) + 6 * np.sin(y / 7 + 1)
    lesion = far < LESION_MM**2
    return np.where(head, np.where(lesion, 300, tissue), 0).astype(np.int16), lesion


def centre_mm(marked: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return affine[:3, :3] @ np.argwhere(marked).mean(axis=0) + affine[:3, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_a_lesion_stays_where_it_is_in_every_orientation(bright, kind, tmp_path):
    for number, (order, signs) in enumerate(TURNS):
        affine, shape = affine_of(kind, order, signs), shape_of(kind, order)
        voxels, lesion = painted(affine, shape)
        image = nib.Nifti1Image(voxels, affine)
        # Forms, codes and units that a writer might not think of.
        image.set_qform(affine, code=[0, 1, 2][number % 3], strip_shears=True)
        image.set_sform(affine, code=[1, 2, 4][number % 3])
        image.header.set_xyzt_units("mm", "sec")
        image.header["toffset"], image.header["dim_info"] = 1.5, 57
        source = tmp_path / f"{number}.nii.gz"
        nib.save(image, source)

        segment_case(bright, Job(Case(str(number), str(number), source), str(number)), tmp_path)

        mask = nifti.read(tmp_path / f"{number}_mask.nii.gz")
        apart = centre_mm(mask.voxels > 0, mask.affine) - centre_mm(lesion, affine)
        in_voxels = np.linalg.solve(affine[:3, :3], apart)
        assert np.abs(in_voxels).max() < 0.5, (order, signs)
        overlap = 2 * (lesion & (mask.voxels > 0)).sum() / (lesion.sum() + (mask.voxels > 0).sum())
        assert overlap > 0.8, (order, signs)
        before = nib.load(source).header
        for role in ("anomaly", "mask"):
            after = nib.load(tmp_path / f"{number}_{role}.nii.gz").header
            assert after.get_data_shape() == shape
            for name in GEOMETRY:
                assert before[name].tobytes() == after[name].tobytes(), (name, order, signs)
        said = json.loads((tmp_path / f"{number}.json").read_text())["highest_at_mm"]
        assert np.linalg.norm(np.array(said) - LESION_AT) < LESION_MM + 8


def test_a_lesion_elsewhere_would_be_noticed(bright, tmp_path):
    """The test above can fail: of a file whose affine lies, the lesion is not where it was."""
    order, signs = TURNS[0]
    affine, shape = affine_of("straight", order, signs), shape_of("straight", order)
    voxels, lesion = painted(affine, shape)
    nib.save(nib.Nifti1Image(voxels[::-1], affine), tmp_path / "x.nii.gz")
    segment_case(bright, Job(Case("x", "x", tmp_path / "x.nii.gz"), "x"), tmp_path)
    mask = nifti.read(tmp_path / "x_mask.nii.gz")
    apart = centre_mm(mask.voxels > 0, mask.affine) - centre_mm(lesion, affine)
    assert np.abs(np.linalg.solve(affine[:3, :3], apart)).max() > 5


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_mirrored_head_has_the_mirrored_map_where_the_recipe_says_so(mirrored):
    recipe = Recipe.load("standard", ["size=32", f"method.mirrored={str(mirrored).lower()}"])
    recipe.method.eval()
    detector = Detector(recipe=recipe)
    affine, shape = np.diag([4.0, 4.0, 8.0, 1.0]), (40, 44, 10)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    voxels, _ = painted(affine, shape)
    one = detector.map(Volume(voxels.astype(np.float32), affine)).voxels
    other = detector.map(Volume(voxels[::-1].astype(np.float32), affine)).voxels[::-1]
    assert np.ptp(one) > 0
    assert np.allclose(one, other, atol=1e-4 * np.ptp(one)) == mirrored
