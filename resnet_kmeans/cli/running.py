"""Runs a command: its output, errors, warnings and interruption."""

import argparse
import contextlib
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from resnet_kmeans._folder_names import JOURNAL
from resnet_kmeans.cli import SIGNALED, exit_status
from resnet_kmeans.cli.parser import new_parser
from resnet_kmeans.cli.printing import LISTED, print_reasons
from resnet_kmeans.exceptions import ResNetKMeansError, UnreadableImagesWarning, printable
from resnet_kmeans.export import export_log

# RuntimeError is what pathlib and platformdirs raise without a home; its words tell it from others.
ENVIRONMENT, HOMELESS = (MemoryError, RuntimeError), "home directory"
BROKEN_PIPE = SIGNALED + 13  # SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    # Messages of the libraries would hide those of this package. Keras imports matplotlib, which
    # logs each deprecation in its dependencies.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for library in ("tensorflow", "matplotlib"):
        logging.getLogger(library).setLevel(logging.ERROR)
    if isinstance(sys.stdout, io.TextIOWrapper):  # some encodings lack emoji
        sys.stdout.reconfigure(errors="backslashreplace")
    args, unknown = new_parser().parse_known_args(argv)
    if unknown:  # argparse itself would show the usage of the program, not of the command
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    del args.parser
    with own_stderr(), log_to_stderr(getattr(args, "quiet", False)):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # Commands that export images list the unreadable ones at the end.
        warnings.simplefilter("ignore", UnreadableImagesWarning)
        warnings.showwarning = _new_showwarning()
        try:
            args.worker(args)
            sys.stdout.flush()  # an error at exit could no longer be reported
        except BrokenPipeError:  # not an error; caused by `| head -1`, for example
            _drop_output()
            return BROKEN_PIPE
        except (ResNetKMeansError, ImportError, OSError, ValueError, *ENVIRONMENT) as error:
            if isinstance(error, RuntimeError) and HOMELESS not in str(error):
                raise
            if args.debug:
                traceback.print_exc()
            print(f"resnet-kmeans: error: {_message(error)}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as stop:
            print(f"resnet-kmeans: {_after_interrupt(args)}", file=sys.stderr)
            return exit_status(stop)
    return 0


def _new_showwarning() -> Callable[..., None]:
    """Return a function that prints each warning once, for `warnings.showwarning`."""
    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if isinstance(message, UnreadableImagesWarning):
            print_reasons(*message.args)
            return
        is_for_user = category.__module__.startswith("resnet_kmeans")
        # Deprecations in pyparsing are UserWarnings too, but are meant for developers.
        is_for_developers = issubclass(category, DeprecationWarning)
        is_for_user |= issubclass(category, UserWarning) and not is_for_developers
        if is_for_user and str(message) not in shown:
            shown.add(str(message))
            print(f"resnet-kmeans: warning: {message}", file=sys.stderr)

    return show


def _message(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return (
            f"Memory ran out ({str(error) or type(error).__name__}). Files written before that "
            "are complete, and features in the cache are kept. Free some memory, or choose a "
            "smaller network, such as --backbone efficientnet_lite0."
        )
    if HOMELESS in str(error):
        return (
            "Expected a home folder for the cache and the records of exports, but HOME is not "
            "set, and the system knows none for this user. The command stopped there. Set HOME."
        )
    if not isinstance(error, OSError) or isinstance(error, ResNetKMeansError):
        return _shortened(str(error))
    if error.filename is not None:
        path = printable(error.filename)
        return (
            f"The file or folder {path} cannot be used: {error.strerror}. The command stopped "
            "there. Check the path and its permissions."
        )
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    return (
        f"Printing the results or writing a file failed: {error.strerror or error}. Files written "
        "before that are complete. Free some space, or choose another folder."
    )


def _shortened(message: str) -> str:
    """Return a message that lists at most `LISTED` of its files."""
    lines = message.split("\n")
    listed = [i for i, line in enumerate(lines) if line.startswith("  ")]
    if rest := listed[LISTED:]:
        lines[rest[0] : rest[-1] + 1] = [f"  and {len(rest)} more"]
    return "\n".join(lines)


def _drop_output() -> None:
    """Discard buffered output, which Python would try to write again at exit."""
    with contextlib.suppress(OSError):  # tests replace stdout with a stream that has no file
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _after_interrupt(args: argparse.Namespace) -> str:
    """Return the state in which Ctrl-C left an export, and what to do next."""
    output = getattr(args, "output", None)
    place = printable(output)
    if output is None or not Path(output, JOURNAL).exists():
        return (
            "stopped. No image was touched. Run the command again to continue; features in the "
            "cache are not computed again."
        )
    last = export_log(output)[-1]
    if last.state != "interrupted":
        return f"stopped. Nothing in {place} is half done; see resnet-kmeans log {place}"
    back = f", or undo it: resnet-kmeans undo {place}" if last.command != "undo" else ""
    return (
        "stopped. No image was lost; each is complete at its old or new path. Finish it: "
        f"resnet-kmeans finish {place}{back}"
    )


class _Messages(io.FileIO):
    """A stream whose failure stops no work: its terminal may be closed, or its disk full."""

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError):
            return super().write(data)
        return len(data)


@contextlib.contextmanager
def own_stderr() -> Iterator[None]:
    """Drop what C libraries (libtiff, TensorFlow) write to stderr; Python can still write to it.

    This does nothing if `sys.stderr` was replaced, for example by a test runner.
    """
    stderr = sys.stderr
    try:
        is_own = stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):  # None, replaced or closed
        is_own = False
    if not is_own:
        yield
        return
    stderr.flush()
    # C code writes to file descriptor 2, whatever `sys.stderr` is. So Python gets a copy of that
    # descriptor, and the original is redirected to the null device.
    kept = os.dup(2)
    raw, encoding, errors = _Messages(kept, "w"), stderr.encoding, stderr.errors
    with io.TextIOWrapper(raw, encoding, errors, write_through=True) as stream:
        sys.stderr = stream
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            sys.stderr = stderr


@contextlib.contextmanager
def log_to_stderr(quiet: bool) -> Iterator[None]:
    """Write the log messages of the package to stderr; only warnings if `quiet`."""
    logger, handler = logging.getLogger("resnet_kmeans"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("resnet-kmeans: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
