"""How a command is ended before its time: SIGTERM and SIGHUP count as Ctrl-C, as does another terminal's `decomp stop`.

Batch systems and `docker stop` send SIGTERM, a terminal that is lost sends SIGHUP.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from decomp.experiments.console import CONSOLE

ENDING = (signal.SIGTERM, signal.SIGHUP)

WAKE = signal.SIGURG
"""The signal that interrupts the main thread: nobody else uses it, and it is not ignored where a shell ignores Ctrl-C
(``&``)."""

INTERRUPTED = 128 + signal.SIGINT
"""Exit status of a command that Ctrl-C has ended."""

_interrupted = threading.Event()

LAST_SECONDS = 18.0
"""Seconds that Ray has to end after an interruption: it waits a minute for processes that the signal has ended, too,
while batch systems kill after 30 seconds. What it leaves ends with this process."""


@contextmanager
def signals_as_interruptions() -> Iterator[None]:
    """While the body runs, the first of these signals raises `KeyboardInterrupt`; the exit status tells which it was.

    A thread waits for them, and they are blocked everywhere else: Ray's handlers, which print a stack and abort, are
    installed while it starts, and some of them only there. Signals to the whole process group, as a lost terminal and
    `timeout` send them, reach this process alone, which then ends the others.
    """
    heeded = {number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN}  # `nohup` ignores SIGHUP
    received: list[int] = []
    interrupt = interrupter()

    def wait() -> None:
        received.append(signal.sigwait(heeded))
        _leave_lost_terminal()
        interrupt()

    signal.pthread_sigmask(signal.SIG_BLOCK, heeded)
    os.register_at_fork(after_in_child=_stand_apart)
    if heeded:
        threading.Thread(target=wait, name="signals", daemon=True).start()
    try:
        yield
    except SystemExit as ended:
        if ended.code != INTERRUPTED:
            raise
        status = 128 + received[0] if received else INTERRUPTED
        end = threading.Timer(LAST_SECONDS, os._exit, [status])
        end.daemon = True
        end.start()
        sys.exit(status)


@contextmanager
def stoppable() -> Iterator[None]:
    """Say how to go on after an interruption.

    An error that follows one is its consequence: what extension modules call may turn `KeyboardInterrupt` into another.
    """
    _interrupted.clear()
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        if not (isinstance(error, KeyboardInterrupt) or _interrupted.is_set()):
            raise
        CONSOLE.print("Stopped. Committed cycles are kept; the same command goes on from there.")
        sys.exit(INTERRUPTED)


def heed_signals() -> None:
    """Let a child process end by these signals as others do; `subprocess` must be told to call it (``preexec_fn``)."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _stand_apart() -> None:
    """Called in a child process: it is no longer in the process group of its parent, and heeds signals."""
    os.setpgrp()
    heed_signals()


def interrupter() -> Callable[[], None]:
    """Called in the main thread; the result interrupts it from any other thread, as Ctrl-C does."""
    signal.signal(WAKE, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, _interrupt)
    main = threading.get_ident()
    return lambda: signal.pthread_kill(main, WAKE)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _interrupted.set()
    signal.default_int_handler(number, frame)


def _leave_lost_terminal() -> None:
    """Discard further output to a terminal that is gone, where writing would be an error."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
