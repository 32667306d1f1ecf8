"""Works on rows block by block; a row of NaN stands for an image that cannot be read."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils import check_random_state, gen_batches

from resnet_kmeans.cluster_names import NOISE, UNREADABLE
from resnet_kmeans.clustering.nearest import NearestLabels

# Of a block of features: itself, readable rows alone, normalised, centred by PCA.
COPIES = 4
BLOCK_ROWS = 65_536  # reduced rows that are worked on at a time where that makes copies


def n_in_memory(width: int) -> int:
    """Return how many rows of features scikit-learn's `working_memory` holds, with copies."""
    return max(64, int(get_config()["working_memory"] * 2**20 // (COPIES * 4 * width)))


def sample(n_rows: int, n_drawn: int, random_state: Any) -> np.ndarray:
    """Return the positions of at most `n_drawn` rows, in rising order."""
    if n_rows <= n_drawn:
        return np.arange(n_rows)
    return np.sort(check_random_state(random_state).choice(n_rows, n_drawn, replace=False))


def features_of(featurizer: Any, sources: list[Any]) -> np.ndarray:
    """Return features as float32, since KMeans fitted on float32 refuses float64."""
    return np.asarray(featurizer.transform(sources), dtype=np.float32)


def is_readable(rows: np.ndarray) -> np.ndarray:
    """Return which rows are no NaN."""
    readable = np.empty(len(rows), dtype=bool)
    for block in gen_batches(len(rows), BLOCK_ROWS):
        readable[block] = ~np.isnan(rows[block]).any(axis=1)
    return readable


def select_readable(rows: np.ndarray, readable: np.ndarray) -> np.ndarray:
    """Return the readable rows, without a copy where all of them are."""
    return rows if readable.all() else rows[readable]


def reduce(reducer: Any, features: np.ndarray, width: int | None = None) -> np.ndarray:
    """Return reduced rows, NaN where the features are; `width` is for all of them NaN."""
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
    """Return the labels of reduced rows as int32: `UNREADABLE` where they are NaN."""
    readable = is_readable(reduced)
    found = clusterer.predict(select_readable(reduced, readable)) if readable.any() else []
    return _spread(found, readable)


def labels_of_fit(clusterer: Any, reduced: np.ndarray) -> np.ndarray:
    """Return what `predict` would, without looking for each row of the fit among them all."""
    if isinstance(clusterer, NearestLabels):
        return _spread(clusterer.labels_, is_readable(reduced))
    return predict(clusterer, reduced)


def _spread(found: Any, readable: np.ndarray) -> np.ndarray:
    labels = np.full(len(readable), UNREADABLE, dtype=np.int32)
    # scikit-learn's label of noise is that of an unreadable image here.
    labels[readable] = np.where(np.asarray(found) < 0, NOISE, found)
    return labels


def centers_of(clusterer: Any, reduced: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return a clusterer's centres, or the means of the rows where it has none."""
    for name in ("cluster_centers_", "means_"):  # the latter of mixtures
        if hasattr(clusterer, name):
            return np.asarray(getattr(clusterer, name), dtype=np.float32)
    centers = np.full((max(labels.max() + 1, 0), reduced.shape[1]), np.nan, dtype=np.float32)
    for label in np.unique(labels[labels >= 0]):
        centers[label] = reduced[labels == label].mean(axis=0)
    return centers


def distances(reduced: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return the distance of each row to each centre, float32, NaN where the row is."""
    found = np.full((len(reduced), len(centers)), np.nan, dtype=np.float32)
    readable = is_readable(reduced)
    if readable.any() and len(centers):
        found[readable] = euclidean_distances(select_readable(reduced, readable), centers)
    return found


def own_distances(reduced: np.ndarray, centers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the distance of each row to the centre of its label, float32, NaN without one."""
    found = np.full(len(reduced), np.nan, dtype=np.float32)
    for block in gen_batches(len(reduced), BLOCK_ROWS):
        rows = np.flatnonzero(labels[block] >= 0) + block.start
        found[rows] = np.linalg.norm(reduced[rows] - centers[labels[rows]], axis=1)
    return found
