"""Keeps what C libraries write on stderr away from the user's terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def own_stderr() -> Iterator[None]:
    """Let Python alone write on stderr; the lines of libtiff, TensorFlow and others are dropped.

    Nothing changes where Python's stderr is not the process' own, as under a test runner.
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
    """Write what the package logs on stderr, warnings alone if `quiet`."""
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
