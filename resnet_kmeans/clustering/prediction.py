"""Predicts the clusters of rows, and their distances; rows of NaN have neither."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils import gen_batches

from resnet_kmeans._folder_names import UNREADABLE
from resnet_kmeans.clustering.folder_model import FolderGaussians
from resnet_kmeans.clustering.rows import first_copies, is_readable, select_readable

BLOCK_ROWS = 65_536  # reduced rows copied at a time
VOTERS = 5  # nearest neighbors; the default of KNeighborsClassifier


class NearestLabels(ClusterMixin, BaseEstimator):
    """Label new rows by a vote of the nearest rows of the fit, weighted by inverse distance.

    This gives a `predict` to clusterers that have none. Rows of the fit keep their labels.
    Noise takes part in the vote, so a new row can be noise too.

    Parameters
    ----------
    clusterer : clusterer
        Any estimator with `fit_predict`.

    Attributes
    ----------
    clusterer_ : clusterer
        The fitted clone of `clusterer`.
    labels_ : ndarray of shape (n,)
        Labels of the rows of the fit; negative for noise.
    """

    def __init__(self, clusterer: Any):
        self.clusterer = clusterer

    def fit(self, X: np.ndarray, y: Any = None) -> NearestLabels:
        """Cluster the rows of X, shape (n, n_features); y is ignored."""
        self.clusterer_ = clone(self.clusterer)
        found = np.asarray(self.clusterer_.fit_predict(X))[first_copies(X)]
        # Labels that only further copies had are closed up.
        kept = np.unique(found[found >= 0])
        self.labels_ = np.where(found < 0, found, np.searchsorted(kept, found))
        n_neighbors = min(VOTERS, len(X))
        # weights="distance" gives a row at distance 0 the whole vote.
        nearest = KNeighborsClassifier(n_neighbors, weights="distance", algorithm="brute")
        self.nearest_ = nearest.fit(X, self.labels_)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the label of each row of X, shape (n,)."""
        return np.asarray(self.nearest_.predict(X))


class FolderClassifier(FolderGaussians, BaseEstimator):
    """`FolderGaussians` as a step of a pipeline; only this one needs scikit-learn."""


def predict(clusterer: Any, reduced: np.ndarray) -> np.ndarray:
    """Return the labels of reduced rows as int32; those of rows of NaN are `UNREADABLE`.

    Rows that are the same have the same label.
    """
    readable = is_readable(reduced)
    if not readable.any():
        return _spread([], readable)
    rows = select_readable(reduced, readable)
    # Between two centers at the same place, roundings would decide.
    return _spread(np.asarray(clusterer.predict(rows))[first_copies(rows)], readable)


def labels_of_fit(clusterer: Any, reduced: np.ndarray) -> np.ndarray:
    """Return the labels of the rows of the fit, the same as those of `predict`."""
    # With `predict`, the search for neighbors would take quadratic time.
    if isinstance(clusterer, NearestLabels):
        return _spread(clusterer.labels_, is_readable(reduced))
    return predict(clusterer, reduced)


def _spread(found: Any, readable: np.ndarray) -> np.ndarray:
    labels = np.full(len(readable), UNREADABLE, dtype=np.int32)
    labels[readable] = found
    return labels


def centers_of(clusterer: Any, reduced: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the centers of a clusterer, or the means of its clusters if it has no centers."""
    for name in ("cluster_centers_", "means_"):  # Gaussian mixtures have means_
        if hasattr(clusterer, name):
            return np.asarray(getattr(clusterer, name), dtype=np.float32)
    centers = np.full((max(labels.max() + 1, 0), reduced.shape[1]), np.nan, dtype=np.float32)
    for label in np.unique(labels[labels >= 0]):
        centers[label] = reduced[labels == label].mean(axis=0)
    return centers


def distances(reduced: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return the distances of rows to all centers as float32; NaN for rows of NaN."""
    found = np.full((len(reduced), len(centers)), np.nan, dtype=np.float32)
    readable = is_readable(reduced)
    if readable.any() and len(centers):
        found[readable] = euclidean_distances(select_readable(reduced, readable), centers)
    return found


def own_distances(reduced: np.ndarray, centers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the distance of each row to its own center as float32; NaN if it has none."""
    found = np.full(len(reduced), np.nan, dtype=np.float32)
    for block in gen_batches(len(reduced), BLOCK_ROWS):
        rows = np.flatnonzero(labels[block] >= 0) + block.start
        found[rows] = np.linalg.norm(reduced[rows] - centers[labels[rows]], axis=1)
    return found
