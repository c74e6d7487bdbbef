"""Hold thresholds from normal scans against what they promise, on real tumours.

    python benchmarks/promises.py [--deals 2000] [--out out/promises] [--page FILE]

Three methods are trained on the training patients of lgg-flair (a model that is finished in --out
is taken as it is, unless its recipe has changed; after a change of code, take a new --out) and look
once at the patients that trained nothing. Of each, the slices without lesion are its normal part.

1. Threshold from the calibration patients: what of the normal slices of the validation patients is
   flagged, against the promise, and what of their tumours is still found.
2. The same patients dealt anew many times: the promise is an average over such deals.
3. Calibrated without an institution and tried on it: patients of another kind.

The last two need summaries of the scans alone and no network.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

# Before torch is loaded: threads that wait for each other slow all down.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from lgg import ROOT, open_lgg
from promises_judge import (
    CONFIDENCE,
    P_VALUE,
    SEED,
    TO_CALIBRATE,
    Asked,
    Looked,
    Voxels,
    by_chance,
    dealt_anew,
    institution,
    normals_of,
    on_the_split,
    without_each,
)
from wholesight.calibration import summarise
from wholesight.calibration.curve import Curve
from wholesight.cleanup import Cleanup
from wholesight.datasets import Case, DataSet
from wholesight.datasets.scans import Scans
from wholesight.detector import RECORD, Detector
from wholesight.io.files import write_text
from wholesight.metrics import eroded
from wholesight.prep.body import BODIES
from wholesight.prep.chain import body_of
from wholesight.prep.orient import axial_axis
from wholesight.recipe import Recipe
from wholesight.scan_score import scan_score
from wholesight.training.fit import fit

METHODS: Final = ("quick", "normative", "floor")
ASKED: Final = (
    Asked("percentile"),
    Asked("crc"),
    Asked("fwe"),
    Asked("fwe", share=0.05),
    Asked("fwe", min_lesion_mm3=5000.0),
    Asked("tolerance"),
    P_VALUE,
)
ALPHAS: Final = (0.01, 0.05, 0.10)
# Twenty subjects cannot show much at 0.05, so the deals have a level that suits them, too.
DEALT_ALPHAS: Final = (0.05, 0.10, 0.20)
# The smallest that the subjects of all but the largest institution allow.
SHIFT_ALPHA: Final = 0.10
PAGE: Final = ROOT / "benchmarks" / "promises.md"


class Method(NamedTuple):
    """A trained method after its looks at the calibration and the validation subjects."""

    name: str
    cleanup: Cleanup
    known: list[Looked]
    new: list[Looked]

    @property
    def together(self) -> list[Looked]:
        """All subjects that have a normal slice."""
        return [each for each in (*self.known, *self.new) if each.normal is not None]


def main() -> None:
    """Look, hold against, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--deals", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("out/promises"))
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    data = open_lgg()
    methods = [looked(name, data, arguments.out) for name in METHODS]
    text = page(methods, arguments.deals)
    print(text)
    write_text(arguments.page, text)


def looked(name: str, data: DataSet, out: Path) -> Method:
    """Train a method, unless it is there, and let it look at what it has not seen."""
    detector = trained(name, data, out)
    known = [look(detector, case, keep=False) for case in data.subset("calibration")]
    new = [look(detector, case, keep=True) for case in data.subset("validation")]
    return Method(name, detector.recipe.cleanup, known, new)


def trained(name: str, data: DataSet, out: Path) -> Detector:
    """Return the model in --out when it is of this very recipe, else train it."""
    recipe, folder = Recipe.load(name, seed=SEED), out / name / "model"
    if (folder / RECORD).is_file():
        detector = Detector.load(folder)
        if detector.recipe.resolved == recipe.resolved:
            return detector
    return fit(recipe, Scans(data.subset("train")), folder, seed=SEED, device="cpu")


def look(detector: Detector, case: Case, *, keep: bool) -> Looked:
    """Map one case. Its truth tells normal slices from others, and serves to judge.

    keep : its voxels, too.
    """
    scan = case.read()
    assert scan.abnormal is not None
    prepared = detector.recipe.prep.forward(scan)
    mapped = detector.map(scan.image, scan.inside).voxels
    anomaly = detector.recipe.cleanup.filled(mapped, prepared.body)
    normal_body, truth = prepared.normal_body(), scan.abnormal.voxels.astype(bool)
    judged = eroded(body_of(scan, BODIES["nonzero"]()), axis=axial_axis(scan.image.affine))
    seen = Voxels(mapped, prepared.body, normal_body, judged, truth, scan.image.voxel_mm3)
    normal = (
        summarise(
            anomaly,
            normal_body,
            subject=case.subject,
            site=institution(case.subject),
            slices=int((prepared.normal & prepared.inside.any(axis=(1, 2, 3))).sum()),
            whole=bool(prepared.normal.all()),
            voxel_mm3=scan.image.voxel_mm3,
        )
        if normal_body.any()
        else None
    )
    return Looked(
        subject=case.subject,
        normal=normal,
        lesion=Curve.of(anomaly[truth & judged]),
        score=scan_score(anomaly[prepared.body]),
        voxels=seen if keep else None,
    )


def page(methods: Sequence[Method], deals: int) -> str:
    """Write the Markdown page."""
    first = methods[0]
    with_normal = len(first.together)
    facts = {
        "known": len(first.known),
        "known_slices": _slices(first.known),
        "new": sum(each.normal is not None for each in first.new),
        "new_slices": _slices(first.new),
        "validation": len(first.new),
        "with_normal": with_normal,
        "calibrate": TO_CALIBRATE,
        "check": with_normal - TO_CALIBRATE,
        "deals": deals,
        "confidence": CONFIDENCE,
        "shift": SHIFT_ALPHA,
    }
    parts = [
        _ABOUT.rstrip(),
        *[_SPLIT, *split_table(methods)],
        *[_DEALS, *deals_table(methods, deals)],
        *[_SHIFT, *shift_table(methods)],
    ]
    return "\n".join([part.format(**facts) for part in parts] + [""])


def split_table(methods: Sequence[Method]) -> Iterator[str]:
    """Yield the first table: realised and cost by rule, level and method."""
    yield "| rule | alpha | method | realised | lesion voxels flagged | Dice | lesions found |"
    yield "|---|---|---|---|---|---|---|"
    for asked in ASKED:
        for alpha in ALPHAS:
            refused = asked.refusal(alpha, len(methods[0].known))
            if refused:
                yield f"| `{asked.title}` | {alpha:g} | all | {refused} | | | |"
                continue
            for method in methods:
                row = on_the_split(
                    asked, alpha, method.cleanup, normals_of(method.known), method.new
                )
                realised = f"{row.realised.mean():.3f}"
                if not asked.is_share:
                    realised += f" ({row.realised.sum():.0f} of {row.realised.size})"
                cost = " | ".join("" if np.isnan(each) else f"{each:.3f}" for each in row.cost)
                yield f"| `{asked.title}` | {alpha:g} | `{method.name}` | {realised} | {cost} |"


def deals_table(methods: Sequence[Method], deals: int) -> Iterator[str]:
    """Yield the second table: mean and spread over deals."""
    yield "| rule | alpha | ranks say | method | realised | 5 to 95 % of deals | lesion flagged |"
    yield "|---|---|---|---|---|---|---|"
    for asked in ASKED:
        for alpha in DEALT_ALPHAS:
            refused = asked.refusal(alpha, TO_CALIBRATE)
            if refused:
                yield f"| `{asked.title}` | {alpha:g} | | all | {refused} | | |"
                continue
            ranks = f"{by_chance(alpha):.3f}" if asked.rule in ("fwe", P_VALUE.rule) else ""
            for method in methods:
                least = method.cleanup.min_lesion_mm3
                dealt = dealt_anew(asked, alpha, least, method.together, deals)
                low, high = np.quantile(dealt.realised, (0.05, 0.95))
                yield (
                    f"| `{asked.title}` | {alpha:g} | {ranks} | `{method.name}` | "
                    f"{dealt.realised.mean():.3f} | {low:.3f} to {high:.3f} | "
                    f"{dealt.flagged.mean():.3f} |"
                )


def shift_table(methods: Sequence[Method]) -> Iterator[str]:
    """Yield the third table: an institution that served no calibration."""
    subjects = [institution(each.subject) for each in methods[0].together]
    places = sorted(set(subjects))
    heads = [f"{place} ({subjects.count(place)} subjects)" for place in places]
    fewest = len(subjects) - max(subjects.count(place) for place in places)
    yield f"| rule | method | {' | '.join(heads)} |"
    yield f"|---|---|{'---|' * len(places)}"
    for asked in ASKED:
        if asked.refusal(SHIFT_ALPHA, fewest):
            continue
        for method in methods:
            least = method.cleanup.min_lesion_mm3
            found = without_each(asked, SHIFT_ALPHA, least, method.together)
            cells = " | ".join(f"{found[place]:.3f}" for place in places)
            yield f"| `{asked.title}` | `{method.name}` | {cells} |"


def _slices(looked: Sequence[Looked]) -> str:
    """Return how many normal slices the subjects with any have, in words."""
    slices = [each.normal.slices for each in looked if each.normal is not None]
    return f"{min(slices)} to {max(slices)}, median {np.median(slices):g}"


_ABOUT: Final = """# What thresholds from normal scans keep, and what they cost

Written by `python benchmarks/promises.py`, on lgg-flair (CONTRIBUTING says what that is). What the
rules promise is in docs/concepts/thresholds.md; that the arithmetic keeps it where its condition
holds is simulated in benchmarks/guarantees.md. Here nothing is made up, and the condition is not
quite met: {known} calibration patients are few; a patient's slices without tumour are no healthy
subject, for they lie beside tumours and at the ends of the head; the scans come from four
institutions; and calibration patients have {known_slices} of such slices, validation patients
{new_slices}. No method or level was chosen by these figures; the share and the volume of the two
variants of `fwe` are two of seven that were tried on these patients. {validation} patients are few:
a small difference between two methods is not one.

How it reads:

- Ten subjects support alpha 0.1 and no less, and that barely: `crc` may then leave the calibration
  patients 1 % of their bodies. On the given split every promise was kept, with much to spare, and
  most of the tumours were lost for it. A promise is cheap to keep for who says nothing.
- `percentile`, which promises nothing, finds most there, and stays below its alpha: the validation
  patients are calmer than those that calibrate. Dealt anew, it flags more than its alpha in the
  mean, as a rule must that takes n subjects for all; `crc` never does, and at 0.2 finds about as
  much as `percentile` at 0.1 to 0.2.
- Dealt anew, `fwe` and p-values lie where the ranks of exchangeable patients say, within what
  {deals} deals leave to chance. A single deal says little: at alpha 0.1, anything from nobody to
  three of {check} is within nine tenths of the deals.
- `fwe` for any place at all is all but mute on these maps: the oddest spot in somebody's normal
  slices is odder than the tumours are. Asked for what matters, a share of the body or a place of
  5 ml, it leaves some of them at the same alpha. So do p-values of the oddest 1 %, but few.
- `tolerance` at 0.2 takes the oddest of {calibrate} patients, as `fwe` does at 0.05: that is the
  price of a confidence.
- Institutions are not exchangeable. Calibrated elsewhere, one (FG) has up to several times what was
  asked for, and one (DU) next to nothing, which costs tumours instead: most of the validation
  patients are its own. Nothing about a threshold tells beforehand which it will be; normals of
  one's own do. Five patients are few, and these shares are rough.
"""

_SPLIT: Final = """
## 1. The given split

Thresholds from the {known} calibration patients. *Realised*: in the normal slices of the {new} of
{validation} validation patients that have any; the flagged share of the body in the mean over
patients for `percentile` and `crc`, the share of patients in whom anything that counts is flagged
for `fwe` and `tolerance` (confidence {confidence}), of p-values <= alpha for `p-value`. *What is
left of the tumours*: voxels flagged and Dice over the set in the eroded brain, and lesions found by
the rule of docs/concepts/judging.md; for `p-value` the last column is the share of the {validation}
whole scans, each with a tumour, that are called.
"""

_DEALS: Final = """
## 2. Dealt anew

The {with_normal} patients with normal slices, {deals} times dealt into {calibrate} that calibrate
and {check} that check. Dealing makes patients exchangeable whatever they are like, so here every
promise must hold in the mean; the spread is that of the calibration set and of only {check} to
check on together. *Ranks say*: what the mean must be where no two patients tie. *Realised*: as
above, mean over deals. *Lesion flagged*: share of the lesion above the level, in the mean over the
checked patients and over deals, small places and all; for `p-value` the share of their whole scans
that are called.
"""

_SHIFT: Final = """
## 3. Without an institution

Alpha {shift}; calibrated on the patients of all institutions but one (the code in the TCGA
barcode), and realised on those of that one. Nothing is promised here: this is what happens to who
calibrates elsewhere.
"""


if __name__ == "__main__":
    main()
