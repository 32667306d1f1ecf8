"""Keeps small computations on one thread, since more of them would mostly wait."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

SMALL_UP_TO = 2_000  # rows of a learnt space: K-Means over them takes milliseconds


@cache
def _controller() -> Any:
    # Looks through all loaded libraries, 15 ms; BLAS and OpenMP came with scikit-learn.
    return ThreadpoolController()


def one_thread() -> Any:
    """Return a context in which BLAS and OpenMP use one thread."""
    return _controller().limit(limits=1)


def one_thread_if_small(n_rows: int) -> Any:
    """Return `one_thread` for at most 2,000 rows, else a context that changes nothing."""
    return one_thread() if n_rows <= SMALL_UP_TO else nullcontext()
