"""Limits small computations to one thread."""

from contextlib import nullcontext
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

# Rows in a learned space. K-Means over so few takes milliseconds, and its threads would spend
# most of the time waiting for each other.
SMALL_UP_TO = 2_000


@cache
def _controller() -> Any:
    # Kept, since its constructor inspects all loaded libraries, in 15 ms. BLAS and OpenMP were
    # loaded with scikit-learn, before the first call.
    return ThreadpoolController()


def one_thread() -> Any:
    """Return a context manager that limits BLAS and OpenMP to one thread."""
    return _controller().limit(limits=1)


def one_thread_if_small(n_rows: int) -> Any:
    """Return `one_thread()` for at most 2,000 rows, otherwise a context without effect."""
    return one_thread() if n_rows <= SMALL_UP_TO else nullcontext()
