"""A recipe file <-> the objects it describes.

A constructor's signature is the schema: a mapping's keys are its keyword arguments, `kind` picks
the class from a registry, and what the annotation is decides how a value is read. Nothing about a
particular class stands here, so a new class is one registry line. Unknown keys are errors, and the
resolved recipe, with every default written out, is what is saved with a model.
"""

from __future__ import annotations

import inspect
import math
import re
import typing
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
import yaml
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
from wholesight.objective.penalties import PENALTIES, Penalty
from wholesight.prep.body import BODIES, Body
from wholesight.prep.chain import Prep
from wholesight.prep.intensity import INTENSITIES, Intensity

# What `kind` chooses among.
REGISTRIES: Final[dict[type, dict[str, Any]]] = {
    Attention: ATTENTIONS,
    Body: BODIES,
    Coder: CODERS,
    Constraint: CONSTRAINTS,
    Intensity: INTENSITIES,
    Method: METHODS,
    Noise: NOISES,
    Penalty: PENALTIES,
    Target: TARGETS,
}

# How long training takes on two CPU cores.
Cost = Literal["nothing", "seconds", "minutes", "hours", "days"]
COSTS: Final = typing.get_args(Cost)

_COST: Final = "minutes"

# Stated once at the top of a recipe and handed to every part that asks for it.
SHARED: Final = ("size",)


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
        if self.epochs < 1 or self.batch < 2 or self.learning_rate <= 0:
            raise ValueError("legal is epochs >= 1, batch >= 2 (batch norm), learning_rate > 0")
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
    gives the same recipe. reference : where the setting was published, the method's own unless the
    recipe says otherwise. cost : of training, on two CPU cores.
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

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any], *, seed: int = 0) -> Recipe:
        """Build a recipe, its network's weights drawn from the seed.

        Raises RecipeError that names the key, the value and the legal ones.
        """
        about = ("name", "summary", "reference", "cost")
        _refuse_unknown(spec, (*about, *SHARED, "prep", "method", "training", "cleanup"), "recipe")
        resolved = {key: spec[key] for key in (*about, *SHARED) if key in spec}
        builder = _Builder({key: spec[key] for key in SHARED if key in spec}, resolved)
        cost, _ = builder.build(Cost, spec.get("cost", _COST), "cost")
        parts: dict[str, Any] = {}
        for key, kind in (
            ("prep", Prep),
            ("method", Method),
            ("training", Training),
            ("cleanup", Cleanup),
        ):
            # Forked, so that building a recipe leaves the caller's random numbers alone.
            with torch.random.fork_rng(devices=()):
                torch.manual_seed(seed)
                parts[key], resolved[key] = builder.build(kind, spec.get(key, {}), key)
        _require_fitting(parts["method"], parts["prep"], parts["training"])
        for part, betas in builder.betas.items():
            if betas != list(parts["training"].betas):
                warnings.warn(
                    f"{part} is made for training.betas {betas}, and will be trained with "
                    f"{list(parts['training'].betas)}, those of the recipe it is nested in.",
                    stacklevel=2,
                )
        return cls(
            name=str(spec.get("name", "unnamed")),
            summary=str(spec.get("summary", "")),
            reference=str(spec.get("reference", parts["method"].reference)),
            cost=cost,
            resolved=resolved,
            **parts,
        )

    @classmethod
    def load(cls, name: str, overrides: Sequence[str] = (), *, seed: int = 0) -> Recipe:
        """Load a shipped recipe by name or a recipe file by path, with `key=value` overrides."""
        spec = _read(_locate(name))
        for override in overrides:
            _override(spec, override)
        return cls.from_dict(spec, seed=seed)


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
            f"{method.last_start:g} epochs. Train longer, or let it start earlier."
        )
    # One channel, square.
    size = prep.slices.size
    if method.slice_shape not in (None, (1, size, size)):
        raise RecipeError(
            f"method: takes slices of {method.slice_shape}, but prep gives (1, {size}, {size}). "
            "State the size once, at the top of the recipe."
        )


def shipped() -> dict[str, Path]:
    """Return the recipes that come with wholesight, by name."""
    here = Path(__file__).parent
    # In the wheel they lie inside the package, in a checkout beside `src`.
    folder = next(path for path in (here / "recipes", here.parents[1] / "recipes") if path.is_dir())
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


class Listed(NamedTuple):
    """A shipped recipe as its file describes it, nothing built."""

    name: str
    method: str
    summary: str
    reference: str
    cost: str


def catalogue() -> list[Listed]:
    """Return what the shipped recipes say of themselves, by name."""
    specs = {name: _read(path) for name, path in shipped().items()}
    return [
        Listed(
            name=name,
            method=spec["method"]["kind"],
            summary=spec["summary"],
            reference=spec.get("reference", METHODS[spec["method"]["kind"]].reference),
            cost=spec.get("cost", _COST),
        )
        for name, spec in specs.items()
    ]


class _Builder:
    """Builds objects from plain data by the annotations of their constructors."""

    def __init__(self, shared: Mapping[str, Any], resolved: Mapping[str, Any]) -> None:
        self.shared = shared
        self.resolved = resolved
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
            raise RecipeError(f"{key}: 'kind' is missing. Legal: {', '.join(sorted(registry))}.")
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
        _refuse_unknown(options, ("recipe",), key)
        path = _locate(str(options["recipe"])).resolve()
        if path in self.nested:
            raise RecipeError(f"{key}.recipe: '{options['recipe']}' nests itself.")
        spec = _read(path)
        # In this recipe's size: what is stated once at the top is handed to every part.
        _, prep = self.build(Prep, spec.get("prep", {}), f"{key}.prep")
        if prep != self.resolved["prep"]:
            raise RecipeError(
                f"{key}.recipe: '{options['recipe']}' prepares slices otherwise than this recipe "
                f"({prep} against {self.resolved['prep']}). Give both the same prep."
            )
        training, _ = self.build(Training, spec.get("training", {}), f"{key}.training")
        self.betas[f"{key}.recipe: {options['recipe']}"] = list(training.betas)
        self.nested.append(path)
        try:
            return self._choose(METHODS, spec.get("method", {}), key)
        finally:
            self.nested.pop()

    def _list(self, annotation: Any, value: Any, key: str) -> tuple[Any, Any]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise RecipeError(f"{key}: a list is needed here, not {value!r}.")
        pairs = [self.build(annotation, item, f"{key}.{n}") for n, item in enumerate(value)]
        return [built for built, _ in pairs], [resolved for _, resolved in pairs]

    def _construct(self, cls: Any, value: Any, key: str) -> tuple[Any, Any]:
        if not isinstance(value, Mapping):
            raise RecipeError(f"{key}: options are needed here, not {value!r}.")
        parameters = _parameters(cls)
        _refuse_unknown(value, parameters, key)
        arguments, resolved = {}, {}
        for name, (annotation, default) in parameters.items():
            option = value.get(name, self.shared.get(name, default))
            if option is inspect.Parameter.empty:
                raise RecipeError(f"{key}.{name} is missing, and has no default.")
            arguments[name], plain = self.build(annotation, option, f"{key}.{name}")
            if name not in self.shared or name in value:
                resolved[name] = plain
        try:
            return cls(**arguments), resolved
        except ValueError as fault:
            raise RecipeError(f"{key}: {fault}.") from fault

    def _plain(self, annotation: Any, value: Any, key: str) -> tuple[Any, Any]:
        try:
            read = TypeAdapter(annotation, config=ConfigDict(strict=True)).validate_python(value)
        except ValidationError as fault:
            reason = "; ".join(error["msg"] for error in fault.errors()[:2])
            raise RecipeError(f"{key}: {value!r} is not legal. {reason}.") from fault
        if isinstance(read, float) and not math.isfinite(read):
            raise RecipeError(f"{key}: {value!r} is not legal, a finite number is needed.")
        return read, read


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
            raise RecipeError(f"{key}: '{name}' is unknown. {nearest(str(name), legal)}")


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers: 1e-3 is one, where YAML 1.1 wants 1.0e-3 and reads a word."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _parse(text: str) -> Any:
    return yaml.load(text, _Loader)  # a SafeLoader, see above


def _locate(name: str) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise RecipeError(f"{path}: no such recipe file. Check the path.")
        return path
    recipes = shipped()
    if name not in recipes:
        raise RecipeError(
            f"'{name}' is no shipped recipe. {nearest(name, recipes)} "
            "A recipe file of your own ends in .yaml."
        )
    return recipes[name]


def _read(path: Path) -> dict[str, Any]:
    try:
        spec = _parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise RecipeError(f"{path}: cannot be read as YAML ({fault}).") from fault
    if not isinstance(spec, dict):
        raise RecipeError(f"{path}: a recipe is a mapping with the keys prep, method, training.")
    return {"name": path.stem, **spec}


def _override(spec: dict[str, Any], override: str) -> None:
    """Apply one `--set a.b.0.c=value`; the value is read as YAML."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override}: write key=value, for instance training.epochs=20.")
    *parents, last = key.split(".")
    place: Any = spec
    for parent in parents:
        if isinstance(place, dict) and isinstance(place.get(parent), str) and place is not spec:
            # `body: nonzero` is short for `body: {kind: nonzero}`.
            place[parent] = {"kind": place[parent]}
        try:
            place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
        except (ValueError, IndexError) as fault:
            raise RecipeError(f"--set {key}: there is no entry '{parent}' in this list.") from fault
        if not isinstance(place, dict | list):
            raise RecipeError(f"--set {key}: '{parent}' is a value, it has no options.")
    try:
        parsed = _parse(value)
        if isinstance(place, list):
            place[int(last)] = parsed
        else:
            place[last] = parsed
    except (ValueError, IndexError, yaml.YAMLError) as fault:
        raise RecipeError(f"--set {override}: cannot be applied ({fault}).") from fault
