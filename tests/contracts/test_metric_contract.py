"""What every metric promises, over the registry: adding a metric adds its tests."""

from __future__ import annotations

import numpy as np
import pytest

from wholesight.metrics import METRICS, Pixels

EVERY = pytest.mark.parametrize("name", METRICS)


def told_apart(*, wrongly: bool) -> Pixels:
    """Two lesion and two other pixels, in the right or in the wrong order."""
    truth = np.array([True, True, False, False])
    odd = ~truth if wrongly else truth
    return Pixels(odd.astype(np.float32), truth, odd)


def random_case(seed: int, n: int = 400) -> Pixels:
    """Scores with many ties, a lesion they know a little about."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.2
    scores = np.round(rng.normal(truth, 1.0), 1).astype(np.float32)
    return Pixels(scores, truth, scores > 0.5)


@EVERY
def test_perfect(name: str) -> None:
    assert METRICS[name].of(told_apart(wrongly=False)) == pytest.approx(METRICS[name].perfect)


@EVERY
def test_worst(name: str) -> None:
    assert METRICS[name].of(told_apart(wrongly=True)) == pytest.approx(METRICS[name].worst)


@EVERY
@pytest.mark.parametrize("flagged", [False, True], ids=["silent", "flagged"])
def test_without_lesion_is_as_stated(name: str, flagged: bool) -> None:
    nothing = Pixels(np.ones(5, np.float32), np.zeros(5, bool), np.full(5, flagged))
    expected = METRICS[name].without_lesion[flagged]
    assert METRICS[name].of(nothing) == pytest.approx(expected, nan_ok=True)


@EVERY
def test_without_a_pixel_nothing_is_claimed(name: str) -> None:
    none = Pixels(np.empty(0, np.float32), np.empty(0, bool), np.empty(0, bool))
    assert np.isnan(METRICS[name].of(none))


@EVERY
def test_without_a_mask_only_deployable_is_undefined(name: str) -> None:
    unmasked = random_case(0)._replace(mask=None)
    assert np.isnan(METRICS[name].of(unmasked)) == (METRICS[name].kind == "deployable")


@EVERY
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_pixels_does_not_matter(name: str, seed: int) -> None:
    case = random_case(seed)
    order = np.random.default_rng(seed + 100).permutation(case.truth.size)
    assert case.mask is not None
    shuffled = Pixels(case.scores[order], case.truth[order], case.mask[order])
    assert METRICS[name].of(shuffled) == METRICS[name].of(case)


@EVERY
def test_random_pixels_lie_between_worst_and_perfect(name: str) -> None:
    assert 0 < METRICS[name].of(random_case(7)) < 1


@EVERY
def test_only_the_order_of_scores_matters(name: str) -> None:
    case = random_case(3)
    stretched = case._replace(scores=np.exp(case.scores.astype(float)))
    assert METRICS[name].of(stretched) == METRICS[name].of(case)


@EVERY
def test_shapes_that_differ_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="truth"):
        METRICS[name].of(Pixels(np.ones(3, np.float32), np.ones(2, bool), np.ones(3, bool)))


def test_an_oracle_is_called_so() -> None:
    """A figure whose threshold the labels chose must not pass as a result."""
    assert [name for name, metric in METRICS.items() if metric.kind == "oracle"] == ["best_dice"]
