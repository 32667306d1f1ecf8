"""Suggests names for clusters: the ImageNet classes that the network sees in their images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from resnet_kmeans.clustering import rows
from resnet_kmeans.exceptions import NetworkError
from resnet_kmeans.featurizer import ResNetFeaturizer
from resnet_kmeans.images import as_sources, require_images
from resnet_kmeans.network import Head, head_of

BLOCK = 4096  # images whose class probabilities are held together, 16 MB


def suggest_cluster_names(
    clusterer: Any, X: Any = None, *, min_probability: float = 0.3
) -> list[tuple[str, float] | None]:
    """Suggest names for the clusters of a fitted clusterer.

    The last layer of the network turns the features of each image into probabilities of the
    1,000 classes of ImageNet, and these are averaged over a cluster. Of the classes that
    reach `min_probability` the one is taken whose probability, times its share in the sum
    over all clusters, is highest: what all clusters show tells none from the others. From
    0.3 on most suggestions were right in our tests, below it most were wrong.

    Parameters
    ----------
    clusterer : ImageFolderClusterer
        Fitted, with ``weights="imagenet"``, ``layer=None`` and ``pooling="avg"``.
    X : str, path-like, sequence of length n or ndarray of shape (n, n_features), default=None
        A folder or images, or the features of the network, of type float. None takes the
        images of the fit, whose features are in the cache: only with ``cache=None`` do
        they pass the network again.
    min_probability : float, default=0.3
        From 0 to 1.

    Returns
    -------
    list of (str, float) or None, of length n_clusters
        Name and mean probability of the class; None for a cluster that no class fits.

    Raises
    ------
    NetworkError
        If the features are not those that the network tells the classes of ImageNet by.
    WeightsNotFoundError
        If the head, for a ResNet in a file of its own (103 MB), cannot be had.
    ValueError
        If `X` is None and the clusterer knows no images, as after `load`.
    """
    check_is_fitted(clusterer)
    if not 0 <= min_probability <= 1:
        raise ValueError(f"Expected min_probability from 0 to 1, got {min_probability!r}.")
    head = head_of_featurizer(clusterer.pipeline_["featurizer"])
    classes, column = np.unique(head.class_names, return_inverse=True)  # two are there twice
    totals = np.zeros((len(clusterer.cluster_centers_), len(classes)))
    sizes = np.zeros(len(totals))
    for features, labels in _labelled_features(clusterer, X):
        np.add.at(totals, (labels[:, None], column), head.probabilities(features))
        np.add.at(sizes, labels, 1)
    means = totals / np.maximum(sizes, 1)[:, None]
    share = means / np.maximum(means.sum(axis=0), np.finfo(float).tiny)
    weighed = np.where(means >= min_probability, means * share, 0)
    best = weighed.argmax(axis=1)
    return [
        (str(classes[k]), float(means[label, k])) if weighed[label, k] > 0 else None
        for label, k in enumerate(best)
    ]


def head_of_featurizer(featurizer: Any) -> Head:
    """Return the layer that tells ImageNet's classes by a featurizer's features.

    Raises
    ------
    NetworkError
        If it has none.
    WeightsNotFoundError
        If it cannot be had.
    """
    if not isinstance(featurizer, ResNetFeaturizer):
        raise NetworkError(
            f"Expected features of a ResNetFeaturizer, got those of {type(featurizer).__name__}, "
            "which tell no classes. Nothing was computed. Name clusters by set_cluster_names."
        )
    return head_of(featurizer.network_spec())


def _labelled_features(clusterer: Any, X: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield features and labels of the images that are in a cluster, block by block."""
    featurizer, reducer, last = (step for _, step in clusterer.pipeline_.steps)
    are_features = isinstance(X, np.ndarray) and np.issubdtype(X.dtype, np.floating)
    given = X if are_features else _images(clusterer, X)
    for block in gen_batches(len(given), BLOCK):
        features = given[block] if are_features else rows.features_of(featurizer, given[block])
        if X is None:
            labels = clusterer.labels_[block]
        else:
            width = clusterer.cluster_centers_.shape[1]
            labels = rows.predict(last, rows.reduce(reducer, features, width))
        known = (labels >= 0) & rows.is_readable(features)
        yield features[known], labels[known]


def _images(clusterer: Any, X: Any) -> list[Any]:
    if isinstance(X, (str, os.PathLike)):
        return list(require_images(X))
    if X is None and not hasattr(clusterer, "labels_"):
        raise ValueError(
            "Expected a clusterer that knows its images, got one that was loaded from a file. "
            "Nothing was computed. Pass images, or their features, as X."
        )
    return as_sources(clusterer.image_paths_ if X is None else X)


def folder_names(
    names: Sequence[str], suggestions: Sequence[tuple[str, float] | None]
) -> list[str]:
    """Return names with suggestions behind them, as folders may be called.

    The name in front keeps two clusters apart that show the same.

    Examples
    --------
    >>> folder_names(["cluster_0", "cluster_1"], [("Tiger shark", 0.8), None])
    ['cluster_0_tiger_shark', 'cluster_1']
    """
    ends = ["_" + re.sub(r"\W+", "_", s[0].lower()).strip("_") if s else "" for s in suggestions]
    return [name + end for name, end in zip(names, ends)]
