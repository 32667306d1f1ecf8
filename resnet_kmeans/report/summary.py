"""Summarizes a clustering in dataclasses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from resnet_kmeans.clustering import silhouette_sample
from resnet_kmeans.exceptions import printable
from resnet_kmeans.images import common_folder, short_name, source_name
from resnet_kmeans.report.clusters import (
    ClusterSummary,
    in_folders,
    join_equal_names,
    mean_of_known,
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
    silhouettes : ndarray of shape (n,)
        Silhouette of each image; NaN if unknown. Of more than 10,000 images, only those of a
        random sample are known.
    rivals : ndarray of shape (n,)
        Label of the nearest other cluster for images that are shown; -1 if unknown.
    mean_silhouette : float or None
        Mean silhouette; None without features.
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
    silhouettes: np.ndarray
    rivals: np.ndarray
    mean_silhouette: float | None
    clusters: list[ClusterSummary]
    unreadable: dict[str, str]
    mapped: np.ndarray
    positions: np.ndarray
    projection: str
    facts: dict[str, str]

    @property
    def uncertain(self) -> np.ndarray:
        """Mask of shape (n,) of the images with a negative silhouette."""
        return np.asarray(self.silhouettes < 0)

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
    reasons: Mapping[str, str] | None = None,
    names: Sequence[str] | Mapping[int, str] | None = None,
    facts: Mapping[str, Any] | None = None,
    projection: str | None = "auto",
) -> ClusteringSummary:
    """Summarize a clustering.

    Parameters
    ----------
    images : sequence of length n
        Paths, bytes, PIL images or uint8 arrays.
    labels : array-like of int, of shape (n,)
        Label of each image; -1 for noise, -2 for one set aside, -3 for an unreadable image.
    features : ndarray of shape (n, d), default=None
        The rows that were clustered; without them, there are no silhouettes and no map.
    distances : array-like of shape (n,), default=None
        Distance of each image to its center; None computes them from `features`.
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

    Returns
    -------
    ClusteringSummary

    Raises
    ------
    ValueError
        If lengths differ, or labels are not integers.
    """
    images, labels = list(images), _check(images, labels, features, distances)
    labels, named = join_equal_names(labels, names)
    placed, rows = np.flatnonzero(in_folders(labels)), np.flatnonzero(labels >= 0)
    known = None if features is None or not len(rows) else np.asarray(features)
    silhouettes, gaps = _score(known, labels, rows)
    order = gaps if distances is None else np.asarray(distances, dtype=float)
    clusters = sum_up_clusters(labels, named, order, silhouettes)
    shown = np.array([i for cluster in clusters for i in cluster.shown], dtype=int)
    mapped, positions, drawn = _draw_map(known, placed, shown, projection)
    folder = common_folder([images[i] for i in placed.tolist()])
    short = [short_name(image, i, folder) for i, image in enumerate(images)]
    return ClusteringSummary(
        images=images,
        names=short,
        folder=printable(folder),
        labels=labels,
        silhouettes=silhouettes,
        rivals=_rivals(known, labels, shown),
        mean_silhouette=mean_of_known(silhouettes),
        clusters=clusters,
        unreadable={
            short[i]: printable((reasons or {}).get(source_name(images[i], i), "reason unknown"))
            for i in np.flatnonzero(~in_folders(labels)).tolist()
        },
        mapped=mapped,
        positions=positions,
        projection=drawn,
        facts={str(name): str(value) for name, value in (facts or {}).items()},
    )


def _check(images: Any, given: Any, features: Any, distances: Any) -> np.ndarray:
    labels: np.ndarray = np.asarray(given)
    lengths = [len(x) for x in (images, labels, features, distances) if x is not None]
    if len(set(lengths)) != 1 or not lengths[0] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            "Expected equal numbers of images, integer labels, features and distances, at least "
            f"one each, got {lengths}, labels of {labels.dtype}. Nothing was computed. Pass one "
            "of each per image, in one order, with the label -3 for an unreadable image."
        )
    return labels


def _score(
    features: np.ndarray | None, labels: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return silhouettes, and distances of images to their own centers; NaN if unknown."""
    silhouettes, distances = np.full((2, len(labels)), np.nan)
    if features is None:
        return silhouettes, distances
    found, own = np.unique(labels[rows], return_inverse=True)
    own_centers = _centers(features, labels, found)[own]
    distances[rows] = np.linalg.norm(features[rows] - own_centers, axis=1)
    if 1 < len(found) < len(rows):
        drawn, values = silhouette_sample(features[rows], labels[rows])
        silhouettes[rows[drawn]] = values
    return silhouettes, distances


def _centers(features: np.ndarray, labels: np.ndarray, found: np.ndarray) -> np.ndarray:
    return np.array([features[labels == label].mean(axis=0) for label in found])


def _rivals(features: np.ndarray | None, labels: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return the nearest other cluster of each image that is shown, and -1 for all others."""
    rivals, found = np.full(len(labels), -1), np.unique(labels[labels >= 0])
    if features is not None and len(found) > 1:
        gaps = euclidean_distances(features[shown], _centers(features, labels, found))
        gaps[labels[shown][:, None] == found] = np.inf
        rivals[shown] = found[gaps.argmin(axis=1)]
    return rivals


def _draw_map(
    features: np.ndarray | None, rows: np.ndarray, shown: np.ndarray, projection: str | None
) -> tuple[np.ndarray, np.ndarray, str]:
    if features is None or projection is None:
        return rows[:0], np.empty((0, 2)), ""
    # The map contains all images that the page shows, and a random sample of the others.
    others = np.random.RandomState(0).permutation(np.setdiff1d(rows, shown))
    mapped = np.sort(np.concatenate([shown, others[: max(0, MAX_MAPPED - len(shown))]]))
    return mapped, *project(features[mapped], projection)
