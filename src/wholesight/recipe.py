"""A recipe file <-> the objects it describes.

A constructor's signature is the schema: a mapping's keys are its keyword arguments, `kind` picks
the class from a registry, and what the annotation is decides how a value is read. So a new class is
one registry line here. Unknown keys are errors, and the resolved recipe, with every default written
out, is what is saved with a model.
"""

from __future__ import annotations

import inspect
import math
import typing
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError

from wholesight.attention import ATTENTIONS, TARGETS, Attention, Target
from wholesight.cleanup import Cleanup
from wholesight.errors import RecipeError, nearest
from wholesight.methods import METHODS
from wholesight.methods.method import Method
from wholesight.nn import CODERS
from wholesight.nn.coder import Coder
from wholesight.nn.noise import NOISES, Noise
from wholesight.objective.constraints import CONSTRAINTS, Constraint
from wholesight.objective.contrast import CONTRASTS, Contrast
from wholesight.objective.penalties import PENALTIES, Penalty
from wholesight.prep.body import BODIES, Body
from wholesight.prep.chain import Prep
from wholesight.prep.intensity import INTENSITIES, Intensity
from wholesight.recipe_file import locate, override, read, shipped

# What `kind` chooses among.
REGISTRIES: Final[dict[type, dict[str, Any]]] = {
    Attention: ATTENTIONS,
    Body: BODIES,
    Coder: CODERS,
    Constraint: CONSTRAINTS,
    Contrast: CONTRASTS,
    Intensity: INTENSITIES,
    Method: METHODS,
    Noise: NOISES,
    Penalty: PENALTIES,
    Target: TARGETS,
}

# How long training takes on two CPU cores.
Cost = Literal["nothing", "seconds", "minutes", "hours", "days"]
COSTS: Final = typing.get_args(Cost)

# What a recipe says of itself when it says nothing; the method has a reference of its own.
_ABOUT: Final = {"name": "unnamed", "summary": "", "reference": "", "cost": "minutes"}

# Stated once at the top of a recipe and handed to every part that asks for it.
SHARED: Final = ("size", "channels")
_LARGEST: Final = 2**31  # no option means more, and torch takes no whole number of any length
_KEYS: Final = (*_ABOUT, *SHARED, "prep", "method", "training", "cleanup")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a method is trained. Adam; the batch order follows from the seed.

    epochs : passes over the normal training slices. decay : of the learning rate, "cosine" to zero
    at the last epoch or "none" (as published). betas : Adam's decay of the gradient's mean and
    square; critics are trained with (0, 0.9). min_body_share : slices whose body fills less
    of the field are left out of training (the crown and the base hold little but their rim).
    gradient_clip : largest norm of the gradient, null for no clipping.
    """

    epochs: int
    batch: int = 16
    learning_rate: float = 1e-3
    decay: Literal["none", "cosine"] = "none"
    betas: Sequence[float] = (0.9, 0.999)
    gradient_clip: float | None = None
    min_body_share: float = 0.05

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs is {self.epochs}, legal is 1 or more")
        if self.batch < 2:
            raise ValueError(f"batch is {self.batch}, legal is 2 or more, for batch norm")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}, legal is > 0")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are {list(self.betas)}, legal are two with 0 <= beta < 1")
        if self.gradient_clip is not None and self.gradient_clip <= 0:
            raise ValueError(f"gradient_clip is {self.gradient_clip}, legal is > 0 or null")
        if not 0 <= self.min_body_share < 1:
            raise ValueError(f"min_body_share is {self.min_body_share}, legal is 0 <= share < 1")

    def rate(self, epoch: float) -> float:
        """Return the learning rate at a (fractional) epoch."""
        if self.decay == "none":
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything a detector is made of, and how to train it.

    resolved : the recipe as plain data with every default written out; `Recipe.from_dict` of it
    gives the same recipe. doubts : what is legal and cannot do what it is for; `load` warns of it.
    reference : where the setting was published, the method's own unless the recipe says otherwise.
    cost : of training, on two CPU cores.
    """

    name: str
    summary: str
    reference: str
    cost: Cost
    prep: Prep
    method: Method
    training: Training
    cleanup: Cleanup
    resolved: dict[str, Any]
    doubts: tuple[str, ...]

    @classmethod
    def from_dict(
        cls, spec: Mapping[str, Any], *, seed: int = 0, folder: Path | None = None
    ) -> Recipe:
        """Build a recipe, its network's weights drawn from the seed.

        folder : where recipe files that it nests are looked for, the working folder unless told.
        Raises RecipeError that names the key, the value and the legal ones.
        """
        if not isinstance(spec, Mapping):
            raise RecipeError(f"a recipe is a mapping with the key method, not {spec!r}.")
        try:
            return cls._built(spec, seed, folder or Path())
        except RecursionError as fault:
            raise RecipeError(
                "the recipe is nested too deeply: does a part hold itself?"
            ) from fault

    @classmethod
    def _built(cls, spec: Mapping[str, Any], seed: int, folder: Path) -> Recipe:
        _refuse_unknown(spec, _KEYS, "recipe")
        resolved = {key: spec[key] for key in (*_ABOUT, *SHARED) if key in spec}
        builder = _Builder({key: spec[key] for key in SHARED if key in spec}, resolved, folder)
        about = {
            key: builder.build(Cost if key == "cost" else str, spec.get(key, default), key)[0]
            for key, default in _ABOUT.items()
        }
        parts: dict[str, Any] = {}
        for key, kind in (
            ("prep", Prep),
            ("method", Method),
            ("training", Training),
            ("cleanup", Cleanup),
        ):
            # Forked, so that building a recipe leaves the caller's random numbers alone.
            with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
                torch.manual_seed(seed)
                parts[key], resolved[key] = builder.build(kind, spec.get(key, {}), key)
        _require_fitting(parts["method"], parts["prep"], parts["training"])
        return cls(
            name=about["name"],
            summary=about["summary"],
            reference=spec.get("reference", parts["method"].reference),
            cost=about["cost"],
            resolved=resolved,
            doubts=(
                *parts["method"].doubts(parts["training"].epochs),
                *builder.doubts(parts["training"]),
            ),
            **parts,
        )

    @classmethod
    def load(cls, name: str, overrides: Sequence[str] = (), *, seed: int = 0) -> Recipe:
        """Load a shipped recipe by name or a recipe file by path, with `key=value` overrides."""
        path = locate(name)
        spec = read(path)
        for change in overrides:
            override(spec, change)
        recipe = cls.from_dict(spec, seed=seed, folder=path.parent)
        for doubt in recipe.doubts:
            warnings.warn(doubt, stacklevel=2)
        return recipe


def _require_fitting(method: Method, prep: Prep, training: Training) -> None:
    """Refuse parts that are each legal and do not go together."""
    if method.unit_range and not prep.intensity.unit_range:
        raise RecipeError(
            "prep.intensity: gives values beyond [0, 1], which this method cannot take. Legal: "
            "equalise, histogram-match, maximum, mode with a top, percentile."
        )
    if training.epochs <= method.last_start:
        raise RecipeError(
            f"training.epochs: {training.epochs} is too few, a part of this method starts after "
            f"{method.last_start:g} epochs (its warmup_epochs or encoder_start). Train longer, or "
            "let it start earlier."
        )
    most = 0 if prep.intensity.learns else 1 if method.one_channel else len(prep.channels)
    if len(prep.channels) > most:
        raise RecipeError(
            "channels: this method or this intensity, or a part of it, takes one image, not "
            f"{', '.join(prep.channels)}. Leave channels out to take the image alone."
        )
    # Square.
    size = prep.slices.size
    given = (max(len(prep.channels), 1), size, size)
    if method.slice_shape not in (None, given):
        raise RecipeError(
            f"method: takes slices of {method.slice_shape}, but prep gives {given}. State size and "
            "channels once, at the top of the recipe."
        )


class Listed(NamedTuple):
    """A shipped recipe as its file describes it, nothing built."""

    name: str
    method: str
    summary: str
    reference: str
    cost: str


def catalogue() -> list[Listed]:
    """Return what the shipped recipes say of themselves, by name."""
    specs = {name: read(path) for name, path in shipped().items()}
    return [
        Listed(
            name=name,
            method=spec["method"]["kind"],
            summary=spec["summary"],
            reference=spec.get("reference", METHODS[spec["method"]["kind"]].reference),
            cost=spec.get("cost", _ABOUT["cost"]),
        )
        for name, spec in specs.items()
    ]


class _Builder:
    """Builds objects from plain data by the annotations of their constructors."""

    def __init__(
        self, shared: Mapping[str, Any], resolved: Mapping[str, Any], folder: Path
    ) -> None:
        self.shared = shared
        self.resolved = resolved
        self.folder = folder
        self.nested: list[Path] = []
        self.betas: dict[str, list[float]] = {}

    def build(self, annotation: Any, value: Any, key: str) -> tuple[Any, Any]:
        """Return the object and its resolved plain form."""
        if annotation in REGISTRIES:
            return self._choose(REGISTRIES[annotation], value, key)
        if typing.get_origin(annotation) is Sequence:
            return self._list(typing.get_args(annotation)[0], value, key)
        if inspect.isclass(annotation) and annotation.__module__.startswith("wholesight."):
            return self._construct(annotation, value, key)
        return self._plain(annotation, value, key)

    def _choose(self, registry: dict[str, Any], value: Any, key: str) -> tuple[Any, Any]:
        # A default is an object of the registry, as its class makes it without options.
        value = next((name for name, member in registry.items() if type(value) is member), value)
        options = {"kind": value} if isinstance(value, str) else value
        if registry is METHODS and isinstance(options, Mapping) and "recipe" in options:
            return self._nested(options, key)
        if not isinstance(options, Mapping) or "kind" not in options:
            raise RecipeError(
                f"{key}: {options!r} names no kind. Legal: {', '.join(sorted(registry))}."
            )
        kind = options["kind"]
        if not isinstance(kind, str) or kind not in registry:
            raise RecipeError(f"{key}.kind: '{kind}' is unknown. {nearest(str(kind), registry)}")
        rest = {name: option for name, option in options.items() if name != "kind"}
        built, resolved = self._construct(registry[kind], rest, key)
        return built, {"kind": kind, **resolved}

    def _nested(self, options: Mapping[str, Any], key: str) -> tuple[Any, Any]:
        """Build the method of another recipe, which has to prepare slices like this one.

        It is trained as this recipe says; of the other's training, betas are compared alone, since
        critics do not learn with those of others.
        """
        if len(options) > 1:
            more = ", ".join(sorted(str(name) for name in options if name != "recipe"))
            raise RecipeError(
                f"{key}: {more} beside 'recipe'. To change a nested recipe, write its method out "
                "instead: kind and options."
            )
        path = locate(str(options["recipe"]), self._beside()).resolve()
        if path in self.nested:
            raise RecipeError(f"{key}.recipe: '{options['recipe']}' nests itself.")
        spec = read(path)
        _refuse_unknown(spec, _KEYS, f"{key}.recipe: {options['recipe']}")
        # In this recipe's size: what is stated once at the top is handed to every part.
        _, prep = self.build(Prep, spec.get("prep", {}), f"{key}.prep")
        if prep != self.resolved["prep"]:
            raise RecipeError(
                f"{key}.recipe: '{options['recipe']}' prepares slices otherwise than this recipe: "
                f"{_differences(prep, self.resolved['prep'])}. Give both the same prep."
            )
        training, _ = self.build(Training, spec.get("training", {}), f"{key}.training")
        self.betas[f"{key}.recipe: {options['recipe']}"] = list(training.betas)
        self.nested.append(path)
        try:
            return self._choose(METHODS, spec.get("method", {}), key)
        finally:
            self.nested.pop()

    def _beside(self) -> Path:
        """Return the folder of the file that is being read."""
        return self.nested[-1].parent if self.nested else self.folder

    def doubts(self, training: Training) -> list[str]:
        """Return what to say of nested recipes that are trained otherwise than they ask for."""
        own = list(training.betas)
        return [
            f"{part} is made for training.betas {betas}, and will be trained with {own}, those of "
            "the recipe it is nested in."
            for part, betas in self.betas.items()
            if betas != own
        ]

    def _list(self, annotation: Any, value: Any, key: str) -> tuple[Any, Any]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise RecipeError(f"{key}: a list is needed here, not {value!r}.")
        pairs = [self.build(annotation, item, f"{key}.{n}") for n, item in enumerate(value)]
        return [built for built, _ in pairs], [resolved for _, resolved in pairs]

    def _construct(self, cls: Any, value: Any, key: str) -> tuple[Any, Any]:
        # A default is an object of the class, as it is made without options.
        value = {} if type(value) is cls else value
        if not isinstance(value, Mapping):
            raise RecipeError(f"{key}: options are needed here, not {value!r}.")
        parameters = _parameters(cls)
        _refuse_unknown(value, parameters, key)
        arguments, resolved = {}, {}
        for name, (annotation, default) in parameters.items():
            option = value[name] if name in value else self._handed(name, annotation, default)
            if option is inspect.Parameter.empty:
                raise RecipeError(f"{key}.{name} is missing, and has no default.")
            arguments[name], plain = self.build(annotation, option, f"{key}.{name}")
            if name not in self.shared or name in value:
                resolved[name] = plain
        try:
            return cls(**arguments), resolved
        except (ValueError, RuntimeError, OverflowError) as fault:
            # A network that no memory can hold is a RuntimeError.
            raise RecipeError(f"{key}: {str(fault).splitlines()[0]}.") from fault

    def _handed(self, name: str, annotation: Any, default: Any) -> Any:
        """Return what is stated at the top of the recipe, else the default."""
        # What names channels to the preparation, which is built first, is a number to a network.
        counted = name == "channels" and annotation is int and name in self.shared
        return len(self.shared[name]) if counted else self.shared.get(name, default)

    def _plain(self, annotation: Any, value: Any, key: str) -> tuple[Any, Any]:
        try:
            read = TypeAdapter(annotation, config=ConfigDict(strict=True)).validate_python(value)
        except ValidationError as fault:
            reason = "; ".join(error["msg"] for error in fault.errors()[:2])
            raise RecipeError(f"{key}: {value!r} is not legal. {reason}.") from fault
        if isinstance(read, int | float) and not -_LARGEST < read < _LARGEST:
            raise RecipeError(f"{key}: {value!r} is not legal, a finite number < 2^31 is needed.")
        return read, read


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], key: str = "prep") -> str:
    """Say where two nested mappings differ, by full key."""
    told = []
    for name in dict.fromkeys([*one, *other]):
        there, here = one.get(name), other.get(name)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            told.append(_differences(there, here, f"{key}.{name}"))
        elif here != there:
            told.append(f"{key}.{name} is {there} there and {here} here")
    return ", ".join(filter(None, told))


def _parameters(cls: Any) -> dict[str, tuple[Any, Any]]:
    """Return each constructor argument with its annotation and default."""
    signature = inspect.signature(cls)
    hints = typing.get_type_hints(cls.__init__)
    return {
        name: (hints[name], parameter.default) for name, parameter in signature.parameters.items()
    }


def _refuse_unknown(given: Mapping[str, Any], legal: Any, key: str) -> None:
    for name in given:
        if name not in legal:
            hint = nearest(str(name), legal) if legal else "There are no options here."
            raise RecipeError(f"{key}: '{name}' is unknown. {hint}")
