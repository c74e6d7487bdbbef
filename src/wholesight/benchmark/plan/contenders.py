"""The methods of a suite as they will be run: every recipe loaded, every change of it checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wholesight.benchmark.plan.suite import Entry, Suite
from wholesight.errors import RecipeError
from wholesight.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A method as it will be run: its resolved recipe, and the seeds that it is trained with."""

    name: str
    summary: str
    citation: str
    cost: str
    trained: bool
    seeds: tuple[int, ...]
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
        # What is not trained draws nothing, and gives the same with every seed.
        seeds=tuple(range(seeds)) if recipe.method.trainable else (0,),
        resolved=recipe.resolved,
    )
