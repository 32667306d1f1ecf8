"""The command line."""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

__all__ = ["main"]

SIGNALED = 128  # plus the number of a signal: the exit status of a process that it ended
EXIT_SECONDS = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments; None uses those of the process.

    Returns
    -------
    int
        0 on success, 2 after an error, 130 after Ctrl-C, 129 or 143 after SIGHUP or SIGTERM, 141
        if a pipe was closed by its reader.
    """
    if argv is None:  # else these are the caller's
        _open_streams()
        _stop_on_signals()
    # Imported here to catch Ctrl-C during the seconds that the import takes.
    try:
        from resnet_kmeans.cli.running import main as run

        status = run(argv)
    except KeyboardInterrupt as stop:
        print("resnet-kmeans: stopped. Nothing was done yet.", file=sys.stderr)
        status = exit_status(stop)
    if argv is None and status > SIGNALED:
        # At its exit, Python waits for threads, which may wait for workers that are gone.
        ending = threading.Timer(EXIT_SECONDS, os._exit, [status])
        ending.daemon = True
        ending.start()
    return status


def _open_streams() -> None:
    """Open the null device for streams that the caller closed."""
    # In this order, as each gets the lowest free number. Else the next file, such as the cache,
    # would get it, and the lines that C libraries print.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # it stays open


def _stop_on_signals() -> None:
    """Let SIGTERM and SIGHUP stop the command as Ctrl-C does; a second signal ends it at once."""
    numbers = {getattr(signal, name, signal.SIGINT) for name in ("SIGINT", "SIGTERM", "SIGHUP")}
    default = signal.SIG_DFL, signal.default_int_handler
    caught = [n for n in numbers if signal.getsignal(n) in default]  # nohup ignores SIGHUP

    def end_at_once() -> None:
        for n in caught:
            signal.signal(n, signal.SIG_DFL)

    def stop(number: int, frame: Any) -> None:
        end_at_once()
        raise KeyboardInterrupt(number)

    for n in caught:
        signal.signal(n, stop)
    atexit.register(end_at_once)  # Python would print an exception at its exit


def exit_status(stop: KeyboardInterrupt) -> int:
    """Return the status with which a shell expects a process to end after a signal."""
    return SIGNALED + (stop.args[0] if stop.args else signal.SIGINT)
