"""Scores clusterings, with and without true classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, silhouette_samples
from sklearn.metrics.cluster import contingency_matrix

from resnet_kmeans.clustering.mixture import LOWEST
from resnet_kmeans.clustering.neighbors import cached_nearest
from resnet_kmeans.clustering.rows import sample

MAX_ROWS = 10_000  # the time for silhouettes grows with the square of the number of rows
# With resolution 1, modularity prefers few large clusters (Fortunato and Barthelemy 2007). On
# labeled sets, the maximum with 1.5 had the smallest error in the number of clusters.
RESOLUTION = 1.5
# For the folds of a cross-validation: a fold has few images of each cluster, so most of 15
# neighbors would belong to other clusters.
SCORE_NEIGHBORS = 3


class Evaluation(NamedTuple):
    """How well clusters agree with true classes.

    Parameters
    ----------
    ami : float
        Adjusted mutual information: 1 is perfect, 0 chance.
    ari : float
        Adjusted Rand index, likewise.
    accuracy : float
        Share of the images in the right cluster, if each class is matched with at most one
        cluster in the best way.
    classes : list of str, of length m
    clusters : list of str, of length k
        Matched clusters in the order of their classes, then the others.
    counts : ndarray of shape (m, k)
        Number of images of each class in each cluster.
    """

    ami: float
    ari: float
    accuracy: float
    classes: list[str]
    clusters: list[str]
    counts: np.ndarray


def evaluate_labels(classes: Sequence[str], labels: Sequence[str]) -> Evaluation:
    """Compare the classes of n images with the names of their clusters."""
    counts = contingency_matrix(classes, labels)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    order = [*columns, *np.setdiff1d(np.arange(counts.shape[1]), columns)]
    return Evaluation(
        float(adjusted_mutual_info_score(classes, labels)),
        float(adjusted_rand_score(classes, labels)),
        float(counts[rows, columns].sum() / len(classes)),
        np.unique(classes).tolist(),
        np.unique(labels)[order].tolist(),
        counts[:, order],
    )


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
        Positions of the rows in the sample; the same for equal n.
    silhouettes : ndarray of float
        From -1 to 1. All are -1 if silhouettes are not defined, because there is only one
        cluster or as many clusters as rows.
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


def modularity(neighbors: np.ndarray, labels: np.ndarray, resolution: float = 1.0) -> float:
    """Return the modularity of labels on a nearest-neighbor graph.

    Modularity is the share of edges within clusters, minus the share expected by chance.

    Parameters
    ----------
    neighbors : ndarray of shape (n, m)
        Result of `nearest`.
    labels : ndarray of shape (n,), dtype int
        Labels from 0 on.
    resolution : float, default=1
        Weight of the share expected by chance. Values above 1 favor a larger number of smaller
        clusters.

    Returns
    -------
    float
        At most 1; higher is better.

    References
    ----------
    M. E. J. Newman and M. Girvan (2004), Finding and evaluating community structure in
    networks, Physical Review E 69.

    J. Reichardt and S. Bornholdt (2006), Statistical mechanics of community detection,
    Physical Review E 74: the resolution.
    """
    n_rows, n_neighbors = neighbors.shape
    # An edge counts at both of its ends.
    degrees = np.bincount(neighbors.ravel(), minlength=n_rows) + n_neighbors
    shares = np.bincount(labels, weights=degrees) / degrees.sum()
    inside = (labels[:, None] == labels[neighbors]).mean()
    return float(inside - resolution * (shares**2).sum())


def modularity_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the modularity of labels on the 3-nearest-neighbor graph of the features.

    Parameters
    ----------
    features : ndarray of shape (n, d)
    labels : ndarray of shape (n,), dtype int
        Each negative label counts as a cluster too.

    Returns
    -------
    float
        -1, the lowest score, if there are fewer than 3 rows or there is only one label.
    """
    if len(features) < 3 or len(np.unique(labels)) < 2:
        return LOWEST
    neighbors = cached_nearest(features, SCORE_NEIGHBORS)
    # `modularity` takes labels from 0 on; noise, which is negative, becomes a cluster.
    return modularity(neighbors, np.unique(labels, return_inverse=True)[1], RESOLUTION)
