"""Every shipped recipe, the whole way: train a few steps, map, save, load, the same map."""

import numpy as np
import pytest

from wholesight.calibration import Terms
from wholesight.datasets import open_dataset
from wholesight.datasets.scans import Scans
from wholesight.detector import Detector
from wholesight.recipe import Recipe
from wholesight.recipe_file import shipped
from wholesight.training.fit import fit


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped())
def test_every_recipe_goes_from_the_phantom_to_a_map_and_back_from_disk(
    name, small_recipe, heads, tmp_path
):
    data = open_dataset(heads)
    recipe = small_recipe(name)
    detector = fit(recipe, Scans(data.subset("train")), tmp_path / "model", device="cpu")
    normals = data.subset("calibration")
    scans = zip((case.subject for case in normals), Scans(normals), strict=True)
    detector = detector.calibrate(scans, Terms(rule="percentile"))
    detector.save_calibration(tmp_path / "model")

    scan = next(iter(Scans(data.subset("test"))))
    found = detector.segment(scan.image)
    again = Detector.load(tmp_path / "model").segment(scan.image)
    assert np.isfinite(found.map.voxels).all()
    assert np.ptp(found.map.voxels[found.body.voxels]) > 0
    assert not found.map.voxels[~found.body.voxels].any()
    np.testing.assert_array_equal(found.map.voxels, again.map.voxels)
    np.testing.assert_array_equal(found.mask.voxels, again.mask.voxels)
    assert found.score == again.score
    assert Recipe.from_dict(detector.recipe.resolved).resolved == recipe.resolved
