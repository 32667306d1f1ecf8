"""Turns images into reduced rows, block by block within scikit-learn's `working_memory`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.utils import gen_batches

from resnet_kmeans.clustering import rows


def fit_reducer(
    sources: list[Any],
    featurizer: Any,
    new_reducer: Callable[[np.ndarray], Any],
    random_state: Any,
) -> tuple[Any, np.ndarray] | None:
    """Fit a reducer on as many rows as fit in memory, and reduce all rows.

    Parameters
    ----------
    sources : list of length n
        Images, as the featurizer takes them.
    featurizer : fitted transformer
        Gives rows of NaN for images that cannot be read.
    new_reducer : callable
        Takes the readable rows of the fit and returns an unfitted reducer for them.
    random_state : int, RandomState instance or None
        Draws the rows of the fit where not all of them fit in memory.

    Returns
    -------
    (reducer, ndarray of shape (n, n_reduced), dtype float32) or None
        The fitted reducer and all rows, NaN for images that cannot be read; None if no image
        of the sample can be read.
    """
    sample = rows.sample(len(sources), _rows_in_memory(featurizer), random_state)
    features = rows.features_of(featurizer, [sources[i] for i in sample])
    readable = rows.select_readable(features, rows.is_readable(features))
    if not len(readable):
        return None
    reducer = new_reducer(readable).fit(readable)
    first = rows.reduce(reducer, features)
    reduced = np.full((len(sources), first.shape[1]), np.nan, dtype=np.float32)
    reduced[sample] = first
    del features, readable, first  # before the next block comes
    rest = np.setdiff1d(np.arange(len(sources)), sample)
    for start in range(0, len(rest), len(sample)):
        block = rest[start : start + len(sample)]
        features = rows.features_of(featurizer, [sources[i] for i in block])
        reduced[block] = rows.reduce(reducer, features)
    return reducer, reduced


def reduce_blocks(
    sources: list[Any], featurizer: Any, reducer: Any, width: int
) -> Iterator[np.ndarray]:
    """Yield the reduced rows of images, block by block; `width` is that of a row."""
    for block in gen_batches(len(sources), _rows_in_memory(featurizer)):
        features = rows.features_of(featurizer, sources[block])
        yield rows.reduce(reducer, features, width)


def _rows_in_memory(featurizer: Any) -> int:
    # A featurizer of the user's own may not tell its width: take that of ResNet50.
    return rows.n_in_memory(getattr(featurizer, "n_features_out_", 2048))
