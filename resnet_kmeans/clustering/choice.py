"""Scores what each number of clusters makes of rows, and chooses one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline

from resnet_kmeans.clustering.neighbours import modularity, nearest
from resnet_kmeans.clustering.recipe import depends_on_n_clusters, new_reducer
from resnet_kmeans.clustering.shared_work import shared
from resnet_kmeans.clustering.silhouette import silhouette_sample
from resnet_kmeans.exceptions import FlatCurveWarning, TooFewImagesError

# Above 1, since modularity at 1 prefers few large clusters (Fortunato and Barthelemy 2007).
# Measured over labelled sets: 1.5 and the best k err least, without a tolerance.
RESOLUTION = 1.5
N_NEIGHBORS = 15  # of the graph that numbers of clusters are judged by
SCORE_NEIGHBORS = 3  # of the graph of `modularity_score`: folds are small
LOWEST = -1.0  # what modularity cannot fall below at this resolution
# Rows without any structure gave silhouettes within 0.015 to 0.017 of each other over
# 2 to 30 clusters (600 rows of normal noise in 10 and 64 dimensions).
FLAT_SILHOUETTES = 0.02


class NClustersScore(NamedTuple):
    """What one number of clusters gives.

    Parameters
    ----------
    n_clusters : int
        The number.
    silhouette : float
        Mean over the rows, in the space of the reducer; where that differs with the
        number, in the space of ``reducer="pca"``.
    inertia : float
        Sum of squared distances to the means of the clusters, in the same space.
    smallest_cluster : int
        Images in the smallest cluster, of at most 10,000 images.
    standard_error : float
        Of the silhouette.
    modularity : float
        Of the labels on the graph of nearest neighbours, resolution 1.5.
    """

    n_clusters: int
    silhouette: float
    inertia: float
    smallest_cluster: int
    standard_error: float
    modularity: float = np.nan


@dataclass(frozen=True)
class NClustersChoice:
    """A number of clusters, why it was chosen, and from what.

    Parameters
    ----------
    n_clusters : int
        The chosen number.
    reason : str
        One sentence.
    table : list of NClustersScore
        One row for each number tried, in rising order.
    is_flat : bool
        Whether the silhouettes are as close together as those of noise.
    """

    n_clusters: int
    reason: str
    table: list[NClustersScore]
    is_flat: bool


def choose(
    features: np.ndarray, n_clusters: Iterable[int], new_steps: Callable[[int], Pipeline]
) -> NClustersChoice:
    """Choose the number of clusters whose labels have the highest modularity.

    Parameters
    ----------
    features : ndarray of shape (n, d)
        Of readable images.
    n_clusters : iterable of int
        Numbers to try; those not below n are left out.
    new_steps : function
        Returns, for a number of clusters, the unfitted Pipeline from features to labels.

    Returns
    -------
    NClustersChoice
    """
    candidates = sorted({int(k) for k in n_clusters if 1 < k < len(features)})
    if not candidates:
        raise TooFewImagesError(len(features), 3)
    neighbours = nearest(features, N_NEIGHBORS)
    rows = _comparable_rows(features, new_steps(candidates[-1]))
    table = []
    for k in candidates:
        labels = _labels(features, rows, new_steps(k))
        table.append(_score(k, rows, labels, modularity(neighbours, labels, RESOLUTION)))
    best = max(table, key=lambda score: score.modularity)
    silhouettes = [score.silhouette for score in table]
    is_flat = len(table) > 2 and max(silhouettes) - min(silhouettes) < FLAT_SILHOUETTES
    if is_flat:
        warnings.warn(
            f"No number of clusters stands out: silhouettes are all within {FLAT_SILHOUETTES} "
            f"of each other, as for noise. {best.n_clusters} has the highest modularity, which "
            "noise has too; choose by what the clusters are for.",
            FlatCurveWarning,
            stacklevel=3,
        )
    reason = f"the highest modularity, {best.modularity:.2f}"
    return NClustersChoice(best.n_clusters, reason, table, is_flat)


def modularity_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the modularity of labels on the graph of the 3 nearest neighbours of features.

    Parameters
    ----------
    features : ndarray of shape (n, d)
    labels : ndarray of shape (n,), dtype int

    Returns
    -------
    float
        -1, the lowest, where there are fewer than 3 rows or one label only.
    """
    if len(features) < 3 or len(np.unique(labels)) < 2:
        return LOWEST
    (neighbours,) = shared(_nearest, features, SCORE_NEIGHBORS)
    # Noise is a cluster of its own here.
    return modularity(neighbours, np.unique(labels, return_inverse=True)[1], RESOLUTION)


def _nearest(rows: np.ndarray, n_neighbors: int) -> tuple[np.ndarray, ...]:
    return (nearest(rows, n_neighbors),)


def _comparable_rows(features: np.ndarray, steps: Pipeline) -> np.ndarray:
    """Return rows of one space for all numbers of clusters, to compare silhouettes in."""
    reducer = steps[:-1]
    if _differs(reducer):
        reducer = new_reducer("pca", features.shape, None, 0)
    return np.asarray(reducer.fit_transform(features))


def _labels(features: np.ndarray, rows: np.ndarray, steps: Pipeline) -> np.ndarray:
    found = steps.fit(features) if _differs(steps[:-1]) else steps[-1].fit(rows)
    labels = found.predict(features if found is steps else rows)
    return np.unique(labels, return_inverse=True)[1]  # noise is a cluster of its own here


def _differs(reducer: Pipeline) -> bool:
    return any(step != "passthrough" and depends_on_n_clusters(step) for _, step in reducer.steps)


def _score(
    n_clusters: int, rows: np.ndarray, labels: np.ndarray, modularity: float
) -> NClustersScore:
    _, silhouettes = silhouette_sample(rows, labels)
    sizes = np.bincount(labels, minlength=n_clusters)
    centers = np.stack([rows[labels == k].mean(axis=0) for k in range(labels.max() + 1)])
    inertia = float(((rows - centers[labels]) ** 2).sum())
    mean, error = silhouettes.mean(), silhouettes.std() / np.sqrt(len(silhouettes))
    smallest = int(sizes.min())
    return NClustersScore(n_clusters, float(mean), inertia, smallest, float(error), modularity)
