"""Views of slices: what is asked for, and nothing else."""

import pytest
import torch

from wholesight.methods.augmentation import Augmentation
from wholesight.methods.made_up import body_mean

SAME = {
    "mirrored_share": 0.0,
    "turned_degrees": 0.0,
    "shifted": 0.0,
    "scale": (1.0, 1.0),
    "gain": (1.0, 1.0),
    "gamma": (1.0, 1.0),
}


def head(slices: int = 8, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inside = torch.zeros(slices, 1, size, size, dtype=torch.bool)
    inside[..., 6:22, 10:25] = True
    return (0.2 + 0.2 * torch.rand(inside.shape, generator=generator)) * inside, inside


def view(**options):
    torch.manual_seed(0)
    return Augmentation(**{**SAME, **options})(*head())


def test_without_any_change_it_is_the_slice():
    slices, inside = head()
    found = view()
    torch.testing.assert_close(found.slices, slices)
    assert torch.equal(found.inside, inside)


def test_mirrored_is_left_to_right():
    slices, inside = head()
    found = view(mirrored_share=1.0)
    torch.testing.assert_close(found.slices, slices.flip(3))
    assert torch.equal(found.inside, inside.flip(3))


def test_enlarged_twice_the_body_is_four_times_as_large():
    slices = torch.zeros(1, 1, 64, 64)
    inside = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    inside[..., 24:40, 24:40] = True
    found = Augmentation(**{**SAME, "scale": (2.0, 2.0)})(slices, inside)
    assert found.inside.sum().item() == pytest.approx(4 * 16**2, rel=0.02)


def test_a_turn_keeps_the_size():
    _, inside = head()
    turned = view(turned_degrees=40.0).inside
    assert not torch.equal(turned, inside)
    size = turned.sum(dim=(1, 2, 3)).float()
    torch.testing.assert_close(size, torch.full_like(size, 16.0 * 15), rtol=0.05, atol=0)


def test_a_shift_is_within_what_is_asked_for():
    rows = [body[0].any(dim=1).nonzero()[0].item() for body in view(shifted=0.1).inside]
    assert all(abs(row - 6) <= 4 for row in rows)
    assert len(set(rows)) > 1


def test_gain_and_gamma_are_about_the_mean_of_the_body():
    slices, inside = head()
    mean = body_mean(slices, inside)
    brighter = view(gain=(1.2, 1.2)).slices
    torch.testing.assert_close(brighter, 1.2 * slices)
    steeper = view(gamma=(2.0, 2.0)).slices
    torch.testing.assert_close(steeper, slices**2 / mean)


@pytest.mark.parametrize(
    "option",
    [
        {"mirrored_share": 2.0},
        {"turned_degrees": -1.0},
        {"shifted": -0.1},
        {"scale": (0.0, 1.0)},
        {"gain": (1.0,)},
        {"gamma": (2.0, 1.0)},
    ],
)
def test_what_is_not_legal_is_named(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} is .*legal"):
        Augmentation(**option)
