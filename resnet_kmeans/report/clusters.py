"""Sums each cluster up, with the images of it to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from resnet_kmeans.cluster_names import NOISE, NOISE_NAME
from resnet_kmeans.exceptions import printable

MAX_SHOWN = 1000  # images; above that a sample of each cluster
SET_ASIDE = -3  # label of the images that a person took out of all clusters
SET_ASIDE_NAME = "_set_aside"
# Groups of images that are no cluster but have a folder.
_OTHERS = {NOISE: NOISE_NAME, SET_ASIDE: SET_ASIDE_NAME}


@dataclass(frozen=True)
class ClusterSummary:
    """One cluster, or the images of noise, or those that were set aside.

    Attributes
    ----------
    label, size : int
        Its number (-2 of noise, -3 of what was set aside), and that of its images.
    name : str
        Fit to be printed.
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
    name: str
    cohesion: float | None
    n_uncertain: int
    shown: list[int]
    n_typical: int


def in_folders(labels: np.ndarray) -> np.ndarray:
    """Return a mask of the images that are in a cluster, of noise, or set aside."""
    return np.asarray((labels >= 0) | np.isin(labels, list(_OTHERS)))


def join_equal_names(
    labels: np.ndarray, names: Sequence[str] | Mapping[int, str] | None
) -> tuple[np.ndarray, dict[int, str]]:
    """Give clusters of one name one label, the lowest; return labels and the name of each."""
    given = dict(names) if isinstance(names, Mapping) else dict(enumerate(names or []))
    given = {**_OTHERS, **given}
    joined, first = labels.copy(), dict[str, int]()
    for label in np.unique(labels[in_folders(labels)]).tolist():
        name = given.get(label, f"cluster_{label}")
        joined[labels == label] = first.setdefault(name, label)
    return joined, {label: printable(name) for name, label in first.items()}


def sum_up_clusters(
    labels: np.ndarray, names: Mapping[int, str], order: np.ndarray, silhouettes: np.ndarray
) -> list[ClusterSummary]:
    """Sum the clusters up by label, then noise and what was set aside.

    Parameters
    ----------
    labels : ndarray of shape (n,)
    names : mapping of int to str
        Of each label.
    order : ndarray of shape (n,)
        The lower, the more typical of its cluster is an image; NaN where unknown.
    silhouettes : ndarray of shape (n,)
        NaN where unknown.
    """
    found, sizes = np.unique(labels[in_folders(labels)], return_counts=True)
    share = _share(sizes.tolist())
    clusters = []
    for label, size in zip(found.tolist(), sizes.tolist()):
        members = np.flatnonzero(labels == label)
        typical = members[np.argsort(order[members], kind="stable")].tolist()  # NaN last
        n_judged = int((~np.isnan(silhouettes[members])).sum())
        n_typical = size if size <= share else share - min(share // 4, n_judged)
        rest = np.array(typical[n_typical:], dtype=int)
        known = rest[~np.isnan(silhouettes[rest])]
        unsure = known[np.argsort(silhouettes[known])][: share - n_typical].tolist()
        clusters.append(
            ClusterSummary(
                label=label,
                size=size,
                name=names[label],
                cohesion=mean_silhouette(silhouettes[members]),
                n_uncertain=int((silhouettes[members] < 0).sum()),
                shown=typical[:n_typical] + unsure,
                n_typical=n_typical,
            )
        )
    return sorted(clusters, key=lambda cluster: (cluster.label < 0, abs(cluster.label)))


def _share(sizes: list[int]) -> int:
    """Return the most images that every cluster may show."""
    if sum(sizes) <= MAX_SHOWN:
        return max(sizes, default=1)
    share = 1
    while sum(min(size, share + 1) for size in sizes) <= MAX_SHOWN:
        share += 1
    return share


def mean_silhouette(silhouettes: np.ndarray) -> float | None:
    """Return the mean of the silhouettes that are known, None where none is."""
    known = silhouettes[~np.isnan(silhouettes)]
    return float(known.mean()) if len(known) else None
