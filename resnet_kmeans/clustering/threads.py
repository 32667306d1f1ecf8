"""Limits small computations to one thread."""

from contextlib import nullcontext
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

# K-Means on so few reduced rows takes milliseconds, and several threads would spend most of
# that time waiting for each other.
SMALL_UP_TO = 2_000


@cache
def _controller() -> Any:
    # Cached, because the constructor inspects all loaded libraries, which takes 15 ms. BLAS and
    # OpenMP are loaded with scikit-learn, before the first call.
    return ThreadpoolController()


def one_thread() -> Any:
    """Return a context manager that limits BLAS and OpenMP to one thread."""
    return _controller().limit(limits=1)


def one_thread_if_small(n_rows: int) -> Any:
    """Return `one_thread()` for at most 2,000 rows, else a context manager without effect."""
    return one_thread() if n_rows <= SMALL_UP_TO else nullcontext()
