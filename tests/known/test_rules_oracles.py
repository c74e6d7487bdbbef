"""Thresholds and p-values against MAPIE, crepes and puncc, where the definitions meet.

They meet for ranks that floats round rightly and that lie below n: MAPIE and puncc refuse the
maximum, and crepes is off by one for alpha = 0.1, n = 9. `test_order_rules.py` has those.
"""

from __future__ import annotations

import numpy as np
import pytest
from crepes import ConformalRegressor
from crepes.base import p_values_batch
from deel.puncc.api.calibration import ScoreCalibrator
from mapie.regression import SplitConformalRegressor
from mapie.risk_control import SemanticSegmentationController
from sklearn.dummy import DummyRegressor

from wholesight.calibration.conformal import p_values
from wholesight.calibration.crc import crc
from wholesight.calibration.curve import Curve
from wholesight.calibration.fwe import fwe

SETTINGS = [(20, 0.05), (59, 0.05), (99, 0.05), (299, 0.05), (57, 0.17), (30, 0.3), (150, 0.01)]


def statistics(n: int, *, tied: bool) -> np.ndarray:
    """(n,) positive ones; tied: many the same."""
    drawn = np.random.default_rng(n).lognormal(size=n)
    return np.ceil(4 * drawn) / 4 if tied else drawn


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("n", "alpha"), SETTINGS)
def test_fwe_is_mapies_split_conformal_quantile(n: int, alpha: float, tied: bool) -> None:
    normal = statistics(n, tied=tied)
    nothing = DummyRegressor(strategy="constant", constant=0.0).fit([[0.0]], [0.0])
    split = SplitConformalRegressor(nothing, confidence_level=1 - alpha, prefit=True)
    split.conformalize(np.zeros((n, 1)), normal)  # residuals of a predictor of 0: the statistics
    _, interval = split.predict_interval(np.zeros((1, 1)))
    assert fwe(normal, alpha=alpha) == pytest.approx(interval[0, 1, 0], abs=1e-12)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("n", "alpha"), SETTINGS)
def test_fwe_is_crepes_conformal_quantile(n: int, alpha: float, tied: bool) -> None:
    normal = statistics(n, tied=tied)
    conformal = ConformalRegressor().fit(residuals=normal)
    interval = conformal.predict_int(np.zeros(1), confidence=1 - alpha)
    assert fwe(normal, alpha=alpha) == pytest.approx(interval[0, 1], abs=1e-12)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("n", "alpha"), SETTINGS)
def test_fwe_calls_whom_punccs_anomaly_detection_calls(n: int, alpha: float, tied: bool) -> None:
    normal = statistics(n, tied=tied)
    scores = np.concatenate([normal, statistics(1000, tied=tied)])
    calibrator = ScoreCalibrator(nonconf_score_func=lambda scores: scores)
    calibrator.set_nonconformity_scores(normal)
    conformal = calibrator.is_conformal(scores, alpha)
    assert (scores > fwe(normal, alpha=alpha)).tolist() == (~conformal).tolist()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("n", [1, 9, 20, 99, 300])
def test_p_values_are_crepes_without_smoothing(n: int, tied: bool) -> None:
    normal, scores = statistics(n, tied=tied), statistics(500, tied=tied)
    expected = p_values_batch(normal, scores, smoothing=False)
    assert p_values(normal, scores) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n", "alpha"), [(20, 0.07), (30, 0.1), (59, 0.05), (99, 0.03)])
def test_crc_is_mapies_risk_control(n: int, alpha: float) -> None:
    # All of a normal body is of class "normal", with a probability that falls as the map rises;
    # what MAPIE misses of that class (1 - recall) is what we flag. Values are whole 256ths.
    rng = np.random.default_rng(n)
    shift = rng.normal(size=(n, 1))
    steps = np.clip(np.rint(128 + 20 * (shift + rng.normal(size=(n, 240)))), 0, 255)
    controller = SemanticSegmentationController(
        predict_function=lambda bodies: 1 - np.asarray(bodies, float)[:, None] / 256,
        risk="recall",
        method="crc",
        target_level=1 - alpha,
        # Between the values: missed are those of more than `level` steps, for level 255 ... 0.
        predict_params=1 - (np.arange(255, -1, -1) + 0.5) / 256,
    )
    bodies = steps.reshape(n, 12, 20)
    controller.calibrate(bodies, np.ones((n, 1, 12, 20), int))
    expected = (1 - float(controller.best_predict_param[0])) * 256 - 0.5
    level = crc([[Curve.of(values)] for values in steps], alpha=alpha)
    assert level == pytest.approx(expected, abs=1e-12 * 256)
