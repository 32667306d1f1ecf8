"""Computes reduced rows of images, in blocks that fit in scikit-learn's `working_memory`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.utils import gen_batches

from resnet_kmeans.clustering import nan_rows


def fit_reducer(
    sources: list[Any],
    featurizer: Any,
    new_reducer: Callable[[np.ndarray], Any],
    random_state: Any,
) -> tuple[Any, np.ndarray] | None:
    """Fit a reducer on as many rows as fit in memory, then reduce all rows.

    Parameters
    ----------
    sources : list of length n
        Images, in any form that the featurizer accepts.
    featurizer : fitted transformer
        Returns rows of NaN for unreadable images.
    new_reducer : callable
        Called with the readable rows of the fit; returns an unfitted reducer for them.
    random_state : int, RandomState instance or None
        Determines the sample of rows that the reducer is fitted on, if not all fit in memory.

    Returns
    -------
    (reducer, ndarray of shape (n, n_reduced), dtype float32) or None
        The fitted reducer and the reduced rows, NaN for unreadable images. None if every
        image of the sample is unreadable.
    """
    # A random sample, not the first rows: those of a folder are sorted by name, so they would
    # show a few groups only.
    sample = nan_rows.sample(len(sources), _rows_in_memory(featurizer), random_state)
    features = nan_rows.features_of(featurizer, [sources[i] for i in sample])
    readable = nan_rows.drop_unreadable(features)
    if not len(readable):
        return None
    reducer = new_reducer(readable).fit(readable)
    first = nan_rows.reduce(reducer, features)
    reduced = np.full((len(sources), first.shape[1]), np.nan, dtype=np.float32)
    reduced[sample] = first
    # Otherwise these stay in memory while the next block is computed.
    del features, readable, first
    rest = np.setdiff1d(np.arange(len(sources)), sample)
    for start in range(0, len(rest), len(sample)):
        block = rest[start : start + len(sample)]
        features = nan_rows.features_of(featurizer, [sources[i] for i in block])
        reduced[block] = nan_rows.reduce(reducer, features)
    return reducer, reduced


def reduce_blocks(
    sources: list[Any], featurizer: Any, reducer: Any, width: int
) -> Iterator[np.ndarray]:
    """Yield the reduced rows of images in blocks; `width` is the number of columns."""
    for block in gen_batches(len(sources), _rows_in_memory(featurizer)):
        features = nan_rows.features_of(featurizer, sources[block])
        yield nan_rows.reduce(reducer, features, width)


def _rows_in_memory(featurizer: Any) -> int:
    # A custom featurizer may lack this attribute; 2048 is the width of ResNet50.
    return nan_rows.n_in_memory(getattr(featurizer, "n_features_out_", 2048))
