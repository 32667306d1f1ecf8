"""Scores a clustering without labels, which makes the number of clusters a choice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.clustering import (
    NClustersChoice,
    NClustersScore,
    choose,
    depends_on_n_clusters,
    is_readable,
    mean_silhouette,
    modularity_score,
    select_readable,
    with_n_clusters,
)

__all__ = [
    "NClustersChoice",
    "NClustersScore",
    "choose_n_clusters",
    "modularity_scorer",
    "silhouette_scorer",
]


def choose_n_clusters(
    X: Any, n_clusters: Iterable[int] = range(2, 31), *, estimator: Any = None
) -> NClustersChoice:
    """Choose a number of clusters; features are computed once for all numbers.

    The number whose labels have the highest modularity (Newman and Girvan 2004; resolution
    1.5) on the graph of the 15 nearest neighbours of each image, in feature space. Above
    10,000 images, of so many drawn at random. Modularity does not see where there is
    nothing to find; silhouettes do, so they are in the table too, and warn.

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
    if isinstance(given, Pipeline):
        features = np.asarray(clone(given[0]).fit_transform(X))
        features = select_readable(features, is_readable(features))
        return choose(features, n_clusters, lambda k: _new_steps(given[1:], k))
    features = clone(given).features_to_choose_by(X)
    return choose(features, n_clusters, lambda k: given.new_steps(features.shape, k))


def _new_steps(pipeline: Pipeline, n_clusters: int) -> Pipeline:
    """Return the unfitted steps of a Pipeline for another number of clusters."""
    new = clone(pipeline)
    for _, step in new.steps[:-1]:
        if step != "passthrough" and depends_on_n_clusters(step):
            step.set_params(n_clusters=n_clusters)
    name, clusterer = new.steps.pop()
    last = (name, with_n_clusters(clusterer, n_clusters))
    # A Pipeline that ends in its first step has no other part that could transform.
    return Pipeline([("features", "passthrough"), *new.steps, last])


def modularity_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a fitted estimator by the modularity of its labels; more is better.

    For ``GridSearchCV(..., scoring=modularity_scorer)`` over any Pipeline that starts with
    a featurizer and ends in a clusterer; it is `ImageFolderClusterer`'s own score. The
    graph is that of the 3 nearest neighbours of each image of `X` (Newman and Girvan 2004;
    resolution 1.5).

    Parameters
    ----------
    estimator : Pipeline or ImageFolderClusterer
        Fitted.
    X : sequence of length n
        Images, as the featurizer takes them; a folder for an ImageFolderClusterer. Above
        10,000 images an ImageFolderClusterer takes 10,000 drawn at random.
    y : Ignored
        Not used, present for API consistency by convention.

    Returns
    -------
    float
        From -1 to 1; -1 where there is one label only, or fewer than 3 images.
    """
    return modularity_score(*_features_and_labels(estimator, X))


def silhouette_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a fitted estimator by the mean silhouette of its labels; more is better.

    As `modularity_scorer`, which errs less in the number of clusters: silhouettes nearly
    always pick far too few.

    Parameters
    ----------
    estimator : Pipeline or ImageFolderClusterer
        Fitted.
    X : sequence of length n
        As for `modularity_scorer`.
    y : Ignored
        Not used, present for API consistency by convention.

    Returns
    -------
    float
        From -1 to 1, in the space of the features, of at most 10,000 rows; -1 where there
        is one label only, or as many as rows.
    """
    return mean_silhouette(*_features_and_labels(estimator, X))


def _features_and_labels(estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(estimator, Pipeline):
        features, labels = estimator.features_and_labels(X)
        return features, labels
    features = np.asarray(estimator[0].transform(X))
    readable = select_readable(features, is_readable(features))
    labels = estimator[1:].predict(readable) if len(readable) else np.empty(0, dtype=int)
    return readable, np.asarray(labels)
