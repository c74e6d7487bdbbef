"""Draw docs/images/demo.png from what `make demo` leaves in out/demo.

Run from the root of the repository: python docs/make_demo_picture.py [out/demo]
Axial slices, seen from the feet as in radiology: the patient's right is on the left.
"""

import sys
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from wholesight.io.nifti import read, read_mask
from wholesight.prep.orient import canonical
from wholesight.volume import Volume

OUT = Path(__file__).parent / "images" / "demo.png"
ROWS = ("scan, lesion outlined", "anomaly map", "mask, threshold from normals")
BACKGROUND, TEXT, TRUTH, FOUND = "#000000", "#d5d9e0", "#f2c14e", "#4ea8de"


def main() -> None:
    """Read the demo's test heads, draw a column for each."""
    demo = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out/demo")
    maps = sorted((demo / "maps").glob("*_anomaly.nii.gz"))
    if not maps:
        sys.exit(f"{demo}: no maps here. Run make demo first.")
    figure = Figure(figsize=(2.4 * len(maps), 2.55 * len(ROWS)), facecolor=BACKGROUND)
    axes = figure.subplots(len(ROWS), len(maps), squeeze=False)
    figure.subplots_adjust(left=0.05, right=1, top=1, bottom=0, wspace=0.02, hspace=0.02)
    for column, path in enumerate(maps):
        draw_case(axes[:, column], demo, path)
    for axis, name in zip(axes[:, 0], ROWS, strict=True):
        place = {"rotation": 90, "va": "center", "ha": "center", "transform": axis.transAxes}
        axis.text(-0.09, 0.5, name, color=TEXT, fontsize=10, **place)
    save(figure)


def draw_case(axes: np.ndarray, demo: Path, path: Path) -> None:
    """Draw scan, map and mask of one head at the slice with most of its lesion."""
    scan = path.name.removesuffix("_anomaly.nii.gz")
    folder = demo / "heads" / scan.removesuffix("_flair")
    truth = upright(read_mask(folder / f"{scan.removesuffix('_flair')}_seg.nii.gz"))
    k = int(np.argmax(truth.sum(axis=(0, 1))))
    image = upright(read(folder / f"{scan}.nii.gz"))
    rows = np.flatnonzero((image > 0).any(axis=(1, 2)))
    shown = slice(max(rows[0] - 3, 0), rows[-1] + 4)
    truth, image = truth[shown, :, k], image[shown, :, k]
    anomaly = upright(read(path))[shown, :, k]
    mask = upright(read_mask(path.with_name(f"{scan}_mask.nii.gz")))[shown, :, k]
    for axis in axes:
        axis.axis("off")
        axis.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image, 99.8))
    outline(axes[0], truth, TRUTH)
    # 1 is attention as usual in this slice's body.
    axes[1].imshow(np.where(image > 0, anomaly, np.nan), cmap="magma", vmin=0.6, vmax=1.7)
    outline(axes[1], truth, TRUTH)
    axes[2].imshow(np.where(mask, 1.0, np.nan), cmap=mpl.colors.ListedColormap([FOUND]), alpha=0.6)
    outline(axes[2], truth, TRUTH)


def upright(volume: Volume) -> np.ndarray:
    """Turn a volume: rows from anterior to posterior, columns from the patient's right to left."""
    return canonical(volume.voxels, volume.affine).voxels[::-1, ::-1].transpose(1, 0, 2)


def outline(axis: Axes, region: np.ndarray, colour: str) -> None:
    """Draw the border of a region."""
    if region.any():
        axis.contour(region, levels=[0.5], colors=colour, linewidths=1.2)


def save(figure: Figure) -> None:
    """Write the picture with a palette: grey scans and one colour map need no more."""
    buffer = BytesIO()
    figure.savefig(buffer, dpi=110, facecolor=BACKGROUND)
    buffer.seek(0)
    OUT.parent.mkdir(exist_ok=True)
    Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        OUT, optimize=True
    )


if __name__ == "__main__":
    main()
