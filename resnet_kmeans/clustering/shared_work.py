"""Keeps what was computed of some rows for the next fit on the same rows."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

# A grid search goes through all folds for one set of parameters, then for the next: what
# is kept has to span the folds, of the fit and of the score.
MAX_KEPT = 32
MAX_BYTES = 2**27  # 128 MiB, for a process that clusters much else

_kept: OrderedDict[tuple[Any, ...], tuple[np.ndarray, ...]] = OrderedDict()
_lock = threading.Lock()


def shared(
    compute: Callable[..., tuple[np.ndarray, ...]], rows: np.ndarray, *parameters: Any
) -> tuple[np.ndarray, ...]:
    """Return ``compute(rows, *parameters)``, from an earlier call where there was one.

    Rows are known again by their content. The arrays last used are kept, in this process
    alone; they are read-only.

    Parameters
    ----------
    compute : function
        Returns arrays that depend on nothing but its arguments.
    rows : ndarray
    *parameters
        What else `compute` takes; hashable.
    """
    key = (compute.__module__, compute.__qualname__, _digest(rows), parameters)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    found = compute(rows, *parameters)
    for array in found:
        array.setflags(write=False)
    with _lock:
        _kept[key] = found
        while len(_kept) > MAX_KEPT or (len(_kept) > 1 and _n_bytes() > MAX_BYTES):
            _kept.popitem(last=False)
    return found


def _digest(rows: np.ndarray) -> bytes:
    digest = hashlib.blake2b(f"{rows.shape} {rows.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(rows).data)
    return digest.digest()


def _n_bytes() -> int:
    return sum(array.nbytes for arrays in _kept.values() for array in arrays)
