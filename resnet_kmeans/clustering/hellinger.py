"""Reduces features to their principal components, after the Hellinger map."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from resnet_kmeans.clustering.memory_cache import cached
from resnet_kmeans.clustering.rows import MAX_COMPONENTS, USUAL, sample
from resnet_kmeans.clustering.threads import one_thread_if_small

MAX_ROWS = 5_000  # maximum number of rows to learn from
# With fewer rows per dimension, the estimated covariance is mostly noise.
ROWS_PER_COMPONENT = 5


class HellingerPCA(TransformerMixin, BaseEstimator):
    """Principal components of rows after the Hellinger map.

    Parameters
    ----------
    n_components : int, default=64
        Number of components; fewer if there are fewer features, or fewer than 5 rows for each.

    Attributes
    ----------
    components_ : ndarray of shape (c, d)
        The principal axes.
    mean_ : ndarray of shape (d,)
        Mean of the mapped rows.
    residual_limit_ : float
        95% of other rows of this kind, of which the axes were not learnt, have a residual below.
    """

    def __init__(self, n_components: int = 64):
        self.n_components = n_components

    def fit(self, X: np.ndarray, y: Any = None) -> HellingerPCA:
        """Learn the axes from rows of shape (n, d), at most 5,000 of them; y is ignored."""
        rows = select_training_rows(X)
        axes, self.mean_, _ = principal_components(rows)
        self.components_ = axes[: self.n_components]
        ((self.residual_limit_,),) = cached(_compute_residual_limit, rows, self.n_components)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the components of rows, an ndarray of shape (n, c) and dtype float32."""
        return ((scaled(X) - self.mean_) @ self.components_.T).astype(np.float32)

    def residuals(self, X: np.ndarray) -> np.ndarray:
        """Return what the components do not hold of rows: squared lengths, of shape (n,).

        They are from 0 to 4. Pictures of another kind have large ones, even if their components
        are ordinary.
        """
        centered = scaled(X) - self.mean_
        inside = centered @ self.components_.T
        return np.maximum((centered**2).sum(axis=1) - (inside**2).sum(axis=1), 0)


def select_training_rows(features: np.ndarray, max_rows: int = MAX_ROWS) -> np.ndarray:
    """Return at most `max_rows` rows, a fixed random sample if there are more."""
    if len(features) <= max_rows:
        return features
    return features[sample(len(features), max_rows, random_state=0)]


def principal_components(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the principal components of rows, cached in memory.

    Parameters
    ----------
    rows : ndarray of shape (n, d)

    Returns
    -------
    axes : ndarray of shape (r, d)
        Principal axes of the scaled rows.
    mean : ndarray of shape (d,)
        Mean of the scaled rows.
    reduced : ndarray of shape (n, r), dtype float64
        Scaled rows in the space of the axes.
    """
    axes, mean, reduced = cached(_compute_pca, rows)
    return axes, mean, reduced


def _compute_pca(rows: np.ndarray) -> tuple[np.ndarray, ...]:
    n_components = max(1, min(MAX_COMPONENTS, rows.shape[1], len(rows) // ROWS_PER_COMPONENT))
    # Equal rows have no variance, by which PCA divides.
    with one_thread_if_small(len(rows)), np.errstate(invalid="ignore"):
        # "auto" would also mean 7, but 4 if there are fewer than ten rows per component.
        pca = PCA(n_components, random_state=0, iterated_power=7)
        reduced = pca.fit_transform(scaled(rows)).astype(np.float64)
    return pca.components_, pca.mean_, reduced


def _compute_residual_limit(rows: np.ndarray, n_components: int) -> tuple[np.ndarray, ...]:
    held_out = np.zeros(len(rows), bool)
    held_out[sample(len(rows), len(rows) // 4, random_state=0)] = True
    if held_out.sum() < 2:  # too few to tell; no residual is above 4
        return (np.array([4.0]),)
    axes, mean, _ = _compute_pca(rows[~held_out])
    projection = HellingerPCA()
    projection.components_, projection.mean_ = axes[:n_components], mean
    return (np.quantile(projection.residuals(rows[held_out]), [USUAL]),)


def scaled(rows: np.ndarray) -> np.ndarray:
    """Return the Hellinger map of rows: the square root of each feature, then unit length."""
    # Features after a ReLU are never negative; those of other networks keep their sign.
    return normalize(np.copysign(np.sqrt(np.abs(rows)), rows), copy=False)
