"""A segmenter of made-up lesions learns to find them, and sees left as it sees right."""

import pytest
import torch

from wholesight.methods.augmentation import Augmentation
from wholesight.methods.made_up import MadeUpLesions
from wholesight.methods.synthetic import SyntheticLesions
from wholesight.nn.unet import UNet
from wholesight.objective.losses import soft_dice, surprise_of


def method(**options) -> SyntheticLesions:
    torch.manual_seed(0)
    network = UNet(size=16, width=4, multiples=(1, 2))
    lesions = MadeUpLesions(radius=(0.1, 0.3), contrast=(0.5, 1.0), bright_share=1.0)
    return SyntheticLesions(
        network=network, lesions=lesions, augmentation=Augmentation(), **options
    ).eval()


def normal(slices: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    inside = torch.ones(slices, 1, 16, 16, dtype=torch.bool)
    return 0.3 + 0.05 * torch.rand(inside.shape, generator=generator), inside


def test_the_mirror_image_has_the_mirrored_map():
    slices, inside = normal(2)
    found = method().anomaly_map(slices, inside)
    torch.testing.assert_close(method().anomaly_map(slices.flip(3), inside), found.flip(3))
    plain = method(mirrored=False)
    one_sided = plain.anomaly_map(slices, inside)
    assert not torch.allclose(plain.anomaly_map(slices.flip(3), inside), one_sided.flip(3))


def test_it_learns_to_find_what_was_made_up():
    segmenter = method().train()
    optimiser = torch.optim.Adam(segmenter.parameters(), lr=1e-2)
    slices, inside = normal()
    for _ in range(60):
        optimiser.zero_grad()
        segmenter.loss(slices, inside, 0.0).total.backward()
        optimiser.step()
    odd, lesion = segmenter.lesions(*normal())
    found = segmenter.eval().anomaly_map(odd, inside)
    assert found[lesion > 0.9].median() > 0 > found[lesion == 0].quantile(0.9)


def test_cross_entropy_is_over_the_body_in_nats():
    logits, inside = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2, dtype=torch.bool)
    inside[..., 0] = False
    logits[..., 0] = 100.0
    found = surprise_of(logits, torch.zeros_like(logits), inside)
    assert found.item() == pytest.approx(0.6931472)
    assert surprise_of(logits, torch.zeros_like(logits), ~inside & inside).item() == 0


def test_soft_dice_of_half_a_lesion():
    lesion = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)
    half = torch.tensor([1.0, 0.0, 0.0, 0.0]).view(1, 1, 2, 2)
    assert soft_dice(half, lesion).item() == pytest.approx((2 * 1 + 1) / (1 + 2 + 1))
    assert soft_dice(lesion, lesion).item() == 1
