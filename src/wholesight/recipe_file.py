"""Recipe and suite files: where they lie, how they are read, how `--set` changes a recipe."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from wholesight.errors import RecipeError, nearest

Kind = Literal["recipe", "suite"]
_KEYS: Final[dict[Kind, str]] = {
    "recipe": "prep, method, training.",
    "suite": "question, methods, ...",
}


def shipped(kind: Kind = "recipe") -> dict[str, Path]:
    """Return the recipes, or the suites, that come with wholesight, by name."""
    here, name = Path(__file__).parent, f"{kind}s"
    # In the wheel they lie inside the package, in a checkout beside `src`.
    folder = next(path for path in (here / name, here.parents[1] / name) if path.is_dir())
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def locate(name: str, folder: Path | None = None, *, kind: Kind = "recipe") -> Path:
    """Return the file of a shipped recipe or suite by name, or of one's own, from `folder`."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return (folder or Path()) / path
    known = shipped(kind)
    if name not in known:
        raise RecipeError(
            f"'{name}' is no shipped {kind}. {nearest(name, known)} "
            f"A {kind} file of your own ends in .yaml."
        )
    return known[name]


def read(path: Path, *, kind: Kind = "recipe") -> dict[str, Any]:
    """Return what the file of a recipe or suite says; named after the file unless it says else."""
    try:
        spec = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError as fault:
        raise RecipeError(f"{path}: no such {kind} file. Check the path.") from fault
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as fault:
        raise RecipeError(f"{path}: cannot be read as YAML ({first_line(fault)}).") from fault
    if not isinstance(spec, dict):
        raise RecipeError(f"{path}: a {kind} is a mapping with the keys {_KEYS[kind]}")
    return {"name": path.stem, **spec}


def override(spec: dict[str, Any], change: str) -> None:
    """Apply one `--set a.b.0.c=value`; the value is read as YAML."""
    key, equals, value = change.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {change}: write key=value, for instance training.epochs=20.")
    *parents, last = key.split(".")
    place: Any = spec
    for parent in parents:
        place = _entered(place, parent, key, top=place is spec)
    try:
        place[_index(place, last, key) if isinstance(place, list) else last] = parse(value)
    except (ValueError, RecursionError, yaml.YAMLError) as fault:
        raise RecipeError(f"--set {change}: cannot be read ({first_line(fault)}).") from fault


def _entered(place: Any, name: str, key: str, *, top: bool) -> Any:
    """Return the part of this name, made where there is none."""
    if isinstance(place, list):
        inner = place[_index(place, name, key)]
    else:
        if isinstance(place.get(name), str) and (not top or name == "method"):
            # `body: nonzero` is short for `body: {kind: nonzero}`.
            place[name] = {"kind": place[name]}
        inner = place.setdefault(name, {})
    if not isinstance(inner, dict | list):
        raise RecipeError(f"--set {key}: '{name}' is a value, it has no options.")
    return inner


def _index(entries: list[Any], name: str, key: str) -> int:
    if not name.isdecimal() or int(name) >= len(entries):
        legal = f"legal is 0 to {len(entries) - 1}" if entries else "it is empty"
        raise RecipeError(f"--set {key}: there is no entry '{name}' in this list, {legal}.")
    return int(name)


class _Loader(yaml.SafeLoader):
    """Decimal numbers only, and no key twice.

    1e-3 is a number, where YAML 1.1 wants 1.0e-3 and reads a word; 010 and 1:30 are words, where
    YAML 1.1 reads 8 and 90.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [key.value for key, _ in node.value if isinstance(key.value, str)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"'{twice}' stands there twice")
        return super().construct_mapping(node, deep)


_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_INT, _FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?(0|[1-9]\d*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"([-+]?(\d+\.\d*|\.\d+)(e[-+]?\d+)?|[-+]?\d+e[-+]?\d+|[-+]?\.inf|\.nan)$",
        re.IGNORECASE,
    ),
    list("-+.0123456789"),
)


def parse(text: str) -> Any:
    """Read YAML, see `_Loader`. Raises yaml.YAMLError or ValueError."""
    return yaml.load(text, _Loader)  # a SafeLoader, see above


def first_line(fault: BaseException) -> str:
    """Return the first line of what an error says, its kind where it says nothing."""
    return (str(fault).splitlines() or [type(fault).__name__])[0]
