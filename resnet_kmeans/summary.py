"""Sums a clustering up in plain dataclasses."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import euclidean_distances
from threadpoolctl import threadpool_limits

from resnet_kmeans.exceptions import printable
from resnet_kmeans.silhouette import silhouette_sample
from resnet_kmeans.sources import source_name

MAX_SHOWN = 1000  # images; above that a sample of each cluster
MAX_MAPPED = 2500  # points; t-SNE of these takes about 10 s on one core
MIN_TSNE = 10  # points; t-SNE of fewer shows nothing that PCA does not


@dataclass(frozen=True)
class ClusterSummary:
    """One cluster.

    Attributes
    ----------
    label : int
    size : int
        Number of images.
    cohesion : float or None
        Mean silhouette, from -1 to 1; None where it is not defined.
    n_uncertain : int
        Number of images known to be nearer to another cluster.
    shown : list of int
        Positions of the images to show: the most typical first, then, where not all are
        shown, the least certain.
    n_typical : int
        How many of `shown` are there for being typical.
    """

    label: int
    size: int
    cohesion: float | None
    n_uncertain: int
    shown: list[int]
    n_typical: int


@dataclass(frozen=True)
class ClusteringSummary:
    """A clustering of n images.

    Attributes
    ----------
    images : list of length n
        Paths, bytes, PIL images or arrays.
    names : list of str, of length n
        Paths from `folder` on, fit to be printed.
    folder : str
        The folder that all images lie in, fit to be printed; empty for images in memory.
    labels : ndarray of shape (n,)
        -1 for an image that belongs to no cluster.
    silhouettes : ndarray of shape (n,)
        From -1 to 1, below 0 where another cluster is nearer; NaN where unknown, which
        above 10,000 images is all but a sample.
    rivals : ndarray of shape (n,)
        The nearest other cluster of each shown image; -1 where unknown.
    cohesion : float or None
        Mean of `silhouettes`.
    clusters : list of ClusterSummary
    unreadable : dict of str to str
        Name and reason of each image without a cluster.
    mapped : ndarray of int
        Positions of the images on the map.
    positions : ndarray of shape (len(mapped), 2)
        From 0 to 1.
    projection : str
        How the map was made.
    facts : dict of str to str
        How the clustering was made.
    """

    images: list[Any]
    names: list[str]
    folder: str
    labels: np.ndarray
    silhouettes: np.ndarray
    rivals: np.ndarray
    cohesion: float | None
    clusters: list[ClusterSummary]
    unreadable: dict[str, str]
    mapped: np.ndarray
    positions: np.ndarray
    projection: str
    facts: dict[str, str]

    @property
    def uncertain(self) -> np.ndarray:
        """Mask of shape (n,): the images that are nearer to another cluster."""
        return np.asarray(self.silhouettes < 0)

    @property
    def n_clustered(self) -> int:
        """Number of images in clusters."""
        return int((self.labels >= 0).sum())


def summarize(
    images: Sequence[Any],
    labels: Sequence[int] | np.ndarray,
    *,
    features: np.ndarray | None = None,
    distances: Sequence[float] | np.ndarray | None = None,
    reasons: Mapping[str, str] | None = None,
    facts: Mapping[str, Any] | None = None,
    projection: str = "auto",
) -> ClusteringSummary:
    """Sum a clustering up.

    Parameters
    ----------
    images : sequence of length n
        Paths, bytes, PIL images or uint8 arrays.
    labels : array-like of int, of shape (n,)
        -1 for an image that belongs to no cluster.
    features : ndarray of shape (n, d), default=None
        The rows that were clustered; without them there is neither cohesion nor map.
        Rows of images without a cluster are not looked at.
    distances : array-like of shape (n,), default=None
        To the centre of the cluster; None computes them from `features`.
    reasons : mapping of str to str, default=None
        Why images belong to no cluster.
    facts : mapping of str, default=None
        How the clustering was made, to be told.
    projection : {"auto", "pca", "tsne", "umap"}, default="auto"
        How rows become a map; ``"auto"`` is t-SNE. Of 1,319 rows of 64 t-SNE took 3 s on
        two cores and UMAP, with its import, 72 s.

    Returns
    -------
    ClusteringSummary

    Raises
    ------
    ValueError
        If lengths differ, or labels are no integers.
    """
    labels = _check(images, labels, features, distances)
    n_images, folder = len(labels), _common_folder(images)
    silhouettes, rivals = np.full(n_images, np.nan), np.full(n_images, -1)
    rows = np.flatnonzero(labels >= 0)
    mapped, positions, drawn = rows[:0], np.empty((0, 2)), ""
    if features is not None and len(rows):
        distances = _distances(features, labels, rows) if distances is None else distances
        silhouettes[rows] = _silhouettes(np.asarray(features)[rows], labels[rows])
    order = np.arange(n_images) if distances is None else np.asarray(distances, dtype=float)
    clusters = _clusters(labels, order, silhouettes)
    shown = np.array([i for cluster in clusters for i in cluster.shown], dtype=int)
    if features is not None and len(rows):
        rivals[shown] = _rivals(features, labels, shown)
        mapped = _draw_points(rows, shown)
        positions, drawn = project(np.asarray(features)[mapped], projection)
    names = [_name(image, i, folder) for i, image in enumerate(images)]
    told = {source_name(images[i], i): names[i] for i in np.flatnonzero(labels < 0)}
    return ClusteringSummary(
        images=list(images),
        names=names,
        folder=printable(folder),
        labels=labels,
        silhouettes=silhouettes,
        rivals=rivals,
        cohesion=_mean(silhouettes),
        clusters=clusters,
        unreadable={
            name: printable((reasons or {}).get(path, "no reason is known"))
            for path, name in told.items()
        },
        mapped=mapped,
        positions=positions,
        projection=drawn,
        facts={str(name): str(value) for name, value in (facts or {}).items()},
    )


def _check(images: Any, labels: Any, features: Any, distances: Any) -> np.ndarray:
    labels = np.asarray(labels)
    lengths = [len(x) for x in (images, labels, features, distances) if x is not None]
    if len(set(lengths)) != 1 or not lengths[0] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            "Expected as many images, integer labels, features and distances, at least one, "
            f"got {lengths}, labels of {labels.dtype}. Nothing was summed up. Pass them in one "
            "order, with the label -1 for an image that belongs to no cluster."
        )
    return labels


def _common_folder(images: Any) -> str:
    paths = [os.path.abspath(i) for i in images if isinstance(i, (str, os.PathLike))]
    try:
        return os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # no paths, or on several drives
        return ""


def _name(image: Any, position: int, folder: str) -> str:
    name = source_name(image, position)
    if folder and isinstance(image, (str, os.PathLike)):
        name = os.path.abspath(name)[len(folder) :].lstrip(os.sep)
    return printable(name)


def _distances(features: Any, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    found, own = np.unique(labels[rows], return_inverse=True)
    distances = np.full(len(labels), np.nan)
    gaps = np.asarray(features)[rows] - _centers(features, labels, found)[own]
    distances[rows] = np.linalg.norm(gaps, axis=1)
    return distances


def _centers(features: Any, labels: np.ndarray, found: np.ndarray) -> np.ndarray:
    return np.array([np.asarray(features)[labels == label].mean(axis=0) for label in found])


def _silhouettes(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    silhouettes = np.full(len(rows), np.nan)
    if 1 < len(np.unique(labels)) < len(rows):
        drawn, values = silhouette_sample(rows, labels)
        silhouettes[drawn] = values
    return silhouettes


def _rivals(features: Any, labels: np.ndarray, shown: np.ndarray) -> np.ndarray:
    found = np.unique(labels[labels >= 0])
    if len(found) < 2:
        return np.full(len(shown), -1)
    gaps = euclidean_distances(np.asarray(features)[shown], _centers(features, labels, found))
    gaps[labels[shown][:, None] == found] = np.inf
    return np.asarray(found[gaps.argmin(axis=1)])


def _clusters(
    labels: np.ndarray, order: np.ndarray, silhouettes: np.ndarray
) -> list[ClusterSummary]:
    found, sizes = np.unique(labels[labels >= 0], return_counts=True)
    share = _share(sizes.tolist())
    clusters = []
    for label, size in zip(found.tolist(), sizes.tolist()):
        members = np.flatnonzero(labels == label)
        typical = members[np.argsort(order[members], kind="stable")].tolist()
        n_typical = size if size <= share else share - share // 4
        rest = np.array(typical[n_typical:], dtype=int)
        known = rest[~np.isnan(silhouettes[rest])]
        unsure = known[np.argsort(silhouettes[known])][: share - n_typical].tolist()
        cohesion = _mean(silhouettes[members])
        n_uncertain = int((silhouettes[members] < 0).sum())
        shown = typical[:n_typical] + unsure
        clusters.append(ClusterSummary(label, size, cohesion, n_uncertain, shown, n_typical))
    return clusters


def _share(sizes: list[int]) -> int:
    """Return the most images that every cluster may show."""
    if sum(sizes) <= MAX_SHOWN:
        return max(sizes, default=1)
    share = 1
    while sum(min(size, share + 1) for size in sizes) <= MAX_SHOWN:
        share += 1
    return share


def _mean(silhouettes: np.ndarray) -> float | None:
    known = silhouettes[~np.isnan(silhouettes)]
    return float(known.mean()) if len(known) else None


def _draw_points(rows: np.ndarray, shown: np.ndarray) -> np.ndarray:
    others = np.setdiff1d(rows, shown)
    drawn = np.random.RandomState(0).permutation(others)[: max(0, MAX_MAPPED - len(shown))]
    return np.sort(np.concatenate([shown, drawn]))


def project(rows: np.ndarray, projection: str = "auto") -> tuple[np.ndarray, str]:
    """Return rows as points of a map, and in words how that was made.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    projection : {"auto", "pca", "tsne", "umap"}, default="auto"
        ``"auto"`` is t-SNE, or PCA below 10 rows.

    Returns
    -------
    points : ndarray of shape (n, 2)
        From 0 to 1, proportions kept.
    words : str
    """
    if projection not in ("auto", "pca", "tsne", "umap"):
        raise ValueError(
            f"Expected a projection of 'auto', 'pca', 'tsne' or 'umap', got {projection!r}. "
            "Nothing was drawn."
        )
    if min(rows.shape) < 3 or (projection == "auto" and len(rows) < MIN_TSNE):
        projection = "pca"
    points, words = {"umap": _umap, "pca": _pca}.get(projection, _tsne)(rows)
    points = points - points.min(axis=0)
    return points / max(float(points.max()), 1e-9), words


def _pca(rows: np.ndarray) -> tuple[np.ndarray, str]:
    n_components = min(2, *rows.shape)
    points = np.zeros((len(rows), 2))
    if len(rows) > 1:
        points[:, :n_components] = PCA(n_components).fit_transform(rows)
    return points, "PCA: the two directions in which the images differ most"


def _tsne(rows: np.ndarray) -> tuple[np.ndarray, str]:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(rows) - 1) / 3)  # scikit-learn's default, fewer for few rows
    # Its threads wait for each other in a loop: on a busy machine 28 s instead of 4 s.
    with threadpool_limits(1, user_api="openmp"):
        points = TSNE(perplexity=perplexity, random_state=0).fit_transform(rows)
    return points, "t-SNE: neighbours stay together, distances between groups mean little"


def _umap(rows: np.ndarray) -> tuple[np.ndarray, str]:
    try:
        from umap import UMAP
    except ImportError as error:
        message = "projection='umap' needs the umap extra: pip install 'resnet-kmeans[umap]'"
        raise ImportError(message) from error
    n_neighbors = min(15, len(rows) - 1)
    points = UMAP(n_neighbors=n_neighbors, random_state=0, n_jobs=1).fit_transform(rows)
    return points, "UMAP: neighbours stay together, distances between groups mean little"
