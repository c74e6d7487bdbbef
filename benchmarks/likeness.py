"""Which scans get `qc: fail` on real heads: what must pass, and what must not.

    python benchmarks/likeness.py

A model of `standard`'s preparation learns what the training subjects of lgg-flair look like (no
network is trained for that), and the calibration subjects say how far normal ones lie. Then scans
of the validation subjects as they are and with every pixel of a slice cut in four, which should
pass, and others that should not: heads with their skull (the data set's own), and the validation
scans changed. Inverted in the brain is what a script does that knows the mask; inverted as a file,
background and all, is what a viewer's setting does. Up and down, front and back swapped is a header
that lies.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from lgg import lgg_folder, open_lgg
from wholesight.calibration.typical import Likeness, Typical, likeness, limit_of
from wholesight.datasets import Case
from wholesight.io.reading import read_image
from wholesight.prep.appearance import appearance
from wholesight.prep.chain import Prep
from wholesight.recipe import Recipe
from wholesight.training.data import NormalSlices
from wholesight.volume import Scan, Volume


def main() -> None:
    """Print one line for each kind of scan."""
    data = open_lgg()
    recipe = Recipe.load("standard")
    prep = recipe.prep
    training = (case.read() for case in data.subset("train"))
    typical = NormalSlices.of(prep, training, min_body_share=recipe.training.min_body_share).typical
    normal = np.array(distances(prep, typical, (c.read() for c in data.subset("calibration"))))
    cases = data.subset("validation")
    print(
        f"{len(normal)} calibration scans: distance {np.median(normal):.1f} in the middle, at most "
        f"{normal.max():.1f}; fail beyond {limit_of(normal):.1f}\n"
    )
    print("| scans | number | qc: fail | distance, middle | smallest p | oddest |")
    print("|---|---|---|---|---|---|")
    for name, scans in kinds(cases).items():
        told = [judged(prep, typical, normal, scan) for scan in scans]
        print(line(name, told))


def kinds(cases: Sequence[Case]) -> dict[str, Iterable[Scan]]:
    """Return {name: scans}, the validation scans without their truth."""
    with_skull = sorted((lgg_folder() / "with-skull").rglob("*flair*"))
    return {
        "as they are": changed(cases, np.asarray),
        "as they are, in finer pixels": finer(cases),
        "with skull": (Scan(read_image(path)) for path in with_skull),
        "inverted in the brain": changed(cases, inverted_inside),
        "inverted as a file": changed(cases, lambda voxels: voxels.max() - voxels),
        "front and back swapped": changed(cases, lambda voxels: voxels[:, ::-1]),
        "top and bottom swapped": changed(cases, lambda voxels: voxels[..., ::-1]),
    }


def changed(cases: Sequence[Case], change: Callable[[np.ndarray], np.ndarray]) -> Iterator[Scan]:
    """Yield the scans with their voxels changed; their grid stays."""
    for case in cases:
        image = case.read().image
        yield Scan(image.like(np.ascontiguousarray(change(image.voxels), np.float32)))


def finer(cases: Sequence[Case]) -> Iterator[Scan]:
    """Yield the scans with every pixel of a slice cut in four; nothing else is new."""
    for case in cases:
        image = case.read().image
        affine = image.affine @ np.diag([0.5, 0.5, 1.0, 1.0])
        yield Scan(Volume(image.voxels.repeat(2, axis=0).repeat(2, axis=1), affine, image.name))


def inverted_inside(voxels: np.ndarray) -> np.ndarray:
    """Return dark for bright in the brain, the background as it is."""
    return np.where(voxels > 0, voxels.max() + 1 - voxels, 0)


def distances(prep: Prep, typical: Typical, scans: Iterable[Scan]) -> list[float]:
    """Return how far scans lie from the training's."""
    return [typical.distance(appearance(prep.forward(scan), scan.image)) for scan in scans]


def judged(prep: Prep, typical: Typical, normal: np.ndarray, scan: Scan) -> Likeness:
    """Return the verdict on one scan."""
    return likeness(typical, appearance(prep.forward(scan), scan.image), normal)


def line(name: str, told: Sequence[Likeness]) -> str:
    """Write a row of the table; the oddest is that of the scan in the middle."""
    middle = sorted(told, key=lambda each: each.distance or 0)[len(told) // 2]
    failed = sum(each.verdict == "fail" for each in told)
    smallest = min(each.p_value or 1.0 for each in told)
    return (
        f"| {name} | {len(told)} | {failed} | {middle.distance:.1f} | {smallest:.2f} | "
        f"{middle.oddest} |"
    )


if __name__ == "__main__":
    sys.exit(main())
