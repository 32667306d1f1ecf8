"""Computes silhouettes, on a sample of many rows."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import silhouette_samples

from resnet_kmeans.clustering.nan_rows import sample

MAX_ROWS = 10_000  # the time of silhouettes grows with the square of the rows


def silhouette_sample(
    rows: np.ndarray, labels: np.ndarray, max_rows: int = MAX_ROWS
) -> tuple[np.ndarray, np.ndarray]:
    """Return the silhouettes of rows, or of a fixed random sample of them.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    labels : ndarray of shape (n,)
    max_rows : int, default=10,000
        Size of the sample.

    Returns
    -------
    positions : ndarray of int
        The rows of the sample; the same for equal n.
    silhouettes : ndarray of float
        From -1 to 1; all -1 if they are not defined, which is the case for one cluster or
        as many clusters as rows.
    """
    positions = sample(len(rows), max_rows, random_state=0)
    n_labels = len(np.unique(labels[positions]))
    if not 1 < n_labels < len(positions):
        return positions, np.full(len(positions), -1.0)
    return positions, silhouette_samples(rows[positions], labels[positions])


def mean_silhouette(rows: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean silhouette, -1 if it is not defined."""
    _, silhouettes = silhouette_sample(rows, labels)
    return float(silhouettes.mean()) if len(silhouettes) else -1.0
