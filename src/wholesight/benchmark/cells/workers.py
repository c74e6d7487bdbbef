"""Processes that finish cells, one each at a time; one that dies takes its own cell along, no more.

The parent hands out cells over a pipe and waits for whoever answers. A process is used for many
cells, because loading torch takes seconds. It ends when its parent has gone, however that went.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Final, NamedTuple

import torch

from wholesight.benchmark.cells.cell import Cell, finish
from wholesight.benchmark.plan.protocol import THREADS
from wholesight.errors import InputError, ModelError, OutputError, WholesightError


class Done(NamedTuple):
    """A cell is finished. auprc : over its set. seconds : passed, for the time left."""

    auprc: float | None
    seconds: float


class Failed(NamedTuple):
    """A cell failed. code : E_..., as of an input. trace : for who mends it."""

    code: str
    reason: str
    trace: str


class _Unwritable(NamedTuple):
    """The output cannot be written, so no other cell can either."""

    message: str


class _Ready(NamedTuple):
    """The process has loaded what it needs."""


Ended = Done | Failed
Told = Callable[[Cell, Ended], None]
_Answer = Ended | _Unwritable | _Ready | None

# What libraries read when they are loaded; torch is told once more. cuBLAS gives the same sums in
# the same order only with a fixed workspace, which must be known before its first product.
_ENVIRONMENT: Final = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(THREADS)),
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
# What a disk refuses to every cell alike.
_DISK: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


def finish_all(cells: Sequence[Cell], *, jobs: int, told: Told) -> None:
    """Finish cells, `jobs` at a time, in order; `told` hears of each, also of those that fail.

    Whatever ends it early (Ctrl-C, `told` raising) ends the processes too. Raises OutputError when
    nothing can be written any more.
    """
    waiting = deque(cells)
    crew: dict[Connection, _Worker] = {}
    try:
        while waiting or crew:
            while waiting and len(crew) < jobs:
                worker = _Worker(waiting.popleft())
                crew[worker.connection] = worker
            for connection in wait(list(crew)):
                worker = crew[connection]  # type: ignore[index]
                answer = worker.answer()
                if isinstance(answer, _Ready):
                    worker.give(worker.cell)
                    continue
                told(worker.cell, _ended(answer, worker))
                if answer is None or not waiting:
                    crew.pop(worker.connection).end()
                else:
                    worker.give(waiting.popleft())
    finally:
        for worker in crew.values():
            worker.end()


def _ended(answer: Ended | _Unwritable | None, worker: _Worker) -> Ended:
    if isinstance(answer, _Unwritable):
        raise OutputError(answer.message)
    return answer or worker.death()


class _Worker:
    """A process, our end of its pipe, and the cell that it has or will have once it is ready."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _for_children():
            self.process.start()
        # Theirs alone is open then, so that we hear of its end.
        theirs.close()

    def give(self, cell: Cell) -> None:
        """Hand out a cell. One that has just died is heard of by its silence."""
        self.cell = cell
        with suppress(OSError):
            self.connection.send(cell)

    def answer(self) -> _Answer:
        """Return what it says; None when it is dead."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def death(self) -> Failed:
        """Say how it died."""
        self.process.join()
        code = self.process.exitcode or 0
        how = f"by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"({code})"
        reason = (
            f"its process ended {how} without a word, as one does that was stopped for want of "
            "memory. Fewer --jobs take less; the same command with --resume tries again."
        )
        return Failed("E_WORKER", reason, "")

    def end(self) -> None:
        """End the process at once; an unfinished cell is of no use."""
        self.process.kill()
        self.process.join()
        self.connection.close()


@contextmanager
def _for_children() -> Iterator[None]:
    """Start processes that have one thread, and that leave Ctrl-C to us."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if main:
            signal.signal(signal.SIGINT, handler)


def _serve(connection: Connection) -> None:
    """Finish cells until the parent has no more, or is no more."""
    torch.set_num_threads(THREADS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        connection.send(_Ready())
        while True:
            connection.send(_attempt(connection.recv()))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _attempt(cell: Cell) -> Ended | _Unwritable:
    started = time.monotonic()
    try:
        return Done(finish(cell), time.monotonic() - started)
    except OutputError as fault:
        return _Unwritable(str(fault))
    except Exception as fault:  # one cell's fault must not end a night's work
        if isinstance(fault, OSError) and fault.errno in _DISK:
            return _Unwritable(
                f"{cell.folder}: cannot be written ({os.strerror(fault.errno)}). Make room on the "
                "disk; the same command with --resume goes on from what is finished."
            )
        return Failed(_code(fault), _reason(fault), traceback.format_exc())


def _code(fault: Exception) -> str:
    if isinstance(fault, InputError):
        return fault.code
    if isinstance(fault, ModelError):
        return "E_MODEL"
    # What a method's settings lead to is no fault of ours: training that diverged, above all.
    return "E_METHOD" if isinstance(fault, WholesightError) else "E_INTERNAL"


def _reason(fault: Exception) -> str:
    """Say what went wrong in one line."""
    words = " ".join(str(fault).split())
    return words if isinstance(fault, WholesightError) else f"{type(fault).__name__}: {words}"
