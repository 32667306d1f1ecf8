"""Reduces and labels rows, of which those of unreadable images are NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils import check_random_state, gen_batches

from resnet_kmeans.cluster_names import NOISE, UNREADABLE
from resnet_kmeans.clustering.nearest import NearestLabels

# Copies of a block of features that reducing it makes: the block, its readable rows, these
# normalised, and these centred by PCA.
COPIES = 4
BLOCK_ROWS = 65_536  # reduced rows copied at a time


def n_in_memory(width: int) -> int:
    """Return the number of float32 rows that scikit-learn's `working_memory` is enough for."""
    return max(64, int(get_config()["working_memory"] * 2**20 // (COPIES * 4 * width)))


def sample(n_rows: int, n_drawn: int, random_state: Any) -> np.ndarray:
    """Return the positions of at most `n_drawn` random rows, in ascending order."""
    if n_rows <= n_drawn:
        return np.arange(n_rows)
    return np.sort(check_random_state(random_state).choice(n_rows, n_drawn, replace=False))


def features_of(featurizer: Any, sources: list[Any]) -> np.ndarray:
    """Return the features of images as float32."""
    # KMeans fitted to float32 rows raises an error for float64 ones.
    return np.asarray(featurizer.transform(sources), dtype=np.float32)


def is_readable(rows: np.ndarray) -> np.ndarray:
    """Return a mask of the rows without NaN."""
    readable = np.empty(len(rows), dtype=bool)
    for block in gen_batches(len(rows), BLOCK_ROWS):
        readable[block] = ~np.isnan(rows[block]).any(axis=1)
    return readable


def select_readable(rows: np.ndarray, readable: np.ndarray) -> np.ndarray:
    """Return the readable rows; without a copy if all rows are readable."""
    return rows if readable.all() else rows[readable]


def drop_unreadable(rows: np.ndarray) -> np.ndarray:
    """Return the rows without NaN; without a copy if that is all of them."""
    return select_readable(rows, is_readable(rows))


def reduce(reducer: Any, features: np.ndarray, width: int | None = None) -> np.ndarray:
    """Return reduced rows as float32; rows of NaN stay NaN.

    `width` is the number of columns if all rows are NaN.
    """
    readable = is_readable(features)
    if not readable.any():
        return np.full((len(features), width or 1), np.nan, dtype=np.float32)
    rows: np.ndarray = np.asarray(
        reducer.transform(select_readable(features, readable)), dtype=np.float32
    )
    if len(rows) == len(features):
        return rows
    reduced = np.full((len(features), rows.shape[1]), np.nan, dtype=np.float32)
    reduced[readable] = rows
    return reduced


def predict(clusterer: Any, reduced: np.ndarray) -> np.ndarray:
    """Return the labels of reduced rows as int32; those of rows of NaN are `UNREADABLE`."""
    readable = is_readable(reduced)
    found = clusterer.predict(select_readable(reduced, readable)) if readable.any() else []
    return _spread(found, readable)


def labels_of_fit(clusterer: Any, reduced: np.ndarray) -> np.ndarray:
    """Return the labels of the rows of the fit; equal to those of `predict`."""
    # Finding each row's nearest neighbours would take time with the square of the rows.
    if isinstance(clusterer, NearestLabels):
        return _spread(clusterer.labels_, is_readable(reduced))
    return predict(clusterer, reduced)


def _spread(found: Any, readable: np.ndarray) -> np.ndarray:
    labels = np.full(len(readable), UNREADABLE, dtype=np.int32)
    # scikit-learn labels noise -1, which is the label of unreadable images here.
    labels[readable] = np.where(np.asarray(found) < 0, NOISE, found)
    return labels


def centers_of(clusterer: Any, reduced: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the centres of a clusterer, or the means of its clusters if it has none."""
    for name in ("cluster_centers_", "means_"):  # mixtures have the latter
        if hasattr(clusterer, name):
            return np.asarray(getattr(clusterer, name), dtype=np.float32)
    centers = np.full((max(labels.max() + 1, 0), reduced.shape[1]), np.nan, dtype=np.float32)
    for label in np.unique(labels[labels >= 0]):
        centers[label] = reduced[labels == label].mean(axis=0)
    return centers


def distances(reduced: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return the distances of rows to all centres as float32; those of rows of NaN are NaN."""
    found = np.full((len(reduced), len(centers)), np.nan, dtype=np.float32)
    readable = is_readable(reduced)
    if readable.any() and len(centers):
        found[readable] = euclidean_distances(select_readable(reduced, readable), centers)
    return found


def own_distances(reduced: np.ndarray, centers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the distance of each row to its own centre as float32; NaN without a cluster."""
    found = np.full(len(reduced), np.nan, dtype=np.float32)
    for block in gen_batches(len(reduced), BLOCK_ROWS):
        rows = np.flatnonzero(labels[block] >= 0) + block.start
        found[rows] = np.linalg.norm(reduced[rows] - centers[labels[rows]], axis=1)
    return found
