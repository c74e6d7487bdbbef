"""File names of BIDS: in `sub-01_run-2_FLAIR.nii.gz`, entities in a fixed order, and a suffix.

After the Brain Imaging Data Structure (bids-specification.readthedocs.io). The tables are those of
its schema for images of anatomy; tests/known/test_bids_name.py holds them against it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

# Every entity, in the order in which they stand in a name.
ENTITIES: Final = (
    "sub", "tpl", "ses", "cohort", "sample", "task", "tracksys", "acq", "nuc", "voi", "ce", "trc",
    "stain", "rec", "dir", "run", "mod", "echo", "flip", "inv", "mt", "part", "proc", "hemi",
    "space", "split", "recording", "chunk", "atlas", "seg", "scale", "res", "den", "label", "desc",
)  # fmt: skip
# Those whose value is a whole number.
_NUMBERED: Final = ("chunk", "echo", "flip", "inv", "run", "split")
# What is legal in the name of an image of anatomy, raw or prepared.
_OF_IMAGES: Final = frozenset(
    ("sub", "ses", "task", "acq", "ce", "rec", "run", "space", "chunk", "res", "desc")
)
_WEIGHTED: Final = (
    "T1w", "T2w", "PDw", "T2starw", "FLAIR", "inplaneT1", "inplaneT2", "PDT2", "angio", "T2star",
    "FLASH", "PD",
)  # fmt: skip
_PARAMETRIC: Final = (
    "T1map", "T2map", "T2starmap", "R1map", "R2map", "R2starmap", "PDmap", "MTRmap", "MTsat",
    "UNIT1", "T1rho", "MWFmap", "MTVmap", "Chimap", "S0map", "M0map",
)  # fmt: skip
# suffix -> the entities that may stand before it. Masks may have all of them, so that what is
# written for such an image has a legal name too.
IMAGES: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(_WEIGHTED, _OF_IMAGES | {"echo", "part"}),
    **dict.fromkeys(_PARAMETRIC, _OF_IMAGES),
}

_VALUE: Final = re.compile(r"[0-9a-zA-Z+]+")
_SUFFIX: Final = re.compile(r"[0-9a-zA-Z]+")


class BidsName(NamedTuple):
    """A file's name without its ending. entities : {short name: value}, in the order of BIDS."""

    entities: Mapping[str, str]
    suffix: str

    @property
    def id(self) -> str:
        """The entities as they stand in the name."""
        return "_".join(f"{entity}-{value}" for entity, value in self.entities.items())

    @property
    def text(self) -> str:
        """The whole name, without an ending."""
        return f"{self.id}_{self.suffix}"

    @property
    def folder(self) -> str:
        """Where an image of anatomy lies, from the data set's root: sub-01/ses-1/anat."""
        parts = (
            f"{name}-{self.entities[name]}" for name in ("sub", "ses") if name in self.entities
        )
        return "/".join([*parts, "anat"])

    @property
    def is_image(self) -> bool:
        """Whether it is the name of an image of anatomy, such as a T1w or a FLAIR."""
        return self.suffix in IMAGES and self.entities.keys() <= IMAGES[self.suffix]

    def altered(self, suffix: str, **entities: str) -> BidsName:
        """Return the name with another suffix and further entities; those of before are replaced.

        >>> parse("sub-01_chunk-2_T1w").altered("mask", space="orig").text
        'sub-01_space-orig_chunk-2_mask'
        """
        both = {**self.entities, **entities}
        return BidsName({name: both[name] for name in ENTITIES if name in both}, suffix)


def parse(text: str) -> BidsName | None:
    """Take a name without its ending apart; None where it is not one of a subject's files in BIDS.

    >>> parse("sub-01_run-2_FLAIR")
    BidsName(entities={'sub': '01', 'run': '2'}, suffix='FLAIR')
    >>> parse("sub-01_flair-x"), parse("sub-01_run-2_acq-a_FLAIR"), parse("case7_flair")
    (None, None, None)
    """
    *pairs, suffix = text.split("_")
    split = [pair.partition("-") for pair in pairs]
    entities = {entity: value for entity, _, value in split}
    in_order = [entity for entity in ENTITIES if entity in entities]
    if (
        next(iter(entities), None) != "sub"
        or [entity for entity, _, _ in split] != in_order  # unknown, twice, or in another order
        or not all(map(_VALUE.fullmatch, entities.values()))
        or not all(entities[name].isdecimal() for name in _NUMBERED if name in entities)
        or not _SUFFIX.fullmatch(suffix)
    ):
        return None
    return BidsName(entities, suffix)
