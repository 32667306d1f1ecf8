"""Applies the model that an export keeps to new images, or to one cluster."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.clustering import nan_rows, new_fitted_kmeans, reduce_blocks
from resnet_kmeans.exceptions import OutputFolderError, TooFewImagesError, printable
from resnet_kmeans.export import (
    ACTIONS,
    ExportedImage,
    NewImages,
    add_to_export,
    finish_adding,
    kept_model,
    read_export,
    require_folder,
    resume,
    select_new,
    split_folder,
)
from resnet_kmeans.images import as_sources, images_of, reason_unreadable


def add_images(
    folder: str | os.PathLike[str],
    images: Any,
    *,
    action: str = "copy",
    set_aside: bool = False,
    dry_run: bool = False,
    **featurizer_params: Any,
) -> list[ExportedImage]:
    """Add new images to the clusters of an export.

    The model that the export keeps finds the cluster of each image. Folders that were renamed
    or merged are respected. Images that are in the export already, by source or by content,
    are skipped, so adding the same images again does nothing.

    Parameters
    ----------
    folder : str or path-like
        The folder of a finished export.
    images : str, path-like or sequence of path-like, of length n
        A folder of images, or their paths.
    action : {"copy", "hardlink", "symlink", "move"}, default="copy"
        How images are put into the folders.
    set_aside : bool, default=False
        If True, images that fit badly go to ``_set_aside``: those that are farther from their
        centre than 99 % of the images of the fit. Their `reason` says so in either case.
    dry_run : bool, default=False
        If True, only check and return what would be done.
    **featurizer_params
        Parameters of `ResNetFeaturizer` that differ on this machine, for example
        ``weights=PATH``.

    Returns
    -------
    list of ExportedImage, of length n or less
        The images as they were, or would be, added, including unreadable ones. Empty if the
        export has all of them already.

    Raises
    ------
    OutputFolderError
        If the folder is not an export, keeps no model, or another command on it was
        interrupted; nothing is done then. Also if the command stops midway, for example
        because the disk is full; it can be repeated.
    ValueError
        If the action is unknown.
    """
    if action not in ACTIONS:
        raise ValueError(
            f"Expected an action from {ACTIONS}, got {action!r}. Nothing was done. Choose one of "
            "them."
        )
    request = {
        "command": "add",
        "input": _input_of(images),
        "action": action,
        "set_aside": set_aside,
    }
    # Before the network runs: an interrupted command has its plan in the journal already.
    if not dry_run and (done := finish_adding(folder, request)) is not None:
        return done
    model = load_kept_model(folder, featurizer_params)
    paths = select_new(folder, [os.fspath(path) for path in images_of(images)])
    if not paths:
        return []
    new = find_nearest_centers(model, paths)
    return add_to_export(
        folder, new, action=action, set_aside=set_aside, request=request, dry_run=dry_run
    )


def split_cluster(
    folder: str | os.PathLike[str],
    cluster: int | str,
    n_clusters: int = 2,
    *,
    dry_run: bool = False,
    **featurizer_params: Any,
) -> list[ExportedImage]:
    """Split a cluster of an export by clustering its images again.

    The parts are called ``NAME_1``, ``NAME_2``, …. In the model that the export keeps, their
    centres replace that of the cluster.

    Parameters
    ----------
    folder : str or path-like
        The folder of a finished export.
    cluster : int or str
        The label or the present folder of the cluster.
    n_clusters : int, default=2
        Number of parts.
    dry_run : bool, default=False
        If True, only check and return what would be done.
    **featurizer_params
        Parameters of `ResNetFeaturizer` that differ on this machine, for example
        ``weights=PATH``.

    Returns
    -------
    list of ExportedImage
        All images of the export, as they are, or would be, afterwards.

    Raises
    ------
    OutputFolderError
        If the folder is not an export, keeps no model, or another command on it was
        interrupted; nothing is done then.
    CurationError
        If there is no such cluster.
    TooFewImagesError
        If the cluster has fewer readable images than parts.
    """
    request = {"command": "split", "cluster": str(cluster), "n_clusters": n_clusters}
    if not dry_run and (done := resume(folder, request)) is not None:
        return done
    state = read_export(folder)
    named = require_folder(state, cluster)
    model = load_kept_model(folder, featurizer_params)
    inside = [image for image in state.images if image.name == named]
    places = [image.exported_path for image in inside if image.exported_path]
    reduced = reduced_rows(model, [os.path.join(folder, place) for place in places])
    readable = nan_rows.is_readable(reduced)
    if readable.sum() < n_clusters:
        raise TooFewImagesError(int(readable.sum()), n_clusters)
    parts = KMeans(n_clusters, n_init=10, random_state=0).fit(reduced[readable])
    distances = parts.transform(reduced[readable]).min(axis=1)
    # Clusters that were merged share the folder: the parts replace the centres of all.
    kept = [i for i, label in enumerate(state.centers) if state.folders[label] != named]
    found = zip(np.flatnonzero(readable), parts.labels_, distances)
    return split_folder(
        folder,
        named,
        {places[i]: (int(part), float(distance)) for i, part, distance in found},
        model=_with_parts(model, kept, parts.cluster_centers_),
        centers=kept,
        request=request,
        dry_run=dry_run,
    )


def _input_of(images: Any) -> str:
    """Return a short text that identifies the images of a request."""
    if isinstance(images, (str, os.PathLike)):
        return os.path.abspath(images)
    paths = "\0".join(os.path.abspath(path) for path in as_sources(images))
    digest = hashlib.sha256(paths.encode(errors="surrogateescape")).hexdigest()
    return f"{len(images)} images {digest[:16]}"


def load_kept_model(
    folder: str | os.PathLike[str], featurizer_params: Mapping[str, Any]
) -> ImageFolderClusterer:
    """Return the model that an export keeps.

    Raises
    ------
    OutputFolderError
        If the export keeps none.
    """
    file = kept_model(folder)
    if file is None:
        raise OutputFolderError(
            f"Expected an export that keeps its model, got {printable(folder)} without one. It was "
            "made from labels alone or by an early version, or its model has a custom step, which "
            "cannot be saved. Nothing was done. Export again with model=clusterer, or assign the "
            "images to a new folder with a saved model."
        )
    return ImageFolderClusterer.load(file, **featurizer_params)


def find_nearest_centers(model: ImageFolderClusterer, paths: Sequence[str]) -> NewImages:
    """Return images with their nearest centre in a fitted model, or why they have none."""
    distances = model.transform(paths)
    readable = ~np.isnan(distances).any(axis=1)
    nearest = np.where(readable, np.nan_to_num(distances).argmin(axis=1), -1)
    bad = [paths[i] for i in np.flatnonzero(~readable).tolist()]
    reasons = {path: reason_unreadable(path) or "" for path in bad}
    return NewImages(paths, nearest.tolist(), distances.min(axis=1).tolist(), reasons)


def reduced_rows(model: ImageFolderClusterer, paths: Sequence[Any]) -> np.ndarray:
    """Return the rows in which the model measures distances, NaN for unreadable images."""
    featurizer, reducer, _ = (step for _, step in model.pipeline_.steps)
    width = model.cluster_centers_.shape[1]
    return np.concatenate([*reduce_blocks(as_sources(paths), featurizer, reducer, width)])


def _with_parts(
    model: ImageFolderClusterer, kept: list[int], centers: np.ndarray
) -> ImageFolderClusterer:
    """Return a model with some of the present centres, followed by new ones."""
    centers = np.concatenate([model.cluster_centers_[kept], centers]).astype(np.float32)
    changed = ImageFolderClusterer(**model.get_params(deep=False))
    changed.set_params(n_clusters=len(centers))
    featurizer, reducer, _ = (step for _, step in model.pipeline_.steps)
    return changed._set_steps(featurizer, reducer, new_fitted_kmeans(centers, model.inertia_))
