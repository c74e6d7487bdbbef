"""Attention in a lesion against that elsewhere: the inequality, and the method that keeps it."""

import math

import pytest
import torch
from torch import nn

from wholesight.methods.augmentation import Augmentation, View
from wholesight.methods.contrasted_vae import ContrastedVAE
from wholesight.methods.made_up import MadeUp, MadeUpLesions
from wholesight.nn.pyramid import Pyramid
from wholesight.nn.vae import VAE
from wholesight.objective.constraints import Evenness
from wholesight.objective.contrast import (
    CONTRASTS,
    MarginContrast,
    OverlapContrast,
    SurpriseContrast,
)
from wholesight.objective.multiplier import Multiplier
from wholesight.objective.penalties import Linear, LogBarrier
from wholesight.objective.term import ContrastTerm, Term


def two_halves(inside: float, outside: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two slices: the left half of the first is a lesion, all of the second is normal."""
    attention = torch.full((2, 4, 6), outside)
    lesion = torch.zeros(2, 4, 6, dtype=torch.bool)
    lesion[0, :, :3] = True
    attention[lesion] = inside
    return attention, lesion, ~lesion


def margin_of(attention: torch.Tensor, lesion: torch.Tensor, **options: float) -> torch.Tensor:
    """Return g of the margin where all of the slice is body."""
    return MarginContrast(**options).violation(attention, lesion.float(), torch.ones_like(lesion))


def shares() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Attention, the lesion's share, and the body: `two_halves` as a contrast takes them."""
    attention, lesion, _ = two_halves(0.0, 0.0)
    return attention, lesion.float(), torch.ones_like(lesion)


@pytest.mark.parametrize("name", CONTRASTS)
def test_its_gradient_raises_the_lesion_and_lowers_the_rest(name):
    contrast = CONTRASTS[name]()
    attention, lesion, inside = shares()
    attention.requires_grad_()
    shown = attention.sigmoid() if contrast.squashed else attention
    contrast.violation(shown, lesion, inside).sum().backward()
    assert attention.grad is not None
    assert (attention.grad[lesion == 1] < 0).all()
    assert (attention.grad[lesion == 0] > 0).all()


@pytest.mark.parametrize("name", CONTRASTS)
def test_what_stands_out_keeps_it_and_what_does_not_breaks_it(name):
    contrast = CONTRASTS[name]()
    _, lesion, inside = shares()

    def violation(attention: torch.Tensor) -> torch.Tensor:
        return contrast.violation(
            attention.sigmoid() if contrast.squashed else attention, lesion, inside
        )

    assert (violation(40 * lesion - 20) < 0).all()
    assert (violation(torch.zeros_like(lesion)) > 0).all()
    assert (violation(20 - 40 * lesion) > violation(torch.zeros_like(lesion))).all()


@pytest.mark.parametrize("name", CONTRASTS)
def test_without_a_lesion_there_is_nothing_to_stand_out(name):
    attention, lesion, inside = shares()
    assert CONTRASTS[name]().violation(attention, 0 * lesion, inside).shape == (0,)
    assert CONTRASTS[name]().violation(attention, lesion, inside & (lesion == 0)).shape == (0,)


@pytest.mark.parametrize("name", CONTRASTS)
def test_attention_beside_the_body_counts_for_nothing(name):
    torch.manual_seed(0)
    contrast = CONTRASTS[name]()
    attention, lesion, inside = shares()
    inside[:, 0] = False
    attention = torch.rand_like(attention)
    before = contrast.violation(attention, lesion, inside)
    attention[:, 0] = 1 - attention[:, 0]
    assert torch.equal(before, contrast.violation(attention, lesion, inside))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("margin", {"margin": 0.0}),
        ("margin", {"softness": 0.0}),
        ("margin", {"margin": float("nan")}),
        ("surprise", {"bound": 0.0}),
        ("overlap", {"p": 0.0}),
        ("overlap", {"p": 1.0}),
    ],
)
def test_what_cannot_be_is_refused(name, options):
    with pytest.raises(ValueError, match="legal is"):
        CONTRASTS[name](**options)


# ---------------------------------------------------------------- overlap


def test_overlap_is_that_of_the_soft_dice():
    attention, lesion, inside = shares()
    attention = torch.where(lesion == 1, 0.5, 0.25)
    [found] = OverlapContrast(p=0.3).violation(attention, lesion, inside)
    # 12 pixels of lesion, 36 of the rest; the ones are those of `soft_dice`.
    overlap = (2 * 12 * 0.5 + 1) / (12 * 0.25 + 36 * 0.0625 + 12 + 1)
    assert found.item() == pytest.approx(1 - overlap - 0.3, abs=1e-6)


def test_even_attention_overlaps_by_at_most_the_root_of_the_lesions_share():
    _, lesion, inside = shares()
    grey = torch.linspace(0, 1, 201)
    found = [OverlapContrast(p=0.3).violation(a + 0 * lesion, lesion, inside) for a in grey]
    best = 1 - 0.3 - torch.stack(found).min()
    assert best.item() == pytest.approx((12 / 48) ** 0.5, abs=0.03)


# ---------------------------------------------------------------- surprise


def test_surprise_of_what_says_nothing_is_one_bit():
    attention, lesion, inside = shares()
    [found] = SurpriseContrast(bound=0.1).violation(attention, lesion, inside)
    assert found.item() == pytest.approx((math.log(2) - 0.1) / 0.1, rel=1e-6)


# ---------------------------------------------------------------- margin


@pytest.mark.parametrize(("inside", "g"), [(0.0, 1.0), (5.0, 0.0), (10.0, -1.0), (-5.0, 2.0)])
def test_of_even_halves_it_is_their_difference_in_margins(inside, g):
    attention, lesion, _ = two_halves(inside, 0.0)
    [found] = margin_of(attention, lesion, margin=5.0, softness=1.5)
    assert found.item() == pytest.approx(g, abs=1e-5)


def test_the_same_everywhere_changes_nothing():
    torch.manual_seed(0)
    attention, lesion, _ = two_halves(0.0, 0.0)
    attention = torch.randn_like(attention)
    before, after = (margin_of(attention + by, lesion) for by in (0.0, 7.0))
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)


def test_hard_it_compares_the_lowest_in_the_lesion_with_the_highest_anywhere_else():
    torch.manual_seed(0)
    _, lesion, normal = two_halves(0.0, 0.0)
    attention = torch.randn(2, 4, 6)
    [found] = margin_of(attention, lesion, margin=2.0, softness=1e-3)
    expected = 1 - (attention[lesion].min() - attention[normal].max()) / 2.0
    assert found.item() == pytest.approx(expected.item(), abs=0.01)


def test_soft_it_compares_means():
    torch.manual_seed(0)
    _, lesion, normal = two_halves(0.0, 0.0)
    attention = torch.randn(2, 4, 6)
    [found] = margin_of(attention, lesion, margin=2.0, softness=1e3)
    expected = 1 - (attention[lesion].mean() - attention[normal].mean()) / 2.0
    assert found.item() == pytest.approx(expected.item(), abs=0.01)


def test_a_high_place_in_another_slice_counts():
    attention, lesion, _ = two_halves(5.0, 0.0)
    before = margin_of(attention, lesion, margin=5.0, softness=0.1)
    attention[1, 0, 0] = 5.0
    after = margin_of(attention, lesion, margin=5.0, softness=0.1)
    assert after.item() > before.item() + 0.5


def test_a_soft_outline_counts_as_neither():
    attention, lesion, inside = shares()
    before = MarginContrast().violation(attention, lesion, inside)
    lesion[0, 0, 0], attention[0, 0, 0] = 0.3, -9.0
    after = MarginContrast().violation(attention, lesion, inside)
    torch.testing.assert_close(before, after)


# ---------------------------------------------------------------- the light decoder


def test_the_pyramid_sees_every_stage_on_the_grid_of_the_first():
    vae = VAE(size=32, width=4, latent=4, width_top=8, stem="conv", norm="group")
    torch.manual_seed(0)
    stages = vae.encode(torch.rand(2, 1, 32, 32)).stages
    for stage in stages:
        stage.retain_grad()
    features = Pyramid.on(vae.encoder, channels=8)(stages)
    assert features.shape == (2, 8, 16, 16)
    features.square().sum().backward()
    assert all(stage.grad is not None and stage.grad.any() for stage in stages)


def test_a_pyramid_without_channels_is_refused():
    with pytest.raises(ValueError, match="channels is 0"):
        Pyramid([4, 8, 16, 32], channels=0, norm="group")


# ---------------------------------------------------------------- the method


def made(**options) -> ContrastedVAE:
    torch.manual_seed(0)
    given = {
        "network": VAE(size=32, width=4, latent=4, width_top=8, stem="conv", norm="group"),
        "lesions": MadeUpLesions(),
        "augmentation": Augmentation(),
        "contrasts": [
            ContrastTerm(contrast=OverlapContrast(), penalty=LogBarrier(), weight=3.0),
            ContrastTerm(contrast=SurpriseContrast(), penalty=Linear(), weight=1.5),
        ],
        "terms": [Term(constraint=Evenness(share=0.9), penalty=LogBarrier(), weight=2.0)],
        "decoder_width": 8,
    }
    return ContrastedVAE(**{**given, **options})


def normals(slices: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    inside = torch.zeros(slices, 1, 32, 32, dtype=torch.bool)
    inside[..., 4:-4, 4:-4] = True
    return (0.3 + 0.1 * torch.rand(slices, 1, 32, 32)) * inside, inside


def test_the_total_is_the_sum_of_what_is_logged():
    method = made(beta=0.5)
    total, parts, rivals = method.loss(*normals(), 0.0)
    expected = (
        parts["reconstruction"]
        + 0.5 * parts["kl"]
        + parts["contrast_1"]
        + parts["contrast_2"]
        + parts["constraint_1"]
    )
    torch.testing.assert_close(total, expected)
    assert set(rivals) == {"reconstruction", "contrast_1", "contrast_2", "constraint_1"}
    total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in method.parameters())


def test_without_contrasts_and_terms_a_vae_is_left():
    parts = made(contrasts=(), terms=()).loss(*normals(), 0.0).parts
    assert set(parts) == {"reconstruction", "kl", "attention"}


def test_without_a_lesion_in_the_batch_there_is_no_contrast():
    method = made()
    method.lesions = lambda slices, inside: MadeUp(slices, torch.zeros_like(slices))
    assert not {"contrast_1", "contrast_2"} & set(method.loss(*normals(), 0.0).parts)


def test_the_slice_without_the_lesion_is_to_be_given_back():
    """What is encoded is black; the reconstruction is still judged by the slice that it was."""
    method = made()
    asked = []

    def judged(logits, slices):
        asked.append(slices)
        return logits.flatten(1).sum(dim=1)

    method.reconstruction = judged
    method.augmentation = Augmentation(
        mirrored_share=0.0,
        turned_degrees=0.0,
        shifted=0.0,
        **dict.fromkeys(("scale", "gain", "gamma"), (1.0, 1.0)),
    )
    method.lesions = lambda slices, inside: MadeUp(0 * slices, inside.float())
    slices, inside = normals()
    method.loss(slices, inside, 0.0)
    torch.testing.assert_close(asked[0], slices, atol=1e-5, rtol=0)


def test_a_share_of_the_batch_is_decoded_and_stands_for_it():
    method = made(decoded_share=0.3)
    asked = []

    def judged(logits, slices):
        asked.append((len(logits), slices))
        return logits.flatten(1).sum(dim=1)

    method.reconstruction = judged
    method.augmentation = View
    slices, inside = normals(8)
    method.loss(slices, inside, 0.0)
    [(decoded, compared)] = asked
    assert decoded == 3
    assert torch.equal(compared, slices[:3])
    with pytest.raises(ValueError, match="legal is 0 < share <= 1"):
        made(decoded_share=0.0)


def test_a_term_waits_for_its_epoch_and_training_must_reach_it():
    term = Term(constraint=Evenness(share=0.9), penalty=LogBarrier(), weight=2.0, warmup_epochs=3.0)
    method = made(terms=[term])
    assert method.last_start == 3.0
    assert "constraint_1" not in method.loss(*normals(), 2.9).parts
    assert "constraint_1" in method.loss(*normals(), 3.0).parts


def test_what_a_contrasts_multiplier_learns_is_saved_with_the_network():
    term = ContrastTerm(contrast=OverlapContrast(), penalty=Multiplier(), weight=3.0)
    method = made(contrasts=[term], terms=())
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.loss(*normals(), 0.0)
    after = {name: value.clone() for name, value in method.state_dict().items()}
    moved = [name for name in after if not torch.equal(after[name], before[name])]
    assert moved
    assert all(name.startswith("penalties.0") for name in moved)
    method.eval().loss(*normals(), 0.0)
    assert all(torch.equal(method.state_dict()[name], after[name]) for name in moved)


def test_terms_see_the_normal_part_of_the_body_alone():
    seen = []

    class Watched(Evenness):
        def violation(self, attention, inside):
            seen.append(inside)
            return super().violation(attention, inside)

    term = Term(constraint=Watched(share=0.9), penalty=LogBarrier(), weight=2.0)
    method = made(terms=[term])
    lesion = torch.zeros(8, 1, 32, 32)
    lesion[..., 8:16, 8:16] = 1.0
    lesion[..., 16, 8:16] = 0.3  # the soft outline: neither
    method.lesions = lambda slices, inside: MadeUp(slices, lesion)
    method.augmentation = View
    slices, inside = normals()
    method.loss(slices, inside, 0.0)
    assert torch.equal(seen[0], (inside & (lesion == 0))[:, 0])


def test_a_mirrored_slice_has_the_mirrored_map():
    method = made().eval()
    slices, inside = normals(2)
    one = method.anomaly_map(slices, inside)
    two = method.anomaly_map(slices.flip(3), inside.flip(3))
    torch.testing.assert_close(two, one.flip(3), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(made(mirrored=False).eval().anomaly_map(slices, inside), one)


def test_it_learns_to_tell_a_lesion_from_the_rest():
    """A few steps on bright squares: the contrast is kept on squares it has not seen."""
    options = {"dents": 0.0, "texture": 0.0, "core_share": 0.0, "bright_share": 1.0}
    method = made(
        lesions=MadeUpLesions(contrast=(1.0, 1.0), radius=(0.15, 0.2), normal_share=0.0, **options),
        terms=(),
        contrasts=[
            ContrastTerm(contrast=OverlapContrast(p=0.2), penalty=LogBarrier(), weight=100.0)
        ],
    )
    optimiser = torch.optim.Adam(method.parameters(), 5e-3)
    slices, inside = normals(16)
    for _ in range(60):
        optimiser.zero_grad()
        method.loss(slices, inside, 0.0).total.backward()
        nn.utils.clip_grad_norm_(method.parameters(), 100.0)
        optimiser.step()
    altered = slices[:1].clone()
    altered[..., 12:18, 12:18] = 0.75
    found = method.eval().anomaly_map(altered, inside[:1])[0, 0]
    rest = inside[0, 0].clone()
    rest[9:21, 9:21] = False
    assert found[13:17, 13:17].min() > found[rest].max()


def test_a_weight_of_0_or_below_is_refused():
    with pytest.raises(ValueError, match="legal is 0 or more"):
        made(beta=-1.0)
    with pytest.raises(ValueError, match="legal is weight > 0"):
        ContrastTerm(contrast=OverlapContrast(), penalty=LogBarrier(), weight=0.0)


def test_a_barrier_that_stays_on_its_line_is_told():
    term = ContrastTerm(contrast=OverlapContrast(p=0.2), penalty=LogBarrier(t=2.0), weight=1.0)
    [doubt] = made(contrasts=[term], terms=()).doubts(10)
    assert "overlap is satisfied by 0.2 at most" in doubt
    assert "a larger p" in doubt
    assert made().doubts(10) == []
