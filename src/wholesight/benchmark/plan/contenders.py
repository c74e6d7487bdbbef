"""The methods of a suite as they will be run: every recipe loaded, every change of it checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wholesight.benchmark.plan.suite import Entry, Suite
from wholesight.errors import RecipeError
from wholesight.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A method as it will be run: its resolved recipe, and the seeds that it is trained with.

    train_subjects : so many of the training subjects train it, None for all.
    """

    name: str
    summary: str
    citation: str
    cost: str
    trained: bool
    seeds: tuple[int, ...]
    train_subjects: int | None
    resolved: dict[str, Any]


def contenders(suite: Suite) -> tuple[Contender, ...]:
    """Load every recipe of a suite. Raises RecipeError that names the method."""
    return tuple(_contender(entry, suite.seeds) for entry in suite.methods)


def _contender(entry: Entry, seeds: int) -> Contender:
    try:
        recipe = Recipe.load(entry.recipe, entry.overrides)
    except RecipeError as fault:
        raise RecipeError(f"method '{entry.name}' of the suite: {fault}") from fault
    return Contender(
        name=entry.name,
        summary=recipe.summary,
        citation=recipe.reference,
        cost=recipe.cost,
        trained=recipe.method.trainable,
        # What is not trained, and sees all subjects, draws nothing: every seed gives the same.
        seeds=tuple(range(seeds if recipe.method.trainable or entry.train_subjects else 1)),
        train_subjects=entry.train_subjects,
        resolved=recipe.resolved,
    )
