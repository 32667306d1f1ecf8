"""Chooses the number of clusters by the modularity of the labels."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline

from resnet_kmeans.clustering.neighbors import cached_nearest
from resnet_kmeans.clustering.recipe import depends_on_n_clusters, new_reducer
from resnet_kmeans.clustering.scores import (
    RESOLUTION,
    SCORE_NEIGHBORS,
    modularity,
    silhouette_sample,
)
from resnet_kmeans.clustering.spectral import N_NEIGHBORS
from resnet_kmeans.clustering.threads import one_thread_if_small
from resnet_kmeans.exceptions import FlatCurveWarning, TooFewImagesError, warn_caller

ROWS_PER_NEIGHBOR = 4  # for fewer than 60 rows, one neighbor per so many rows
# Silhouettes of noise differed by at most 0.015 to 0.017 between 2 and 30 clusters (600 rows
# from a normal distribution in 10 and in 64 dimensions).
FLAT_SILHOUETTES = 0.02


class NClustersScore(NamedTuple):
    """Scores of one number of clusters.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    silhouette : float
        Mean silhouette in the reduced space, from -1 to 1. If the reducer depends on
        `n_clusters`, the space of ``reducer="pca"`` is used instead, so that the rows of a table
        can be compared.
    inertia : float
        Sum of squared distances to the means of the clusters, in the same space.
    smallest_cluster : int
        Number of images in the smallest cluster, out of at most 10,000 images.
    standard_error : float
        Standard error of the mean silhouette.
    modularity : float, default=nan
        Modularity of the labels on the graph of the 15 nearest neighbors, with resolution 1.5.
    """

    n_clusters: int
    silhouette: float
    inertia: float
    smallest_cluster: int
    standard_error: float
    modularity: float = np.nan


@dataclass(frozen=True)
class NClustersChoice:
    """The chosen number of clusters, with the scores of all candidates.

    Parameters
    ----------
    n_clusters : int
        The chosen number.
    reason : str
        The reason for the choice, such as "the highest modularity, 0.71".
    table : list of NClustersScore
        Scores of each candidate, in ascending order of `n_clusters`.
    is_flat : bool
        Whether the silhouettes differ as little as those of noise.
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
        Features of readable images.
    n_clusters : iterable of int
        Candidates; those below 2, or not below n, are ignored.
    new_steps : callable
        Called with a number of clusters; returns an unfitted Pipeline of reducer and clusterer.

    Returns
    -------
    NClustersChoice

    Raises
    ------
    TooFewImagesError
        If no candidate is below n.
    ValueError
        If no candidate is above 1.

    Warns
    -----
    FlatCurveWarning
        If the silhouettes of three or more candidates differ as little as those of noise.
    """
    given = sorted({int(k) for k in n_clusters if k > 1})
    if not given:
        raise ValueError(
            "Expected numbers of clusters of 2 or more, got none. Nothing was computed. Pass "
            "range(2, 31), for example."
        )
    candidates = [k for k in given if k < len(features)]
    if not candidates:
        raise TooFewImagesError(len(features))
    # As many neighbors as ClusterDiscriminantAnalysis uses, so that both share the graph. Of few
    # rows, nearly all would be neighbors, and one row per cluster would have the highest
    # modularity.
    n_neighbors = min(N_NEIGHBORS, max(SCORE_NEIGHBORS, len(features) // ROWS_PER_NEIGHBOR))
    neighbors = cached_nearest(features, n_neighbors)
    table = []
    with one_thread_if_small(len(features)):
        rows = _comparable_rows(features, new_steps(candidates[-1]))
        for k in candidates:
            labels = _labels(features, rows, new_steps(k))
            table.append(_score(k, rows, labels, modularity(neighbors, labels, RESOLUTION)))
    best = max(table, key=lambda score: score.modularity)
    silhouettes = [score.silhouette for score in table]
    is_flat = len(table) > 2 and max(silhouettes) - min(silhouettes) < FLAT_SILHOUETTES
    if is_flat:
        warn_caller(
            FlatCurveWarning(
                f"No number of clusters stands out: all silhouettes are within {FLAT_SILHOUETTES} "
                f"of each other, as in noise. {best.n_clusters} has the highest modularity, but "
                "even noise has a maximum. Choose the number that suits your purpose."
            )
        )
    reason = f"the highest modularity, {best.modularity:.2f}"
    return NClustersChoice(best.n_clusters, reason, table, is_flat)


def _comparable_rows(features: np.ndarray, steps: Pipeline) -> np.ndarray:
    """Return rows in a space that is the same for all candidates."""
    # Silhouettes in different spaces cannot be compared.
    reducer = steps[:-1]
    if _differs(reducer):
        reducer = new_reducer("pca", features.shape, None, 0)
    return np.asarray(reducer.fit_transform(features))


def _labels(features: np.ndarray, rows: np.ndarray, steps: Pipeline) -> np.ndarray:
    reducer, clusterer = steps[:-1], steps[-1]
    reduced = reducer.fit_transform(features) if _differs(reducer) else rows
    labels = clusterer.fit(reduced).predict(reduced)
    return np.unique(labels, return_inverse=True)[1]  # from 0 on; noise becomes a cluster


def _differs(reducer: Pipeline) -> bool:
    return any(step != "passthrough" and depends_on_n_clusters(step) for _, step in reducer.steps)


def _score(n_clusters: int, rows: np.ndarray, labels: np.ndarray, value: float) -> NClustersScore:
    _, silhouettes = silhouette_sample(rows, labels)
    sizes = np.bincount(labels, minlength=n_clusters)
    centers = np.stack([rows[labels == k].mean(axis=0) for k in range(labels.max() + 1)])
    inertia = float(((rows - centers[labels]) ** 2).sum())
    mean, error = silhouettes.mean(), silhouettes.std() / np.sqrt(len(silhouettes))
    smallest = int(sizes.min())
    return NClustersScore(n_clusters, float(mean), inertia, smallest, float(error), value)
