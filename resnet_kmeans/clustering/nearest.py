"""Makes a clusterer predict that cannot, by the nearest rows of its fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.neighbors import KNeighborsClassifier

N_NEIGHBORS = 5  # as KNeighborsClassifier's own default; a tie goes to the nearer ones


class NearestLabels(ClusterMixin, BaseEstimator):
    """Give new rows the label that weighs most among their nearest rows of the fit.

    A row of the fit keeps its own label. Where most of the nearest rows are noise, a new row
    is noise too.

    Parameters
    ----------
    clusterer : clusterer
        Anything with `fit_predict`.

    Attributes
    ----------
    clusterer_ : clusterer
        The fitted clone.
    labels_ : ndarray of shape (n,)
        Of the rows of the fit; negative for noise.
    """

    def __init__(self, clusterer: Any):
        self.clusterer = clusterer

    def fit(self, X: np.ndarray, y: Any = None) -> NearestLabels:
        self.clusterer_ = clone(self.clusterer)
        self.labels_ = np.asarray(self.clusterer_.fit_predict(X))
        n_neighbors = min(N_NEIGHBORS, len(X))
        # By distance, so that a row of the fit, at distance 0, outweighs all others.
        nearest = KNeighborsClassifier(n_neighbors, weights="distance", algorithm="brute")
        self.nearest_ = nearest.fit(X, self.labels_)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.nearest_.predict(X))
