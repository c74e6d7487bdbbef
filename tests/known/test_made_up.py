"""Lesions made up in normal slices are where, as large and as odd as they are said to be."""

import math

import pytest
import torch

from wholesight.methods.made_up import MadeUpLesions, body_mean

ALWAYS = {"most": 1, "normal_share": 0.0}
PLAIN = {**ALWAYS, "dents": 0.0, "texture": 0.0, "fading": 0.0, "core_share": 0.0}


def flat(slices: int = 64, size: int = 96, grey: float = 0.4) -> tuple[torch.Tensor, torch.Tensor]:
    """Slices of one grey in the middle three quarters, nothing around."""
    inside = torch.zeros(slices, 1, size, size, dtype=torch.bool)
    inside[..., size // 8 : -size // 8, size // 8 : -size // 8] = True
    return grey * inside.float(), inside


def drawn(slices: torch.Tensor, inside: torch.Tensor, seed: int = 0, **options):
    torch.manual_seed(seed)
    return MadeUpLesions(**options)(slices, inside)


def test_what_is_no_lesion_is_as_it_was():
    torch.manual_seed(1)
    _, inside = flat()
    slices = torch.rand(inside.shape) * inside
    found = drawn(slices, inside)
    untouched = found.lesion == 0
    assert torch.equal(found.slices[untouched], slices[untouched])
    assert not found.lesion[~inside].any()
    assert found.lesion.max() == 1
    assert found.slices.min() >= 0
    assert found.slices.max() <= 1


def test_as_many_slices_stay_normal_as_are_asked_for():
    found = drawn(*flat(2000, 16), normal_share=0.25, radius=(0.1, 0.3))
    normal = (found.lesion.amax(dim=(1, 2, 3)) == 0).float().mean().item()
    assert normal == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 2000))


@pytest.mark.parametrize(("bright_share", "grey"), [(1.0, 0.6), (0.0, 0.2)])
def test_the_contrast_is_in_shares_of_the_mean_of_the_body(bright_share, grey):
    options = {**PLAIN, "contrast": (0.5, 0.5), "bright_share": bright_share}
    found = drawn(*flat(), **options)
    core = found.slices[found.lesion == 1]
    torch.testing.assert_close(core, torch.full_like(core, grey))


def test_bright_lesions_come_as_often_as_is_asked_for():
    slices, inside = flat(2000, 16)
    found = drawn(slices, inside, **PLAIN, bright_share=0.85, radius=(0.2, 0.3))
    mean = (found.slices - slices).sum(dim=(1, 2, 3))
    bright = (mean[mean != 0] > 0).float().mean().item()
    assert bright == pytest.approx(0.85, abs=4 * math.sqrt(0.85 * 0.15 / 2000))


def test_the_area_is_that_of_the_radius():
    """Half of a soft edge lies in and half beyond; stretching keeps the area of an ellipse."""
    slices = torch.full((200, 1, 128, 128), 0.5)
    options = {**PLAIN, "radius": (0.05, 0.05), "softness": (0.1, 0.1)}
    # A narrow body in the middle would cut lesions; here only those near the rim are cut.
    found = drawn(slices, torch.ones_like(slices, dtype=torch.bool), **options)
    area = found.lesion.sum(dim=(1, 2, 3)).median().item()
    assert area == pytest.approx(math.pi * (0.05 * 128) ** 2, rel=0.03)


def test_a_core_is_deep_in_its_lesion_and_of_its_own_grey():
    slices = torch.full((200, 1, 64, 64), 0.4)
    options = {**PLAIN, "bright_share": 1.0, "contrast": (0.5, 0.5), "radius": (0.3, 0.3)}
    options["softness"] = (0.05, 0.05)
    body = torch.ones_like(slices, dtype=torch.bool)
    shares = []
    for core_share in (0.0, 0.3, 1.0):
        found = drawn(slices, body, **{**options, "core_share": core_share})
        inner = found.lesion == 1
        other = inner & ((found.slices - 0.6).abs() > 1e-5)
        shares.append(other.flatten(1).any(dim=1).float().mean().item())
        # Deep within, so never all of a lesion.
        assert (other.sum(dim=(1, 2, 3)) < inner.sum(dim=(1, 2, 3))).all()
    assert shares[0] == 0
    assert shares[1] == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 200))
    assert shares[2] > 0.95


def test_fading_takes_the_anatomy_away_and_texture_gives_another():
    torch.manual_seed(2)
    _, inside = flat(16)
    slices = (0.4 + 0.1 * torch.rand(inside.shape)) * inside
    faint = {**PLAIN, "contrast": (1e-6, 1e-6), "radius": (0.2, 0.2)}
    plain, faded = (drawn(slices, inside, **{**faint, "fading": much}) for much in (0.0, 1.0))
    core = (plain.lesion == 1) & (faded.lesion == 1)
    torch.testing.assert_close(plain.slices[core], slices[core], atol=1e-5, rtol=0)
    assert faded.slices[core].std() < 0.9 * slices[core].std()


def test_a_slice_without_body_stays_and_does_no_harm():
    slices, inside = flat(4)
    inside[1] = False
    found = drawn(slices, inside, **ALWAYS)
    assert torch.isfinite(found.slices).all()
    assert torch.equal(found.slices[1], slices[1])
    assert not found.lesion[1].any()


def test_same_numbers_same_lesions():
    slices, inside = flat(4)
    one, two, other = (drawn(slices, inside, seed=seed).slices for seed in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    "option",
    [
        {"most": 0},
        {"more_share": 1.5},
        {"normal_share": 1.0},
        {"bright_share": -0.1},
        {"fading": 2.0},
        {"dents": -1.0},
        {"radius": (0.2, 0.1)},
        {"contrast": (0.0, 1.0)},
        {"softness": (0.1,)},
    ],
)
def test_what_is_not_legal_is_named(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} is .*legal"):
        MadeUpLesions(**option)


def test_mean_of_the_body_is_over_the_body_alone():
    slices, inside = flat(2)
    slices[1], inside[1] = 0.7, False
    torch.testing.assert_close(body_mean(slices, inside).flatten(), torch.tensor([0.4, 0.0]))
