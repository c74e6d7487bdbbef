"""Where what is written for one scan goes: beside each other, or as a derivative of BIDS."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from wholesight.io.bids_name import parse
from wholesight.io.formats import output_names


class Outputs(NamedTuple):
    """The files of one scan, relative to the folder of the run.

    record : the JSON that says that all of it is there; written last. sidecar : the JSON that BIDS
    wants beside the map; None elsewhere. Beside a BIDS mask the record is that JSON.
    """

    anomaly: str
    mask: str
    record: str
    sidecar: str | None = None

    @property
    def before_record(self) -> list[str]:
        """What must be there before the record is."""
        return [self.anomaly, self.mask, *([self.sidecar] if self.sidecar else [])]

    @property
    def all(self) -> list[str]:
        """Every file."""
        return [*self.before_record, self.record]


def flat(stem: str, source: Path) -> Outputs:
    """Return the files of a scan that lies in `source`.

    >>> flat("x", Path("x.nii.gz"))[:3]
    ('x_anomaly.nii.gz', 'x_mask.nii.gz', 'x.json')
    """
    return Outputs(**output_names(stem, source), record=f"{stem}.json")


def derivative(stem: str, *, unit: bool) -> Outputs:
    """Return the files of an image with a name of BIDS, as a derivative data set has them.

    unit : whether its map lies in [0, 1]. Only then BIDS allows to call it a probseg; else it is
    called as the image is, with desc-anomaly, the one legal name that BIDS has for any float.
    An image that is in a space keeps it. Raises ValueError for another name.

    >>> derivative("sub-01_T1w", unit=False).anomaly
    'sub-01/anat/sub-01_space-orig_desc-anomaly_T1w.nii.gz'
    >>> derivative("sub-01_ses-1_T1w", unit=True).anomaly
    'sub-01/ses-1/anat/sub-01_ses-1_space-orig_label-anomaly_probseg.nii.gz'
    """
    name = parse(stem)
    if name is None or not name.is_image:
        raise ValueError(f"{stem} is not the name of an image of BIDS")
    space = name.entities.get("space", "orig")
    mask = name.altered("mask", space=space, label="anomaly")
    # Two images that differ in `desc` alone have two maps.
    desc = f"{name.entities['desc']}Anomaly" if "desc" in name.entities else "anomaly"
    anomaly = mask._replace(suffix="probseg") if unit else name.altered(
        name.suffix, space=space, desc=desc
    )  # fmt: skip
    at_mask, at_map = f"{name.folder}/{mask.text}", f"{name.folder}/{anomaly.text}"
    return Outputs(
        f"{at_map}.nii.gz", f"{at_mask}.nii.gz", f"{at_mask}.json", sidecar=f"{at_map}.json"
    )


def is_own_map(desc: str) -> bool:
    """Whether a map of ours is called so, by its entity `desc`.

    >>> is_own_map("anomaly"), is_own_map("preprocAnomaly"), is_own_map("preproc")
    (True, True, False)
    """
    return desc == "anomaly" or desc.endswith("Anomaly")
