"""Draw docs/images/phantom.png: what `wholesight phantom OUT --seed 0` makes.

Run from the root of the repository: python docs/make_phantom_mosaic.py
Axial slices, seen from the feet as in radiology: the patient's right is on the left.
"""

from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from wholesight.datasets.phantom import Grid, PhantomHead, case_stream, phantom_head

OUT = Path(__file__).parent / "images" / "phantom.png"
SEED, COLUMNS = 0, 6
FINE, DEFAULT = Grid((1.0, 1.0, 5.0)), Grid((2.0, 2.0, 6.0))
LEVELS_MM, VENTRICLES_MM = (-34, -14, 4, 20, 38, 56), 16
CROP_MM = (164, 196)
BACKGROUND, TEXT, QUIET, TRUTH = "#000000", "#d5d9e0", "#8d949f", "#ff6b5e"
ROWS = (
    ("one healthy head", "1 x 1 x 5 mm"),
    ("six healthy heads", "1 x 1 x 5 mm"),
    ("six with a lesion", "1 x 1 x 5 mm"),
    ("the truth", "1 x 1 x 5 mm"),
    ("by default", "2 x 2 x 6 mm"),
)


def main() -> None:
    """Make the heads, draw five rows, write the picture."""
    figure, axes = plt.subplots(len(ROWS), COLUMNS, figsize=(10.4, 10.7), facecolor=BACKGROUND)
    figure.subplots_adjust(
        left=0.055, right=0.995, top=0.98, bottom=0.012, wspace=0.02, hspace=0.08
    )
    first = make("normal", 0, FINE)
    for column, level_mm in enumerate(LEVELS_MM):
        show(axes[0, column], first, slice_at(FINE, level_mm))
        healthy = make("normal", column, FINE)
        show(axes[1, column], healthy, slice_at(FINE, VENTRICLES_MM))
        fine, coarse = make("lesion", column, FINE), make("lesion", column, DEFAULT)
        show(axes[2, column], fine, largest(fine), title=describe(fine))
        show(axes[3, column], fine, largest(fine), truth=True)
        show(axes[4, column], coarse, largest(coarse), truth=True, interpolation="nearest")
    for row, (name, spacing) in zip(axes[:, 0], ROWS, strict=True):
        place = {"rotation": 90, "va": "center", "ha": "center", "transform": row.transAxes}
        row.text(-0.22, 0.5, name, color=TEXT, fontsize=10, **place)
        row.text(-0.1, 0.5, spacing, color=QUIET, fontsize=8, **place)
    save(figure)


def make(kind: str, number: int, grid: Grid) -> PhantomHead:
    """Make one head of the cohort."""
    return phantom_head(case_stream(SEED, kind, number), lesion=kind == "lesion", grid=grid)


def slice_at(grid: Grid, z_mm: float) -> int:
    """Find the slice at a height above the commissures."""
    return round((z_mm - grid.affine[2, 3]) / grid.spacing_mm[2])


def largest(head: PhantomHead) -> int:
    """Find the slice with most of the lesion."""
    return int(np.argmax(head.abnormal.sum((0, 1))))


def describe(head: PhantomHead) -> str:
    """Say what was drawn, in a few words."""
    lesion = head.facts["lesion"]
    words = [lesion["contrast"], f"{lesion['volume_ml']:.0f} ml"]
    words += ["rim"] * (lesion["rim_mm"] > 0) + ["mass effect"] * (lesion["push_mm"] > 0)
    return ", ".join(words)


def show(
    axes: Axes,
    head: PhantomHead,
    k: int,
    *,
    truth: bool = False,
    title: str = "",
    interpolation: str = "bicubic",
) -> None:
    """Show one slice, cropped about the middle, on a window set by the whole head."""
    step_mm = 192 / len(head.image)
    i, j = (
        (n - round(mm / step_mm)) // 2 for n, mm in zip(head.image.shape, CROP_MM, strict=False)
    )
    image, abnormal = (v[i:-i, j:-j, k].T for v in (head.image, head.abnormal))
    brightest = 1.65 * np.median(head.image[head.image > 0])
    axes.imshow(image, cmap="gray", vmin=0, vmax=brightest, interpolation=interpolation)
    if truth and abnormal.any():
        axes.contour(abnormal, [0.5], colors=TRUTH, linewidths=0.8)
    axes.set_title(title, color=QUIET, fontsize=7.5, pad=2)
    axes.axis("off")


def save(figure: plt.Figure) -> None:
    """Write the picture in 256 colours: greys, and the contours' red faded into black and grey."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=100, facecolor=BACKGROUND)
    red = np.array(mpl.colors.to_rgb(TRUTH)) * 255
    faded = [t * red + (1 - t) * grey for t in np.linspace(0.1, 1, 8) for grey in range(0, 256, 32)]
    greys = np.linspace(0, 255, 256 - len(faded))[:, None].repeat(3, axis=1)
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.rint([*greys, *faded]).astype(np.uint8).tobytes())
    OUT.parent.mkdir(exist_ok=True)
    picture = Image.open(drawn).convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
    picture.save(OUT, optimize=True)


if __name__ == "__main__":
    main()
