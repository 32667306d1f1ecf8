"""Summarizes each cluster and selects the images that represent it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from resnet_kmeans._folder_names import NOISE, NOISE_NAME, SET_ASIDE, SET_ASIDE_NAME
from resnet_kmeans.clustering import DOUBTFUL
from resnet_kmeans.exceptions import printable

MAX_SHOWN = 1000  # images on the page; if there are more, it shows a sample of each cluster
# Groups of images that are not clusters but have folders.
_OTHERS = {NOISE: NOISE_NAME, SET_ASIDE: SET_ASIDE_NAME}


@dataclass(frozen=True)
class ClusterSummary:
    """Summary of one cluster, of noise, or of the images that were set aside.

    Attributes
    ----------
    label : int
        The label; -1 for noise, -2 for images that were set aside.
    size : int
        Number of images.
    name : str
        Printable name.
    n_doubtful : int
        Number of doubtful images.
    shown : list of int
        Positions of the images to show: the most typical ones first, and then, if not all
        images are shown, the most doubtful ones.
    n_typical : int
        Number of images in `shown` selected as typical.
    """

    label: int
    size: int
    name: str
    n_doubtful: int
    shown: list[int]
    n_typical: int


def in_folders(labels: np.ndarray) -> np.ndarray:
    """Return a mask of the images that have a folder: clusters, noise, set aside."""
    return np.asarray((labels >= 0) | np.isin(labels, list(_OTHERS)))


def join_equal_names(
    labels: np.ndarray, names: Sequence[str] | Mapping[int, str] | None
) -> tuple[np.ndarray, dict[int, str]]:
    """Return labels, with one label for clusters of equal names, and the names by label."""
    given = dict(names) if isinstance(names, Mapping) else dict(enumerate(names or []))
    given = {**_OTHERS, **given}
    joined, first = labels.copy(), dict[str, int]()
    for label in np.unique(labels[in_folders(labels)]).tolist():
        name = given.get(label, f"cluster_{label}")
        joined[labels == label] = first.setdefault(name, label)
    return joined, {label: printable(name) for name, label in first.items()}


def sum_up_clusters(
    labels: np.ndarray,
    names: Mapping[int, str],
    order: np.ndarray,
    doubts: np.ndarray,
    max_shown: int | None = MAX_SHOWN,
) -> list[ClusterSummary]:
    """Return summaries of the clusters in the order of labels, then of the other groups.

    Parameters
    ----------
    labels : ndarray of shape (n,)
    names : mapping of int to str
        Name of each label.
    order : ndarray of shape (n,)
        Sort key of images within their cluster, lowest for the most typical; NaN if unknown.
    doubts : ndarray of shape (n,)
        NaN if unknown.
    max_shown : int or None, default=1000
        Number of images to select; None selects all.
    """
    found, sizes = np.unique(labels[in_folders(labels)], return_counts=True)
    share = _share(sizes.tolist(), len(labels) if max_shown is None else max_shown)
    clusters = []
    for label, size in zip(found.tolist(), sizes.tolist()):
        members = np.flatnonzero(labels == label)
        typical = members[np.argsort(order[members], kind="stable")].tolist()  # NaN come last
        # If not all images of a cluster can be shown, up to a quarter of those shown are
        # doubtful images, because those are the ones to check.
        n_judged = int((~np.isnan(doubts[members])).sum())
        n_typical = size if size <= share else share - min(share // 4, n_judged)
        rest = np.array(typical[n_typical:], dtype=int)
        known = rest[~np.isnan(doubts[rest])]
        unsure = known[np.argsort(-doubts[known], kind="stable")][: share - n_typical].tolist()
        clusters.append(
            ClusterSummary(
                label=label,
                size=size,
                name=names[label],
                n_doubtful=int((doubts[members] > DOUBTFUL).sum()),
                shown=typical[:n_typical] + unsure,
                n_typical=n_typical,
            )
        )
    return sorted(clusters, key=lambda cluster: (cluster.label < 0, abs(cluster.label)))


def _share(sizes: list[int], max_shown: int) -> int:
    """Return the largest number of images per cluster that keeps the page within its limit."""
    if sum(sizes) <= max_shown:
        return max(sizes, default=1)
    share = 1
    while sum(min(size, share + 1) for size in sizes) <= max_shown:
        share += 1
    return share
