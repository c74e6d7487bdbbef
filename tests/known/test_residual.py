"""Residuals by hand, and what smoothing and structural similarity promise."""

import pytest
import torch

from wholesight.methods.residual import Residual, smoothed_inside


def pair(size: int = 24) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    slices = torch.rand(2, 1, size, size, generator=generator)
    reconstruction = torch.rand(2, 1, size, size, generator=generator)
    return slices, reconstruction, torch.ones_like(slices, dtype=torch.bool)


@pytest.mark.parametrize(
    ("kind", "brighter", "darker"), [("l1", 0.5, 0.25), ("l2", 0.25, 0.0625), ("excess", 0.5, 0.0)]
)
def test_residual_by_hand(kind, brighter, darker):
    slices = torch.tensor([0.75, 0.25, 0.75]).view(1, 1, 1, 3)
    reconstruction = torch.tensor([0.25, 0.5, 0.0]).view(1, 1, 1, 3)
    inside = torch.tensor([True, True, False]).view(1, 1, 1, 3)
    found = Residual(kind=kind)(slices, reconstruction, inside)
    assert found.flatten().tolist() == [brighter, darker, 0.0]


def test_channels_are_averaged():
    slices = torch.tensor([0.5, 0.25]).view(1, 2, 1, 1)
    inside = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    assert Residual()(slices, torch.zeros(1, 2, 1, 1), inside).item() == 0.375


def test_similarity_of_a_slice_with_itself_is_whole():
    slices, _, inside = pair()
    assert (Residual(kind="ssim")(slices, slices, inside) == 0).all()


def test_dissimilarity_is_a_share_and_sees_an_inverted_slice():
    slices, reconstruction, inside = pair()
    found = Residual(kind="ssim")(slices, reconstruction, inside)
    assert 0 <= found.min() < found.max() <= 1
    # A negative has the opposite structure: similarity below 0, dissimilarity above a half.
    assert Residual(kind="ssim")(slices, 1 - slices, inside).mean() > 0.6


def test_similarity_of_flat_slices_by_its_formula():
    """Without structure SSIM is (2 a b + c) / (a^2 + b^2 + c), c = 0.01^2 (Wang et al. 2004)."""
    inside = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    dark, bright = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.6)
    similarity = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    found = Residual(kind="ssim")(dark, bright, inside)
    torch.testing.assert_close(found, torch.full_like(found, (1 - similarity) / 2))


def test_smoothing_does_not_leak_over_the_rim():
    """What lies outside has no part in the map, and an even map stays even up to the rim."""
    inside = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    inside[..., 4:12, 3:13] = True
    even = torch.where(inside, 0.5, 7.0)
    found = smoothed_inside(even, inside, 2.0)
    torch.testing.assert_close(found, 0.5 * inside)


def test_smoothing_spreads_a_point_and_keeps_slices_apart():
    point = torch.zeros(2, 1, 33, 33)
    point[0, 0, 16, 16] = 1.0
    found = smoothed_inside(point, torch.ones_like(point, dtype=torch.bool), 2.0)
    # The height of a two-dimensional Gaussian.
    assert found[0, 0, 16, 16].item() == pytest.approx(1 / (2 * torch.pi * 4), rel=0.01)
    assert (found[1] == 0).all()


def test_the_median_takes_what_lies_outside_the_body_as_0():
    """Of an even residual, a corner of the body has 4 of 9 pixels around it, an edge has 6."""
    inside = torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    inside[..., :5, 3:9] = True
    slices = torch.full((1, 1, 12, 12), 0.5)
    found = Residual(median_px=3)(slices, torch.zeros_like(slices), inside)
    expected = 0.5 * inside
    for row, column in ((0, 3), (0, 8), (4, 3), (4, 8)):
        expected[..., row, column] = 0
    assert torch.equal(found, expected)


def test_a_negative_sigma_is_refused():
    with pytest.raises(ValueError, match=r"sigma_px is -1.0, legal is 0 or more"):
        Residual(sigma_px=-1.0)
