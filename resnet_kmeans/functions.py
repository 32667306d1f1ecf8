"""Provides the four original functions of this package, built on its estimators."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.clustering import cluster_rows
from resnet_kmeans.exceptions import UnreadableImagesWarning, warn_caller
from resnet_kmeans.export import check_output_folder, export_clusters
from resnet_kmeans.features import Extraction, FeatureCache
from resnet_kmeans.images import require_images
from resnet_kmeans.network import NetworkSpec, network_of


def extract_features(
    folder_path: str | os.PathLike[str], model: Any, input_shape: tuple[int, int] = (224, 224)
) -> tuple[np.ndarray, list[str]]:
    """Return the features that any Keras model computes for the images in a folder.

    Parameters
    ----------
    folder_path : str or path-like
        Folder of images; its subfolders are searched too.
    model : keras.Model
        A model for images preprocessed by ``keras.applications.resnet50.preprocess_input``; the
        preprocessing is done here.
    input_shape : tuple of int, default=(224, 224)
        Height and width, in pixels, that images are resized to.

    Returns
    -------
    features : ndarray of shape (n, d), dtype float32
        The output of the model for each image, flattened.
    file_paths : list of str
        Paths of the n images, in natural order. Unreadable images are left out, with a warning.

    Raises
    ------
    FolderNotFoundError, NoImagesError
        If the folder does not exist or contains no image.

    Examples
    --------
    >>> from keras.applications import ResNet50  # doctest: +SKIP
    >>> model = ResNet50(include_top=False, pooling="avg")  # doctest: +SKIP
    >>> features, paths = extract_features("photos", model)  # doctest: +SKIP
    """
    paths = [os.fspath(path) for path in require_images(folder_path)]
    # pooling=None flattens the output. No cache: the model has no file whose contents could
    # identify it.
    spec = NetworkSpec(pooling=None, input_shape=input_shape, precision="float32")
    extraction = Extraction(spec, FeatureCache(None), network=network_of(model, spec))
    rows = extraction.run(paths)
    if extraction.reasons:
        reasons = {paths[i]: reason for i, reason in extraction.reasons.items()}
        warn_caller(UnreadableImagesWarning(reasons))
    readable = [i for i in range(len(paths)) if i not in extraction.reasons]
    return rows[readable], [paths[i] for i in readable]


def cluster_images(features: np.ndarray, n_clusters: int = 5) -> np.ndarray:
    """Cluster rows of features with K-Means, with a fixed random state.

    Rows that are the same have the same label.

    Parameters
    ----------
    features : array-like of shape (n, d)
        One row per image.
    n_clusters : int, default=5
        Number of clusters, at most n.

    Returns
    -------
    ndarray of shape (n,), dtype int32
        The label of each row, from 0 to `n_clusters` - 1.

    Examples
    --------
    >>> labels = cluster_images([[0.0], [0.1], [5.0]], n_clusters=2)
    >>> bool(labels[0] == labels[1] != labels[2])
    True
    """
    return cluster_rows(np.asarray(features), n_clusters)


def save_clustered_images(
    labels: Sequence[int],
    file_paths: Sequence[str | os.PathLike[str]],
    output_folder: str | os.PathLike[str],
) -> None:
    """Copy images to one folder per cluster, as `export_clusters` does.

    Parameters
    ----------
    labels : sequence of int, of length n
        The cluster of each image, from 0; -3 for an unreadable image, which is not copied.
    file_paths : sequence of path-like, of length n
        Paths of the images.
    output_folder : str or path-like
        The output folder; it must not exist yet, or be empty.

    Raises
    ------
    OutputFolderError
        If the folder is not empty, or an image is missing. In these cases, nothing is written.

    Examples
    --------
    >>> save_clustered_images([0, 1], ["a.jpg", "b.jpg"], "clusters")  # doctest: +SKIP
    """
    export_clusters(file_paths, labels, output_folder)


def find_and_cluster_images(
    input_folder: str | os.PathLike[str],
    output_folder: str | os.PathLike[str],
    n_clusters: int = 5,
) -> None:
    """Cluster the images of a folder, and copy each image to the folder of its cluster.

    Parameters
    ----------
    input_folder : str or path-like
        Folder of images; its subfolders are searched too.
    output_folder : str or path-like
        The output folder, outside `input_folder`; it must not exist yet, or be empty.
    n_clusters : int, default=5
        Number of clusters, at most the number of readable images.

    Raises
    ------
    OutputFolderError, FolderNotFoundError, NoImagesError, TooFewImagesError,
    WeightsNotFoundError
        If the output folder is not empty, the input folder does not exist or has too few
        images, or the weights cannot be downloaded. In each case, nothing is written.

    Examples
    --------
    >>> find_and_cluster_images("photos", "clusters", n_clusters=10)  # doctest: +SKIP
    """
    # Checked before the work of clustering, and not only by the export after it.
    check_output_folder(Path(output_folder))
    ImageFolderClusterer(n_clusters, random_state=0).fit(input_folder).export(output_folder)
