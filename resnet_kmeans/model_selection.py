"""Chooses the number of clusters and scores clusterings, without true labels."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from resnet_kmeans.clusterer import ImageFolderClusterer, sample_of
from resnet_kmeans.clustering import (
    NClustersChoice,
    NClustersScore,
    choose,
    depends_on_n_clusters,
    drop_unreadable,
    mean_silhouette,
    modularity_score,
    new_clusterer,
)
from resnet_kmeans.images import images_of

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
    """Choose the number of clusters of images.

    The images are clustered once for each candidate; their features are computed once. The
    number with the highest modularity is chosen (Newman and Girvan 2004, with resolution 1.5
    on the graph of the 15 nearest neighbors in feature space, fewer below 60 images).
    Modularity has a maximum even where there are no clusters. Silhouettes reveal that case, so
    the table contains them too.
    Of more than 10,000 images, a random sample of 10,000 is used.

    Parameters
    ----------
    X : str, path-like or sequence of length n
        A folder, or images in any form that `ResNetFeaturizer.transform` accepts.
    n_clusters : iterable of int, default=range(2, 31)
        Candidates; those not below the number of readable images are ignored.
    estimator : ImageFolderClusterer or Pipeline, default=None
        Estimator that provides the featurizer, the reducer and the clusterer. A Pipeline must
        end in a clusterer. None uses ``ImageFolderClusterer(random_state=0)``.

    Returns
    -------
    NClustersChoice
        The number, the reason and the scores of all candidates.

    Raises
    ------
    TooFewImagesError
        If no candidate is below the number of readable images.
    TypeError
        If the estimator is of another type.
    ValueError
        If no candidate is above 1.

    Warns
    -----
    FlatCurveWarning
        If the silhouettes of the candidates differ as little as those of noise.
    """
    given = ImageFolderClusterer(random_state=0) if estimator is None else clone(estimator)
    if isinstance(given, Pipeline):
        return _choose_for_pipeline(given, X, n_clusters)
    if not isinstance(given, ImageFolderClusterer):
        raise TypeError(
            f"Expected an ImageFolderClusterer or a Pipeline, got a {type(given).__name__}. "
            "Nothing was computed. Put a clusterer into a Pipeline after a featurizer."
        )
    given._validate_params()  # a Pipeline's steps validate theirs in `fit`
    return given._choose(X, n_clusters)


def _choose_for_pipeline(pipeline: Pipeline, X: Any, n_clusters: Iterable[int]) -> NClustersChoice:
    features = drop_unreadable(np.asarray(pipeline[0].fit_transform(sample_of(images_of(X)))))
    return choose(features, n_clusters, lambda k: _new_steps(pipeline[1:], k, len(features)))


def _new_steps(pipeline: Pipeline, n_clusters: int, n_rows: int) -> Pipeline:
    """Return the unfitted steps of a Pipeline with another number of clusters."""
    new = clone(pipeline)
    for _, step in new.steps[:-1]:
        if step != "passthrough" and depends_on_n_clusters(step):
            step.set_params(n_clusters=n_clusters)
    name, clusterer = new.steps.pop()
    last = (name, new_clusterer(clusterer, n_clusters, n_rows, random_state=None))
    # If only the clusterer is left, `choose` still needs a step that transforms.
    return Pipeline([("features", "passthrough"), *new.steps, last])


def modularity_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a fitted estimator by the modularity of its predicted labels.

    Use it as ``GridSearchCV(..., scoring=modularity_scorer)`` over a Pipeline that starts with
    a featurizer and ends in a clusterer that has `predict`. `ImageFolderClusterer.score` is
    the same. Modularity (Newman and Girvan 2004, with resolution 1.5) is computed on the graph
    of the 3 nearest neighbors of each image in feature space.

    Parameters
    ----------
    estimator : fitted Pipeline or ImageFolderClusterer
        Estimator to score.
    X : sequence of length n
        Images, in any form that the featurizer accepts; an ImageFolderClusterer accepts a
        folder too. Of more than 10,000 images, an ImageFolderClusterer uses a random sample
        of 10,000.
    y : Ignored
        Not used, present for API consistency by convention.

    Returns
    -------
    float
        From -1 to 1, higher is better; -1 if there is only one label, or fewer than 3 images.
    """
    return modularity_score(*_features_and_labels(estimator, X))


def silhouette_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a fitted estimator by the mean silhouette of its predicted labels.

    Prefer `modularity_scorer` to choose the number of clusters: silhouettes nearly always
    favor far too few.

    Parameters
    ----------
    estimator : fitted Pipeline or ImageFolderClusterer
        Estimator to score.
    X : sequence of length n
        Images, as for `modularity_scorer`.
    y : Ignored
        Not used, present for API consistency by convention.

    Returns
    -------
    float
        From -1 to 1, higher is better, in feature space on at most 10,000 images; -1 if there
        is only one label, or as many labels as images.
    """
    return mean_silhouette(*_features_and_labels(estimator, X))


def _features_and_labels(estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(estimator, Pipeline):
        features, labels = estimator._features_and_labels(X)
        return features, labels
    readable = drop_unreadable(np.asarray(estimator[0].transform(X)))
    labels = estimator[1:].predict(readable) if len(readable) else np.empty(0, dtype=int)
    return readable, np.asarray(labels)
