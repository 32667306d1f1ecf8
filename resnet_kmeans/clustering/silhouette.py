"""Scores how well clusters are separated, without labels."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import silhouette_samples

MAX_ROWS = 10_000  # silhouettes take time and memory with the square of the rows


def silhouette_sample(
    rows: np.ndarray, labels: np.ndarray, max_rows: int = MAX_ROWS
) -> tuple[np.ndarray, np.ndarray]:
    """Return silhouettes of rows, of at most `max_rows` of them drawn at random.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    labels : ndarray of shape (n,)
    max_rows : int, default=10,000

    Returns
    -------
    positions : ndarray of int
        Which rows were drawn; always the same ones for the same n.
    silhouettes : ndarray of float
        From -1 to 1; all -1 where they are not defined, which is for one cluster only or
        as many as rows.
    """
    positions = np.arange(len(rows))
    if len(rows) > max_rows:
        drawn = np.random.RandomState(0).choice(len(rows), max_rows, replace=False)
        positions = np.sort(drawn)
    n_labels = len(np.unique(labels[positions]))
    if not 1 < n_labels < len(positions):
        return positions, np.full(len(positions), -1.0)
    return positions, silhouette_samples(rows[positions], labels[positions])


def mean_silhouette(rows: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of `silhouette_sample`, -1 where it is not defined."""
    _, silhouettes = silhouette_sample(rows, labels)
    return float(silhouettes.mean()) if len(silhouettes) else -1.0
