"""How commands speak: what a user typed is printed as it was typed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """Return a console that takes nothing in a text for markup: a path may hold [v2] or :cat:."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def command(*words: object) -> str:
    """Write a command of ours as one can paste it into a shell.

    >>> command("info", "my model")
    "wholesight info 'my model'"
    """
    return shlex.join(["wholesight", *map(str, words)])
