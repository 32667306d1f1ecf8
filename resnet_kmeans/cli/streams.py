"""Keeps the output of C libraries away from the user's terminal."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator


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
    with open(kept, "w", buffering=1, encoding=stderr.encoding, errors=stderr.errors) as stream:
        sys.stderr = stream
        with open(os.devnull, "w") as null:
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
