"""Summarizes a clustering in dataclasses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_kmeans.clustering import DOUBTFUL, FolderGaussians, is_readable
from resnet_kmeans.exceptions import printable
from resnet_kmeans.images import common_folder, short_name, source_name
from resnet_kmeans.report.clusters import (
    MAX_SHOWN,
    ClusterSummary,
    in_folders,
    join_equal_names,
    sum_up_clusters,
)
from resnet_kmeans.report.projection import project

MAX_MAPPED = 2500  # points of the map; t-SNE then takes about 10 s on one core


@dataclass(frozen=True)
class ClusteringSummary:
    """Summary of a clustering of n images.

    Attributes
    ----------
    images : list of length n
        The images, as given.
    names : list of str, of length n
        Printable paths, relative to `folder`.
    folder : str
        The folder that contains all images, printable; empty for images in memory.
    labels : ndarray of shape (n,)
        Label of each image; -1 for noise, -2 for one set aside, -3 for an unreadable image.
    features : ndarray of shape (n, d) or None
        As given.
    doubts : ndarray of shape (n,)
        Probability that an image belongs to another cluster; NaN if unknown.
    suggestions : ndarray of shape (n,)
        Label of the most probable other cluster; -1 if unknown.
    clusters : list of ClusterSummary
        Clusters in the order of labels, then noise and images that were set aside. Clusters with
        equal names are merged.
    unreadable : dict of str to str
        Reason for each unreadable image, by name.
    mapped : ndarray of int
        Positions of the images on the map.
    positions : ndarray of shape (len(mapped), 2)
        Coordinates of these images on the map, from 0 to 1.
    projection : str
        Caption of the map; empty if there is no map.
    facts : dict of str to str
        Description of the clustering.
    """

    images: list[Any]
    names: list[str]
    folder: str
    labels: np.ndarray
    features: np.ndarray | None
    doubts: np.ndarray
    suggestions: np.ndarray
    clusters: list[ClusterSummary]
    unreadable: dict[str, str]
    mapped: np.ndarray
    positions: np.ndarray
    projection: str
    facts: dict[str, str]

    @property
    def doubtful(self) -> np.ndarray:
        """Mask of shape (n,) of the images that are likelier to belong to another cluster."""
        return np.asarray(self.doubts > DOUBTFUL)

    @property
    def n_clustered(self) -> int:
        """Number of images in clusters."""
        return int((self.labels >= 0).sum())

    @property
    def n_clusters(self) -> int:
        """Number of clusters, excluding noise and images that were set aside."""
        return sum(cluster.label >= 0 for cluster in self.clusters)


def summarize(
    images: Sequence[Any],
    labels: Sequence[int] | np.ndarray,
    *,
    features: np.ndarray | None = None,
    distances: Sequence[float] | np.ndarray | None = None,
    doubts: Sequence[float] | np.ndarray | None = None,
    suggestions: Sequence[int] | np.ndarray | None = None,
    reasons: Mapping[str, str] | None = None,
    names: Sequence[str] | Mapping[int, str] | None = None,
    facts: Mapping[str, Any] | None = None,
    projection: str | None = "auto",
    max_shown: int | None = MAX_SHOWN,
) -> ClusteringSummary:
    """Summarize a clustering.

    Parameters
    ----------
    images : sequence of length n
        Paths, bytes, PIL images or uint8 arrays.
    labels : array-like of int, of shape (n,)
        Label of each image; -1 for noise, -2 for one set aside, -3 for an unreadable image.
    features : ndarray of shape (n, d), default=None
        Rows of the images, reduced; without them, there is no map.
    distances : array-like of shape (n,), default=None
        How far each image is from the center of its cluster.
    doubts, suggestions : array-like of shape (n,), default=None
        Probability that each image belongs to another cluster, and the label of that cluster.
        None computes what is missing of these three from `features`.
    reasons : mapping of str to str, default=None
        Reason for each unreadable image, by path.
    names : sequence of str, or mapping of int to str, default=None
        Name of each label, by default ``cluster_0``, …; clusters of equal names are merged.
    facts : mapping of str, default=None
        Description of the clustering.
    projection : {"auto", "pca", "tsne", "umap"} or None, default="auto"
        Method that computes the map; ``"auto"`` uses t-SNE, or PCA for fewer than 10 images, and
        None computes no map. For 1,319 rows of 64 columns, t-SNE took 3 s on two cores; UMAP took
        72 s, including its import.
    max_shown : int or None, default=1000
        Number of images that a page shows; None shows all.

    Returns
    -------
    ClusteringSummary

    Raises
    ------
    ValueError
        If lengths differ, or labels are not integers.
    """
    reasons, given = reasons or {}, [features, distances, doubts, suggestions]
    images, labels = list(images), _check(images, labels, *given)
    labels, named = join_equal_names(labels, names)
    placed = np.flatnonzero(in_folders(labels))
    known = None if features is None else np.asarray(features)
    if known is not None and not is_readable(known)[labels >= 0].any():
        known = None
    is_judged = all(part is not None for part in (distances, doubts, suggestions))
    found = _judge(None if is_judged else known, labels)
    distances, doubts, suggestions = (
        np.asarray(own if own is not None else computed)
        for own, computed in zip((distances, doubts, suggestions), found)
    )
    clusters = sum_up_clusters(labels, named, distances, doubts, max_shown)
    shown = np.array([i for cluster in clusters for i in cluster.shown], dtype=int)
    mapped, positions, drawn = _draw_map(known, placed, shown, projection)
    folder = common_folder([images[i] for i in placed.tolist()])
    outside = np.flatnonzero(~in_folders(labels)).tolist()
    source = common_folder([images[i] for i in outside])  # they were not exported
    short = [short_name(image, i, folder) for i, image in enumerate(images)]
    short_source = {i: short_name(images[i], i, source) for i in outside}
    return ClusteringSummary(
        images=images,
        names=short,
        folder=printable(folder),
        labels=labels,
        features=known,
        doubts=doubts,
        suggestions=suggestions,
        clusters=clusters,
        unreadable={
            short_source[i]: printable(reasons.get(source_name(images[i], i), "reason unknown"))
            for i in outside
        },
        mapped=mapped,
        positions=positions,
        projection=drawn,
        facts={str(name): str(value) for name, value in (facts or {}).items()},
    )


def read_clusterer(clusterer: Any, images: Any = None) -> dict[str, Any]:
    """Return the results of a fitted clusterer, as arguments of `summarize`.

    Parameters
    ----------
    clusterer : fitted ImageFolderClusterer
        Any other clusterer needs only the attribute `labels_`, in which negative labels are
        noise. The attributes `image_paths_`, `image_features_`, `unreadable_` and
        `cluster_names_` are used if they exist.
    images : sequence of length n, default=None
        The images of the fit, which are needed if they were in memory or have been moved.

    Returns
    -------
    dict
        Arguments of `summarize`.

    Raises
    ------
    ValueError
        If the clusterer has no labels.
    """
    if not hasattr(clusterer, "labels_"):
        raise ValueError(
            "Expected a clusterer with the labels of its images, got a "
            f"{type(clusterer).__name__} without labels_: it was not fitted, or was loaded from "
            "a model file. Nothing was drawn. Fit it, or pass the images, with "
            "clusterer.predict(images) as labels."
        )
    names = {
        "images": "image_paths_",
        "labels": "labels_",
        "features": "image_features_",
        "reasons": "unreadable_",
        "names": "cluster_names_",
    }
    known = {n: getattr(clusterer, name) for n, name in names.items() if hasattr(clusterer, name)}
    if images is not None:
        known["images"] = images
    return known


def _check(images: Any, given: Any, *others: Any) -> np.ndarray:
    labels: np.ndarray = np.asarray(given)
    lengths = [len(x) for x in (images, labels, *others) if x is not None]
    if len(set(lengths)) != 1 or not lengths[0] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            "Expected equal numbers of images, integer labels, features and distances, at least "
            f"one each, got {lengths}, labels of {labels.dtype}. Nothing was computed. Pass one "
            "of each per image, in one order, with the label -3 for an unreadable image."
        )
    return labels


def _judge(features: np.ndarray | None, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return distances, doubts and the labels of other clusters; NaN or -1 if unknown."""
    distances, doubts = np.full((2, len(labels)), np.nan)
    others = np.full(len(labels), -1)
    if features is not None:
        rows = np.flatnonzero((labels >= 0) & is_readable(features))
        found, own = np.unique(labels[rows], return_inverse=True)
        judged = FolderGaussians().fit(features[rows], own).judge(features[rows], own)
        distances[rows], doubts[rows] = judged.distances, judged.doubts
        others[rows] = np.where(judged.others >= 0, found[judged.others], -1)
    return distances, doubts, others


def _draw_map(
    features: np.ndarray | None, rows: np.ndarray, shown: np.ndarray, projection: str | None
) -> tuple[np.ndarray, np.ndarray, str]:
    if features is None or projection is None:
        return rows[:0], np.empty((0, 2)), ""
    known = is_readable(features)
    rows, shown = rows[known[rows]], shown[known[shown]]
    # The map contains all images that the page shows, and a random sample of the others.
    random = np.random.RandomState(0)
    others = random.permutation(np.setdiff1d(rows, shown))
    mapped = np.concatenate([random.permutation(shown), others])[:MAX_MAPPED]
    mapped.sort()
    return mapped, *project(features[mapped], projection)
