"""Scores a clustering without labels, which makes the number of clusters a choice."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.clustering import (
    is_readable,
    keep,
    mean_silhouette,
    silhouette_sample,
    with_n_clusters,
)
from resnet_kmeans.exceptions import FlatCurveWarning, TooFewImagesError

# Kaufman and Rousseeuw (1990), Finding Groups in Data, table 4: above 0.5 a reasonable
# structure has been found.
CLEAR_SILHOUETTE = 0.5
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
        Mean over the rows, of at most 10,000 of them, in the space of the reducer.
    inertia : float
        Sum of squared distances to the centres.
    smallest_cluster : int
        Images in the smallest cluster.
    standard_error : float
        Of the silhouette.
    """

    n_clusters: int
    silhouette: float
    inertia: float
    smallest_cluster: int
    standard_error: float


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
        Whether the scores are as close together as those of noise.
    """

    n_clusters: int
    reason: str
    table: list[NClustersScore]
    is_flat: bool


def choose_n_clusters(
    X: Any, n_clusters: Iterable[int] = range(2, 31), *, estimator: Any = None
) -> NClustersChoice:
    """Choose a number of clusters; features are computed once for all numbers.

    The rule, in this order: where the best silhouette is above 0.5, its number (Kaufman
    and Rousseeuw 1990). Else the knee of the inertia, the number farthest below the chord
    of its curve (Satopaa et al. 2011), since silhouettes alone pick 2 wherever groups
    overlap; and from the knee on the number with the best silhouette, if that is better by
    more than two standard errors.

    Parameters
    ----------
    X : str, path-like or sequence of length n
        A folder, or images as `ResNetFeaturizer.transform` takes them.
    n_clusters : iterable of int, default=range(2, 31)
        Numbers to try; those not below the number of readable images are left out.
    estimator : ImageFolderClusterer or Pipeline, default=None
        Whose features, reducer and clusterer are used; a Pipeline must end in a clusterer.
        None is ``ImageFolderClusterer(random_state=0)``.

    Returns
    -------
    NClustersChoice
        The number, the reason and the whole table.

    Raises
    ------
    TooFewImagesError
        If no number is left to try.

    Warns
    -----
    FlatCurveWarning
        If the data show no number of clusters more clearly than noise would.
    """
    given = ImageFolderClusterer(random_state=0) if estimator is None else estimator
    rows, clusterer = _rows_and_clusterer(clone(given), X)
    candidates = sorted({int(k) for k in n_clusters if 1 < k < len(rows)})
    if not candidates:
        raise TooFewImagesError(len(rows), 3)
    table = [_score(with_n_clusters(clusterer, k), rows, k) for k in candidates]
    chosen, reason = _choose(table)
    silhouettes = [score.silhouette for score in table]
    is_flat = len(table) > 2 and max(silhouettes) - min(silhouettes) < FLAT_SILHOUETTES
    if is_flat:
        warnings.warn(
            f"No number of clusters stands out: silhouettes are all within {FLAT_SILHOUETTES} "
            f"of each other, as for noise. {chosen} is the knee of a smooth curve; choose by "
            "what the clusters are for.",
            FlatCurveWarning,
            stacklevel=2,
        )
    return NClustersChoice(chosen, reason, table, is_flat)


def _rows_and_clusterer(estimator: Any, X: Any) -> tuple[np.ndarray, Any]:
    if isinstance(estimator, Pipeline):
        reduced = np.asarray(estimator[:-1].fit_transform(X))
        return keep(reduced, is_readable(reduced)), estimator[-1]
    readable, clusterer = estimator.fit_rows(X)
    return readable, clusterer


def _score(clusterer: Any, rows: np.ndarray, n_clusters: int) -> NClustersScore:
    labels = clusterer.fit(rows).predict(rows)
    _, silhouettes = silhouette_sample(rows, labels)
    sizes = np.bincount(labels, minlength=n_clusters)
    centers = [rows[labels == k].mean(axis=0) if sizes[k] else rows[0] for k in range(n_clusters)]
    inertia = float(((rows - np.stack(centers)[labels]) ** 2).sum())
    error = float(silhouettes.std() / np.sqrt(len(silhouettes)))
    return NClustersScore(n_clusters, float(silhouettes.mean()), inertia, int(sizes.min()), error)


def _choose(table: list[NClustersScore]) -> tuple[int, str]:
    best = max(table, key=lambda score: score.silhouette)
    if best.silhouette >= CLEAR_SILHOUETTE or len(table) < 3:
        return best.n_clusters, f"the best silhouette, {best.silhouette:.2f}"
    knee = _knee(table)
    later = max(table[knee:], key=lambda score: score.silhouette)
    gain = later.silhouette - table[knee].silhouette
    if gain > 2 * later.standard_error:
        reason = f"the best silhouette ({later.silhouette:.2f}) from the knee of the inertia on"
        return later.n_clusters, reason
    return table[knee].n_clusters, "the knee of the inertia; no later silhouette is clearly better"


def _knee(table: list[NClustersScore]) -> int:
    """Return the position farthest below the chord of the inertia's curve."""
    numbers = np.array([score.n_clusters for score in table], dtype=float)
    inertias = np.array([score.inertia for score in table])
    across = (numbers - numbers[0]) / (numbers[-1] - numbers[0])
    up = (inertias - inertias[-1]) / max(inertias[0] - inertias[-1], 1e-12)
    return int((1 - across - up).argmax())


def silhouette_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a fitted estimator by the mean silhouette of its labels; more is better.

    For ``GridSearchCV(..., scoring=silhouette_scorer)`` over any Pipeline that starts with
    a featurizer and ends in a clusterer. Images pass the featurizer once. Above 10,000
    rows the score is that of 10,000 drawn at random.

    Parameters
    ----------
    estimator : Pipeline or ImageFolderClusterer
        Fitted.
    X : sequence of length n
        Images, as the featurizer takes them; a folder for an ImageFolderClusterer.
    y : Ignored
        Not used, present for API consistency by convention.

    Returns
    -------
    float
        From -1 to 1, in the space of the features; -1 where there is one label only, or as
        many as rows.
    """
    if not isinstance(estimator, Pipeline):
        return float(estimator.score(X))
    features = np.asarray(estimator[0].transform(X))
    readable = keep(features, is_readable(features))
    if not len(readable):
        return -1.0
    return mean_silhouette(readable, np.asarray(estimator[1:].predict(readable)))
