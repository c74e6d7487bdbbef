"""The terms of the constrained VAE: when they are on, what they cost and log, what is doubted."""

import pytest
import torch

from wholesight.attention import GradCAM
from wholesight.methods.constrained_vae import ConstrainedVAE
from wholesight.nn.vae import VAE
from wholesight.objective.constraints import (
    Coverage,
    Evenness,
    PixelwiseEquality,
    QuantileCoverage,
    RegionalCoverage,
)
from wholesight.objective.multiplier import Multiplier
from wholesight.objective.penalties import PENALTIES, Hinge, Linear, LogBarrier
from wholesight.objective.term import Term


def slices_of(n: int = 3, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    slices = torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(0))
    return slices, torch.ones_like(slices, dtype=torch.bool)


def term(**options) -> Term:
    return Term(constraint=Coverage(p=0.2), penalty=LogBarrier(t=20.0), weight=7.0, **options)


def made_of(*terms: Term, **options) -> ConstrainedVAE:
    torch.manual_seed(0)
    network = VAE(size=32, width=4, latent=5, width_top=16)
    return ConstrainedVAE(network=network, attention=GradCAM(), terms=terms, **options)


def test_warm_up_is_a_function_of_the_epoch():
    method = made_of(term(warmup_epochs=2.0))
    slices, inside = slices_of()
    assert "constraint" not in method.loss(slices, inside, epoch=1.99).parts
    assert "constraint" in method.loss(slices, inside, epoch=2.0).parts


def test_every_term_waits_for_its_own_epoch():
    slices, inside = slices_of()
    method = made_of(term(), term(warmup_epochs=3.0), beta=0.5).eval()
    before, after = (method.loss(slices, inside, epoch) for epoch in (2.0, 3.0))
    for terms, on in ((before, ["constraint_1"]), (after, ["constraint_1", "constraint_2"])):
        assert [name for name in terms.parts if name.startswith("constraint")] == on
        assert list(terms.rivals) == ["reconstruction", *on]
        sum_of_all = terms.parts["reconstruction"] + 0.5 * terms.parts["kl"]
        for name in on:
            sum_of_all = sum_of_all + terms.parts[name]
        torch.testing.assert_close(terms.total, sum_of_all)
    assert "satisfied_2" not in before.parts


@pytest.mark.parametrize(("normalisation", "scale"), [("sum", 1), ("mean", 32 * 32)])
def test_rivals_are_weighted_as_in_the_total(normalisation, scale):
    slices, inside = slices_of()
    even = Term(constraint=Evenness(share=1.0), penalty=Linear(), weight=3.0)
    names = {(term(),): ["constraint"], (term(), even): ["constraint_1", "constraint_2"]}
    for terms, constraints in names.items():
        method = made_of(*terms, beta=0.5, normalisation=normalisation).eval()
        found = method.loss(slices, inside, 0.0)
        assert list(found.rivals) == ["reconstruction", *constraints]
        for name, rival in found.rivals.items():
            torch.testing.assert_close(rival, found.parts[name] / scale)
        rest = 0.5 * found.parts["kl"] / scale
        torch.testing.assert_close(sum(found.rivals.values()) + rest, found.total)


def test_nothing_is_a_rival_while_no_term_is_on():
    slices, inside = slices_of()
    assert made_of(term(warmup_epochs=1.0)).loss(slices, inside, 0.0).rivals == {}
    assert made_of().loss(slices, inside, 0.0).rivals == {}


def test_every_term_logs_what_it_does():
    slices, inside = slices_of()
    barrier = Term(constraint=Coverage(), penalty=LogBarrier(), weight=2.0)
    learnt = Term(constraint=Evenness(), penalty=Multiplier(step=1.0), weight=3.0)
    terms = made_of(barrier, learnt).train().loss(slices, inside, 0.0)
    of_a_term = {"constraint", "satisfied", "slack"}
    assert set(terms.parts) == {
        *("reconstruction", "kl", "attention", "log_branch_1", "multiplier_2"),
        *(f"{name}_{n}" for name in of_a_term for n in (1, 2)),
    }
    alone = made_of(barrier).train().loss(slices, inside, 0.0).parts
    assert {*of_a_term, "log_branch"} <= set(alone)
    # Coverage is about (1 - 1/2) - 0.2 in an untrained network.
    assert alone["slack"].item() == pytest.approx(-0.3, abs=0.05)
    assert alone["satisfied"] == 0


LINEAR = [
    (Coverage(p=0.01), 10.0, "a larger p, or a t above 10"),
    (RegionalCoverage(p=0.04), 5.0, "a larger p, or a t above 5"),
    (QuantileCoverage(bound=0.75), 2.0, "a lower bound, or a t above 2"),
    # A stage of 8 x 8 pixels: 0.01 log 64 = 0.0416.
    (Evenness(share=0.99), 4.9, "a smaller share, or a t above 4.9"),
]


def doubts(constraint, penalty, epochs: int = 10, **options) -> list[str]:
    return made_of(Term(constraint=constraint, penalty=penalty, weight=1.0), **options).doubts(
        epochs
    )


@pytest.mark.parametrize(
    ("constraint", "t", "advice"), LINEAR, ids=[type(case[0]).__name__ for case in LINEAR]
)
def test_a_barrier_that_can_never_leave_its_linear_branch_is_doubted(constraint, t, advice):
    (doubt,) = doubts(constraint, LogBarrier(t=t))
    assert f"t = {t:.3g} the barrier" in doubt
    assert f"linear branch. Take {advice}." in doubt
    assert doubts(constraint, LogBarrier(t=1.1 * t)) == []
    assert doubts(constraint, Hinge()) == []


def test_a_barrier_that_grows_is_doubted_by_what_its_t_is_at_the_end():
    """p = 0.01 asks for t > 10; 2 times 1.1^16 is 9.19, times 1.1^17 is 10.1."""
    barrier = LogBarrier(t=2.0, growth=1.1)
    (doubt,) = doubts(Coverage(p=0.01), barrier, epochs=16)
    assert "t = 9.19 at the end of training" in doubt
    assert "linear branch. Take a larger p, or a t above 10 at the end of training." in doubt
    assert doubts(Coverage(p=0.01), barrier, epochs=17) == []


def test_every_term_is_doubted_on_its_own():
    fine = Term(constraint=Coverage(p=0.2), penalty=LogBarrier(t=10.0), weight=1.0)
    dull = Term(constraint=Evenness(share=0.99), penalty=LogBarrier(t=2.0), weight=1.0)
    assert [doubt.split()[0] for doubt in made_of(fine, dull, dull).doubts(5)] == ["evenness"] * 2
    assert made_of().doubts(5) == []


def test_evenness_has_more_room_at_the_slices_size_and_none_in_one_pixel():
    """0.01 log 64 = 0.042 at the stage, 0.01 log 1024 = 0.069 at the slice; 1/t^2 = 0.05."""
    even, barrier = Evenness(share=0.99), LogBarrier(t=20**0.5)
    assert doubts(even, barrier, constrained_at="slice") == []
    assert len(doubts(even, barrier)) == 1
    (doubt,) = doubts(even, LogBarrier(t=1000.0), stages=[4])
    assert doubt.endswith("linear branch. Take a smaller share.")


@pytest.mark.parametrize(
    ("constraint", "name"),
    [(PixelwiseEquality(), "pixelwise-equality"), (Evenness(share=1.0), "evenness")],
)
@pytest.mark.parametrize("penalty", ["log-barrier", "multiplier"])
def test_a_penalty_that_needs_slack_refuses_a_constraint_without(constraint, name, penalty):
    with pytest.raises(ValueError, match=rf"{penalty} needs .*{name} never has.*hinge.*linear"):
        Term(constraint=constraint, penalty=PENALTIES[penalty](), weight=1.0)


@pytest.mark.parametrize(
    ("name", "value", "legal"),
    [
        ("weight", 0.0, "weight > 0"),
        ("weight", -2.5, "weight > 0"),
        ("weight", float("nan"), "weight > 0"),
        ("warmup_epochs", -1.0, "0 or more"),
        ("warmup_epochs", float("nan"), "0 or more"),
    ],
)
def test_an_impossible_option_of_a_term_is_refused_by_name(name, value, legal):
    with pytest.raises(ValueError, match=f"^{name} is {value}, legal is {legal}$"):
        Term(constraint=Coverage(), penalty=Hinge(), **{"weight": 1.0, name: value})


def with_multiplier() -> ConstrainedVAE:
    return made_of(Term(constraint=Coverage(), penalty=Multiplier(step=0.5), weight=100.0))


def test_the_multiplier_learns_in_training_only_and_is_no_parameter():
    slices, inside = slices_of()
    method = with_multiplier()
    assert [name for name, _ in method.named_parameters() if "multiplier" in name] == []
    method.eval().loss(slices, inside, 0.0)
    assert method.state_dict()["penalties.0.multiplier"] == 0
    parts = method.train().loss(slices, inside, 0.0).parts
    assert parts["multiplier"] == 0  # what this step's loss was made with
    assert method.state_dict()["penalties.0.multiplier"].item() == pytest.approx(
        -0.5 * parts["slack"].item()
    )


def test_the_multiplier_is_saved_and_training_goes_on_as_if_never_stopped():
    slices, inside = slices_of()

    def trained(method: ConstrainedVAE, epochs: range) -> list[float]:
        losses = []
        for epoch in epochs:
            torch.manual_seed(epoch)
            losses.append(method.train().loss(slices, inside, float(epoch)).total.item())
        return losses

    method = with_multiplier()
    whole = trained(method, range(4))
    half = with_multiplier()
    trained(half, range(2))
    resumed = with_multiplier()
    resumed.load_state_dict(half.state_dict())
    assert trained(resumed, range(2, 4)) == whole[2:]
    # Without the multiplier it would not.
    assert trained(with_multiplier(), range(2, 4)) != whole[2:]
