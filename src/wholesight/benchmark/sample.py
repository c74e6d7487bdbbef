"""The subjects that were judged, as a sample of those one cares about.

Axes: c cases; s subjects; a all weightings of the subjects (`Resamples`), r some of them.

Every method and seed of a data set is asked under the same weightings, so that differences are
paired. Seeds are averaged under each weighting and are never drawn themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from wholesight.benchmark.judge.evaluate import Evaluation
from wholesight.metrics.interval import Resamples
from wholesight.metrics.registry import METRICS, metric_key, set_figures

# Figures under every weighting, by metric.
Drawn = Mapping[str, Float[np.ndarray, " a"]]

# Variants of figures that have an interval; theirs would take a third of all the time again.
WITHOUT_INTERVAL: Final = ("pr_trapezoid", "aupro_5")
_OF_MASKS: Final = [name for name, metric in METRICS.items() if metric.kind == "deployable"]
_OF_SCORES: Final = [name for name in METRICS if name not in (*_OF_MASKS, *WITHOUT_INTERVAL)]


class Sample(NamedTuple):
    """Whose the cases are, and every weighting of the subjects.

    of_case : (c,) the number of each case's subject.
    """

    of_case: Int[np.ndarray, " c"]
    draws: Resamples

    def set_figures(self, seeds: Sequence[Evaluation]) -> Drawn:
        """Return the set's figures, means over seeds; but for those without an interval."""
        return self._over(seeds, self._of_set)

    def case_means(self, seeds: Sequence[Evaluation], metrics: Iterable[str]) -> Drawn:
        """Return means over cases of figures of single cases, then over seeds."""
        weights = self._of_cases(self.draws.weights)
        return self._over(
            seeds, lambda each: {name: _mean(weights, _column(each, name)) for name in metrics}
        )

    def subject_means(self, seeds: Sequence[Evaluation], metric: str) -> Float[np.ndarray, " s"]:
        """Return each subject's figure: the mean over its cases, then over seeds."""
        alone = self._of_cases(np.eye(self.draws.subjects))
        return _over_seeds([_mean(alone, _column(each, metric)) for each in seeds])

    def _of_set(self, each: Evaluation) -> Drawn:
        """Ask in small batches for what ranks pixels; masks alone are a few counts a case."""
        ranking = self.draws.apply(
            lambda weights: set_figures(each.tally.sums(self._of_cases(weights)), _OF_SCORES)
        )
        weights = self._of_cases(self.draws.weights)
        return ranking | set_figures(each.tally.sums(weights), _OF_MASKS)

    def _of_cases(self, weights: Float[np.ndarray, "r s"]) -> Float[np.ndarray, "r c"]:
        """Let every case count as often as its subject does."""
        return weights[:, self.of_case]

    def _over(self, seeds: Sequence[Evaluation], figures: Callable[[Evaluation], Drawn]) -> Drawn:
        drawn = [figures(each) for each in seeds]
        return {name: _over_seeds([each[name] for each in drawn]) for name in drawn[0]}


def sample_of(
    evaluations: Mapping[str, Sequence[Evaluation]], *, resamples: int, seed: int
) -> Sample:
    """Number the subjects by name, so that the order of cases changes no draw.

    evaluations : {method: one per seed}. Raises ValueError when they are not of the same cases in
    the same order.
    """
    cases: list[tuple[str, str]] | None = None
    for name, seeds in evaluations.items():
        for each in seeds:
            own = [(str(row["case"]), str(row["subject"])) for row in each.rows]
            if cases is not None and own != cases:
                raise ValueError(f"{name} was judged on other cases, or in another order")
            cases = own
    names, of_case = np.unique([subject for _, subject in cases or []], return_inverse=True)
    return Sample(of_case, Resamples.draw(len(names), resamples=resamples, seed=seed))


def _column(evaluation: Evaluation, metric: str) -> Float[np.ndarray, " c"]:
    return np.array([row[metric_key(metric)] for row in evaluation.rows], dtype=float)


def _mean(
    weights: Float[np.ndarray, "r c"], figures: Float[np.ndarray, " c"]
) -> Float[np.ndarray, " r"]:
    """Mean over the cases where a figure is defined; NaN where it is in none."""
    defined = np.isfinite(figures)
    return _quotient(weights[:, defined] @ figures[defined], weights[:, defined].sum(axis=1))


def _over_seeds(figures: Sequence[Float[np.ndarray, " a"]]) -> Float[np.ndarray, " a"]:
    """Mean over the seeds that define a figure, under each weighting."""
    stacked = np.stack(figures)
    defined = np.isfinite(stacked)
    return _quotient(np.where(defined, stacked, 0.0).sum(axis=0), defined.sum(axis=0))


def _quotient(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
