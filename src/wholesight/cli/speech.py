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


def say_indented(text: str, screen: Console, *, style: str = "") -> None:
    """Wrap at words on a terminal; elsewhere one line, which a search can find."""
    from rich.padding import Padding
    from rich.text import Text

    if screen.is_terminal:
        screen.print(Padding(Text(text, style), (0, 0, 0, 2)))
    else:
        screen.print(Text(f"  {text}"), soft_wrap=True)


def command(*words: object) -> str:
    """Write a command of ours as one can paste it into a shell.

    >>> command("info", "my model")
    "wholesight info 'my model'"
    """
    return shlex.join(["wholesight", *map(str, words)])
