"""A suite file: which methods are compared, on what terms. Read strictly, before anything runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from wholesight.calibration import RULES
from wholesight.errors import UsageError, nearest
from wholesight.prep.body import BODIES
from wholesight.recipe_file import locate, read

# A method's name is the name of a folder.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class _Part(BaseModel):
    """A mapping of a suite file: unknown keys are errors, and a "3" is no 3."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class Entry(_Part):
    """A method: what to call it, the recipe it is, and what is changed in the recipe.

    overrides : `set` in the file, a list of key=value as `fit --set` takes them.
    train_subjects : so many of the training subjects, drawn anew for each seed; None takes all.
    """

    name: str
    recipe: str
    overrides: list[str] = Field(default=[], alias="set")
    train_subjects: int | None = Field(default=None, ge=1)

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("a name is of letters, digits, '-', '_' and '.', and begins with none")
        return name


class Split(_Part):
    """A split of one's own: so many subjects each, dealt out by the seed."""

    train: int = Field(ge=1)
    calibration: int = Field(ge=0)
    test: int = Field(ge=1)
    seed: int = Field(default=0, ge=0)


class Folds(_Part):
    """Cross-validation by subject: everybody is judged once, by a model that has not seen them.

    number : of folds, dealt out by the seed to nearly equal size, whatever the data's own split.
    calibration : so many of a fold's other subjects set the threshold; the rest train.
    """

    number: int = Field(ge=2)
    calibration: int = Field(ge=0)
    seed: int = Field(default=0, ge=0)


class Exclude(_Part):
    """Judged cases that are left out, all decided before training, whatever any method says.

    min_lesion_share : cases whose lesion is a smaller share of the body are left out; above 0,
    normal cases are too.
    """

    min_lesion_share: float = Field(default=0.0, ge=0, lt=1)


class Stress(_Part):
    """Heads to make: one lesion each, of every volume in ml and every contrast, so many times."""

    kind: Literal["phantom-stress"]
    normal: int = Field(ge=1)
    volumes_ml: list[float] = Field(min_length=1)
    contrasts: list[float] = Field(min_length=1)
    repeats: int = Field(ge=1)
    seed: int = Field(default=0, ge=0)


class Suite(_Part):
    """What is compared, and how it is judged.

    Attributes
    ----------
    name, summary, question : what it is called, what it does, and what it is to answer.
    reference : the method that all others are compared with.
    methods : in the order of the report.
    seeds : trainings of every method that learns.
    rule, alpha : how every threshold is set, on normal slices of the calibration subjects.
    body : the rule by which the body is found in which all are judged.
    exclude : which cases are left out.
    subset : the subjects that are judged unless the command says otherwise; None takes test where a
        data set has it, else validation.
    modality : the image of each case, where a data set has several.
    split : own split of the data, or None for the data's own.
    folds : cross-validation in place of a split, or None.
    slices : the first and last axial slice that belong to the study, counted from 0 in the file.
    data : data that the suite makes itself, or None.
    needs : which data to get and how they must lie, said where none are given.
    """

    name: str
    summary: str
    question: str
    reference: str
    methods: list[Entry] = Field(min_length=1)
    seeds: int = Field(default=3, ge=1)
    rule: str = "percentile"
    alpha: float = Field(default=0.05, gt=0, lt=1)
    body: str = "nonzero"
    exclude: Exclude = Exclude()
    subset: Literal["validation", "test"] | None = None
    modality: str | None = None
    split: Split | None = None
    folds: Folds | None = None
    slices: list[int] | None = None
    data: Stress | None = None
    needs: str = ""

    @field_validator("name")
    @classmethod
    def _is_no_path(cls, name: str) -> str:
        if Path(name).name != name or name in ("", ".."):
            raise ValueError("write a name, not a path")
        return name

    @field_validator("methods", mode="before")
    @classmethod
    def _from_names(cls, methods: Any) -> Any:
        """`quick` is short for `{name: quick, recipe: quick}`."""
        if not isinstance(methods, list):
            return methods
        return [{"name": m, "recipe": m} if isinstance(m, str) else m for m in methods]

    @field_validator("rule", "body")
    @classmethod
    def _is_known(cls, value: str, info: Any) -> str:
        legal = RULES if info.field_name == "rule" else BODIES
        if value not in legal:
            raise ValueError(nearest(value, legal))
        return value

    @field_validator("slices")
    @classmethod
    def _is_range(cls, slices: list[int] | None) -> list[int] | None:
        if slices is not None and not (len(slices) == 2 and 0 <= slices[0] <= slices[1]):
            raise ValueError("write [first, last], counted from 0")
        return slices

    @model_validator(mode="after")
    def _fits_together(self) -> Suite:
        names = [entry.name for entry in self.methods]
        twice = [name for name in names if [n.lower() for n in names].count(name.lower()) > 1]
        if twice:
            raise ValueError(f"methods: '{twice[0]}' stands there twice; give each its own name")
        if self.reference not in names:
            raise ValueError(f"reference: no method is called '{self.reference}'. {_legal(names)}")
        if self.split and self.subset == "validation":
            raise ValueError("subset: a suite with a split of its own judges on test")
        if self.folds and self.split:
            raise ValueError("folds: they deal out all subjects, as split does; leave out one")
        if self.folds and self.subset:
            raise ValueError("subset: a suite with folds judges all subjects; leave it out")
        return self

    def require_subset(self, asked: str | None) -> None:
        """Refuse a --subset that the suite does not judge on. Raises UsageError."""
        if self.split and asked == "validation":
            raise UsageError(
                f"--subset {asked}: suite {self.name} splits the data itself, and judges on test."
            )
        if self.folds and asked:
            raise UsageError(
                f"--subset {asked}: suite {self.name} judges all subjects, in "
                f"{self.folds.number} folds. Leave out --subset."
            )


# Which part a key belongs to, to say what is legal beside it.
_PARTS: Final[dict[str, type[_Part]]] = {
    "methods": Entry,
    "exclude": Exclude,
    "split": Split,
    "folds": Folds,
    "data": Stress,
}


# What pydantic says in words of Python.
_SHAPES: Final = {
    "model_type": "Write a mapping, {name: ..., recipe: ...} for a method",
    "list_type": "Write a list, [..., ...]",
    "string_type": "Write a word",
}


def load_suite(name: str) -> Suite:
    """Read a shipped suite by name, or a file of one's own by path.

    Recipe files that it names are looked for beside it. Raises UsageError that names the key, the
    value and the legal ones.
    """
    path = locate(name, kind="suite")
    spec = read(path, kind="suite")
    if not all(isinstance(key, str) for key in spec):
        raise UsageError(f"{path}: a suite is a mapping with the keys question, methods, ...")
    try:
        suite = Suite.model_validate(spec)
    except ValidationError as fault:
        raise UsageError(f"{path}: {_told(fault)}") from fault
    return suite.model_copy(update={"methods": [_beside(path, e) for e in suite.methods]})


def _beside(path: Path, entry: Entry) -> Entry:
    if Path(entry.recipe).suffix not in (".yaml", ".yml"):
        return entry
    return entry.model_copy(update={"recipe": str(path.parent / entry.recipe)})


def _told(fault: ValidationError) -> str:
    """Say what is wrong first, with its key, its value and what is legal."""
    # A key that is misspelt is missing too; which it was meant to be, its own message says.
    error = min(fault.errors(), key=lambda each: each["type"] != "extra_forbidden")
    *before, last = error["loc"] or ("",)
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        part = _PARTS[str(before[0])] if before else Suite
        legal = [field.alias or name for name, field in part.model_fields.items()]
        return f"'{key}' is unknown. {nearest(str(last), legal)}"
    if error["type"] == "missing":
        return f"'{key}' is missing, and has no default."
    reason = _SHAPES.get(error["type"]) or error["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{key}: {error['input']!r} is not legal. {reason}." if key else f"{reason}."


def _legal(names: Sequence[str]) -> str:
    return f"Legal: {', '.join(names)}"
