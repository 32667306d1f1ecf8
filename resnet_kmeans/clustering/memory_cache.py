"""Caches results in memory, so that fits to the same rows share them."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

# GridSearchCV fits all folds with one set of parameters before the next set, so the cache must
# hold the results of all folds, from fits and from scores.
MAX_KEPT = 32
MAX_BYTES = 2**27  # 128 MiB

_kept: OrderedDict[tuple[Any, ...], tuple[np.ndarray, ...]] = OrderedDict()
_lock = threading.Lock()


def cached(
    compute: Callable[..., tuple[np.ndarray, ...]], rows: np.ndarray, *parameters: Any
) -> tuple[np.ndarray, ...]:
    """Return ``compute(rows, *parameters)``, cached by the content of the rows.

    The cache is in the memory of this process. The least recently used results are evicted.

    Parameters
    ----------
    compute : function
        A function defined at module level. Its result must depend only on its arguments.
    rows : ndarray
    *parameters
        Further arguments of `compute`; they must be hashable.

    Returns
    -------
    tuple of ndarray
        The result, read-only.
    """
    key = (compute.__module__, compute.__qualname__, _digest(rows), parameters)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    # Not under the lock: two threads may compute the same result, but neither has to wait.
    found = compute(rows, *parameters)
    for array in found:
        array.setflags(write=False)
    with _lock:
        _kept[key] = found
        # The result just computed is kept, whatever its size.
        while len(_kept) > MAX_KEPT or (len(_kept) > 1 and _n_bytes() > MAX_BYTES):
            _kept.popitem(last=False)
    return found


def _digest(rows: np.ndarray) -> bytes:
    digest = hashlib.blake2b(f"{rows.shape} {rows.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(rows).data)
    return digest.digest()


def _n_bytes() -> int:
    return sum(array.nbytes for arrays in _kept.values() for array in arrays)
