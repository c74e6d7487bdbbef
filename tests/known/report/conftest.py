"""What the tests of the report share: a small evaluation, a large benchmark, and their pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wholesight.benchmark.judge.evaluate import Evaluation, Scored, evaluate
from wholesight.benchmark.report.write import write_report
from wholesight.benchmark.results import (
    DataSetResult,
    Failure,
    MethodResult,
    Results,
    summarise,
)

SHAPE = (20, 24, 3)
AFFINE = np.diag([1.0, 2.0, 5.0, 1.0])
SUBJECTS = 6


def heads(
    *,
    noise: float,
    seed: int = 0,
    masked: bool = True,
    mapped: bool = True,
    normals: int = 2,
    subjects: int = SUBJECTS,
) -> Iterator[Scored]:
    """Draw lesions that grow from head to head, darker in every other; the first are normal."""
    rng = np.random.default_rng(seed)
    for number in range(subjects):
        body, truth = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
        body[1:19, 1:23] = True
        if number >= normals:
            truth[4 : 5 + number, 4:8, 1] = True
        image = body * rng.uniform(50, 100, SHAPE) + truth * (50 if number % 2 else -45)
        scores = truth + noise * rng.normal(size=SHAPE)
        yield Scored(
            case=f"head_{number}",
            subject=f"s{number}",
            image=image,
            body=body,
            inside=body,
            truth=truth,
            map=scores if mapped else None,
            mask=(scores > 0.6) & body if masked else None,
            axis=2,
            affine=AFFINE,
            site=("north", "south")[number % 2],
        )


def judge(name: str, note: str = "5 % of normals", **drawn: Any) -> Evaluation:
    return evaluate(name, heads(**drawn), threshold_note=note)


def history(seed: int) -> list[dict[str, float]]:
    return [
        {"epoch": n, "seconds": 1.0, "loss": 20_000 / n + seed, "gate_satisfied": 1 - 1 / n}
        for n in range(1, 6)
    ]


def method(name: str, evaluations: list[Evaluation], **other: Any) -> MethodResult:
    seeds = list(range(len(evaluations)))
    common = {"summary": f"what {name} does", "citation": "Someone & others 2021", "trained": True}
    return MethodResult(
        **{"name": name, "seeds": seeds, "evaluations": evaluations} | common | other
    )


def dataset(name: str, methods: list[MethodResult], **other: Any) -> DataSetResult:
    common = {"subset": "test", "reference": methods[-1].name, "resamples": 30}
    return summarise(name, methods, **common | other)


@pytest.fixture(scope="session")
def pair() -> Results:
    """What `wholesight evaluate` reports: one method, one seed, and the floor beside it."""
    detector = method("detector", [judge("detector", noise=0.3)], histories=[history(0)])
    floor = method("floor & <noise>", [judge("floor", noise=2.0, masked=False)], trained=False)
    found = dataset("Four <heads>", [detector, floor], facts={"model": "a&b"})
    return Results("On <heads>", "Does it see?", [found], ["Read this (Baur et al. 2021)."], {})


@pytest.fixture(scope="session")
def many() -> Results:
    """A benchmark: 25 methods, three seeds, failures, no threshold, no map; and a second set."""
    drawn = [[judge("any", noise=0.3 + 0.2 * k, seed=s) for s in range(3)] for k in range(4)]
    methods = [
        method(f"method-{n}", drawn[n % 4], histories=[history(s) for s in range(3)])
        for n in range(22)
    ]
    lost = [Failure(2, "E_DIVERGED", "the loss is infinite | in epoch 3")]
    methods += [
        method("two-seeds", drawn[0][:2], failures=lost, training_s=[60.0, None]),
        method("no-map", [judge("no-map", noise=0.4, mapped=False)]),
        method("unmasked", [judge("unmasked", "none", noise=0.4, masked=False)]),
        method("gone", [], failures=[Failure(0, "E_MEMORY", "9 GB & more")]),
        method("floor_mode", [judge("floor_mode", noise=1.5)], trained=False),
    ]
    design = {
        f"head_{n}": {"volume_ml": float(n % 2 + 1), "contrast": [-0.5, 0.5][n // 2 - 1]}
        for n in range(2, SUBJECTS)
    }
    common: dict[str, Any] = {
        "reference": "floor_mode",
        "exclusions": [("head_9", "0.01 % lesion")],
    }
    first = dataset("heads", methods, **common)
    ill = method("all-ill", [judge("all-ill", noise=0.4, normals=0)])
    second = dataset("stress", [ill, methods[3], methods[-1]][1:], design=design)
    third = dataset("ill only", [ill])
    return Results("Many", "Which?", [first, second, third], (), {"suite": "methods"})


@pytest.fixture(scope="session")
def few() -> Results:
    """Four subjects, too few for intervals: a method of two seeds, and the floor beside it."""
    twice = [judge("twice", noise=0.3, seed=s, subjects=4) for s in range(2)]
    floor = method("floor", [judge("floor", noise=2.0, subjects=4)], trained=False)
    return Results("Few", "", [dataset("heads", [method("twice", twice), floor])])


class Page(HTMLParser):
    """Collects what a test asks of a page, and checks that elements close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def page_of(path: Path) -> Page:
    parsed = Page()
    parsed.feed(path.read_text())
    return parsed


@pytest.fixture(scope="session")
def written(
    pair: Results, many: Results, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("report")
    return {
        "pair": write_report(pair, out / "pair"),
        "many": write_report(many, out / "many"),
    }


@pytest.fixture(scope="session")
def read_page() -> Callable[[Path], Page]:
    """Parse a page that was written."""
    return page_of


@pytest.fixture(scope="session")
def alone() -> Callable[..., DataSetResult]:
    """A data set with one method, its heads drawn as told; with failures it has no figures."""

    def make(*, failures: tuple[Failure, ...] = (), **drawn: Any) -> DataSetResult:
        judged = [] if failures else [judge("alone", **drawn)]
        return dataset("x", [method("alone", judged, failures=failures)])

    return make


@pytest.fixture(scope="session")
def bodiless() -> DataSetResult:
    """Erosion can leave nothing of a small body, and then of the only case."""
    case = next(heads(noise=0.1))._replace(inside=np.zeros(SHAPE, bool))
    return dataset("x", [method("alone", [evaluate("alone", [case], threshold_note="")])])
