"""The command line: one file a command, one place for errors and exit codes.

0 all well · 1 internal fault · 2 usage · 3 no usable input · 4 some cases failed, the rest
written · 5 output not writable · 6 model refused · 7 all cases failed · 130 stopped by Ctrl-C
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from wholesight.cli.benchmark import benchmark
from wholesight.cli.calibrate import calibrate
from wholesight.cli.check import check
from wholesight.cli.demo import demo
from wholesight.cli.evaluate import evaluate
from wholesight.cli.fit import fit
from wholesight.cli.info import info
from wholesight.cli.phantom import phantom
from wholesight.cli.segment import segment
from wholesight.cli.threshold import threshold
from wholesight.errors import InputError, Interrupted, OutputError, WholesightError

# What a disk or its owner can refuse; any other OSError is a fault of ours.
_REFUSED: Final = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EROFS, errno.EACCES, errno.EPERM),
}


class _Commands(TyperGroup):
    """The commands; says what is kept after Ctrl-C, which typer alone would end in silence."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Interrupted(
                "Stopped. What was finished is kept; where there is --resume, it goes on from "
                "there."
            ) from stop


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the order of use.
for command in (
    *(demo, phantom, check, fit, calibrate),
    *(segment, threshold, evaluate, benchmark, info),
):
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        from wholesight import __version__

        typer.echo(f"wholesight {__version__}")
        raise typer.Exit


@app.callback()
def wholesight(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Segment anything abnormal in a medical image after seeing only normal ones.

    The way through: check, fit, calibrate, segment, evaluate. `wholesight demo` shows all of it
    on made-up heads. For research use only; not a medical device.
    """
    del version


def run() -> None:
    """Run the command line; a user's mistake ends in one message and an exit code."""
    # Before torch is loaded: a thread that waits spins 300,000 times by default, and everything is
    # several times slower as soon as another program wants the same cores. A short spin costs
    # little on an idle machine and keeps the pace on a busy one.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    # A warning in words, without the line of code that it came from.
    warnings.showwarning = lambda message, *_, **__: _say(f"note: {message}")
    try:
        app()
    except Interrupted as stop:
        _say(str(stop))
        sys.exit(stop.exit_code)
    except WholesightError as fault:
        code = f" [{fault.code}]" if isinstance(fault, InputError) else ""
        _say(f"error: {fault}{code}")
        sys.exit(fault.exit_code)
    except OSError as fault:
        sys.exit(_refused(fault) if fault.errno in _REFUSED else _internal(fault))
    except Exception as fault:
        sys.exit(_internal(fault))


def _refused(fault: OSError) -> int:
    _say(
        f"error: {fault.filename or 'a file'}: {fault.strerror or fault}. Check that the disk "
        "has room and that the folder is yours, then run the same command again."
    )
    return OutputError.exit_code


def _internal(fault: Exception) -> int:
    if os.environ.get("WHOLESIGHT_DEBUG"):
        traceback.print_exc()
    _say(
        f"internal fault: {type(fault).__name__}: {fault}\nThis is a bug of wholesight. Please "
        "report it with the output of the same command under WHOLESIGHT_DEBUG=1."
    )
    return 1


def _say(message: str) -> None:
    print(message, file=sys.stderr)
