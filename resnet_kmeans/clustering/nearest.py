"""Adds `predict` to clusterers that lack it, by nearest neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.neighbors import KNeighborsClassifier

N_NEIGHBORS = 5  # the default of KNeighborsClassifier


class NearestLabels(ClusterMixin, BaseEstimator):
    """Label new rows by a vote of the nearest rows of the fit, weighted by distance.

    Rows of the fit keep their labels. Noise takes part in the vote, so a new row can be
    noise too.

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
        self.labels_ = np.asarray(self.clusterer_.fit_predict(X))
        n_neighbors = min(N_NEIGHBORS, len(X))
        # weights="distance" gives a row at distance 0 the whole vote.
        nearest = KNeighborsClassifier(n_neighbors, weights="distance", algorithm="brute")
        self.nearest_ = nearest.fit(X, self.labels_)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the label of each row of X, shape (n,)."""
        return np.asarray(self.nearest_.predict(X))
