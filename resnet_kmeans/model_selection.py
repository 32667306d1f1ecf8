"""Chooses the number of clusters and scores clusterings, without true labels."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from resnet_kmeans import clustering
from resnet_kmeans.clusterer import ImageFolderClusterer, sample_of
from resnet_kmeans.clustering import NClustersChoice, NClustersScore
from resnet_kmeans.images import images_of

__all__ = [
    "NClustersChoice",
    "NClustersScore",
    "choose_n_clusters",
    "modularity_scorer",
    "silhouette_scorer",
]


def choose_n_clusters(
    X: Any, n_clusters: Iterable[int] | None = None, *, estimator: Any = None
) -> NClustersChoice:
    """Choose the number of clusters of images.

    The features of the images are computed once, and the images are clustered once for each
    candidate. The number whose clusters have the highest score is chosen. The score is the gain
    in BIC, the Bayesian information criterion, per image and dimension, of one Gaussian for
    each cluster over one Gaussian for all images (Fraley and Raftery 1998). All Gaussians have
    the same covariance, in at most 32 principal components, and the penalty of BIC is doubled.
    Of more than 10,000 images, a random sample of 10,000 is used.

    Parameters
    ----------
    X : str, path-like or sequence of length n
        A folder, or images in any form that `ResNetFeaturizer.transform` accepts.
    n_clusters : iterable of int, default=None
        The numbers of clusters to try, called candidates. Numbers below 2 are ignored, and so
        are numbers above that of different images. None tries 2 to 16, then 23, 32, 45, …
        until the score has fallen, and then numbers around the best, without an upper limit.
    estimator : ImageFolderClusterer or Pipeline, default=None
        Estimator that provides the featurizer, the reducer and the clusterer; it does not have
        to be fitted. A Pipeline must start with a featurizer and end in a clusterer. None uses
        ``ImageFolderClusterer(random_state=0)``.

    Returns
    -------
    NClustersChoice
        The chosen number (``n_clusters``), the ``reason`` for it, a ``table`` with the scores
        of all candidates, and whether all scores are as low as those of noise (``is_flat``).
        The reason says if the number is the first or the last candidate.

    Raises
    ------
    TooFewImagesError
        If no candidate is below the number of readable images.
    TypeError
        If the estimator is of another type, or `n_clusters` is no iterable of numbers.
    ValueError
        If no candidate is above 1.

    Warns
    -----
    FlatCurveWarning
        If no number of clusters explains the images better than a single cluster would.

    Examples
    --------
    >>> from resnet_kmeans import ImageFolderClusterer, choose_n_clusters
    >>> choice = choose_n_clusters("photos")  # doctest: +SKIP
    >>> choice.n_clusters, choice.reason  # doctest: +SKIP
    (12, 'the highest score, 0.31')
    >>> clusterer = ImageFolderClusterer(choice.n_clusters).fit("photos")  # doctest: +SKIP
    """
    if isinstance(n_clusters, str) or not isinstance(n_clusters, Iterable | None):
        raise TypeError(
            f"Expected numbers of clusters to try, got {n_clusters!r}. Nothing was computed. Pass "
            "range(2, 31), for example, or None."
        )
    given = ImageFolderClusterer(random_state=0) if estimator is None else clone(estimator)
    if isinstance(given, Pipeline):
        found = np.asarray(given[0].fit_transform(sample_of(images_of(X))))
        rows = clustering.drop_unreadable(found)
        return clustering.choose(rows, n_clusters, lambda k: _new_steps(given[1:], k, len(rows)))
    if not isinstance(given, ImageFolderClusterer):
        raise TypeError(
            f"Expected an ImageFolderClusterer or a Pipeline, got a {type(given).__name__}. "
            "Nothing was computed. Put a clusterer into a Pipeline after a featurizer."
        )
    given._validate_params()  # the steps of a Pipeline validate their own in `fit`
    return given._choose(X, n_clusters)


def _new_steps(pipeline: Pipeline, n_clusters: int, n_rows: int) -> Pipeline:
    """Return the unfitted steps of a Pipeline with another number of clusters."""
    new = clone(pipeline)
    for _, step in new.steps[:-1]:
        if step != "passthrough" and clustering.depends_on_n_clusters(step):
            step.set_params(n_clusters=n_clusters)
    name, clusterer = new.steps.pop()
    last = (name, clustering.new_clusterer(clusterer, n_clusters, n_rows, random_state=None))
    # If only the clusterer is left, `choose` still needs a step that transforms.
    return Pipeline([("features", "passthrough"), *new.steps, last])


def modularity_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a fitted estimator by the modularity of its predicted labels.

    Pass it as the `scoring` of GridSearchCV, to search over a Pipeline that starts with a
    featurizer and ends in a clusterer that has `predict`. An `ImageFolderClusterer` does not
    need it; its own `score` comes closer to the true number of clusters. Modularity (Newman and
    Girvan 2004, with resolution 1.5) is computed on the graph of the 3 nearest neighbors of
    each image in feature space.

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
        A number from -1 to 1; higher is better. It is -1 if there is only one label, or if
        there are fewer than 3 images.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from resnet_kmeans import ResNetFeaturizer, find_images, modularity_scorer
    >>> pipeline = make_pipeline(ResNetFeaturizer(), KMeans())
    >>> parameters = {"kmeans__n_clusters": range(2, 10)}
    >>> search = GridSearchCV(pipeline, parameters, scoring=modularity_scorer)
    >>> search.fit(find_images("photos")).best_params_  # doctest: +SKIP
    {'kmeans__n_clusters': 6}
    """
    return clustering.modularity_score(*_features_and_labels(estimator, X))


def silhouette_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a fitted estimator by the mean silhouette of its predicted labels.

    To choose the number of clusters, use `modularity_scorer` instead: silhouettes nearly always
    favor far too few clusters.

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
        The mean silhouette in feature space, of at most 10,000 images: a number from -1 to 1;
        higher is better. It is -1 if there is only one label, or as many labels as images.

    Examples
    --------
    >>> from resnet_kmeans import ImageFolderClusterer, silhouette_scorer
    >>> clusterer = ImageFolderClusterer(5).fit("photos")  # doctest: +SKIP
    >>> silhouette_scorer(clusterer, "photos")  # doctest: +SKIP
    0.21
    """
    return clustering.mean_silhouette(*_features_and_labels(estimator, X))


def _features_and_labels(estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(estimator, Pipeline):
        features, labels = estimator._features_and_labels(X)
        return features, labels
    readable = clustering.drop_unreadable(np.asarray(estimator[0].transform(X)))
    labels = estimator[1:].predict(readable) if len(readable) else np.empty(0, dtype=int)
    return readable, np.asarray(labels)
