"""Names the folders of an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from resnet_kmeans.cluster_names import (
    NOISE,
    NOISE_NAME,
    UNREADABLE,
    check_cluster_names,
    default_cluster_names,
    renamed,
)

TABLE = "clusters.csv"
REPORT = "report.html"  # written into the folder by `write_report`
SET_ASIDE = "_set_aside"  # of the images that were taken out of all clusters
# Folders that are no cluster's, and the label of their images.
NO_CLUSTER = {SET_ASIDE: UNREADABLE, NOISE_NAME: NOISE}


def name_folders(
    n_labels: int, names: Sequence[str] | Mapping[int, str] | None = None
) -> list[str]:
    """Return the folder of each label: its name, else ``cluster_N`` padded to equal width.

    Raises
    ------
    ClusterNameError
        If a name cannot be that of a folder on every system, or there is no such label.
    """
    folders = default_cluster_names(n_labels)
    return folders if names is None else renamed(folders, names)


def check_folders(names: Sequence[str]) -> None:
    """Refuse names that a corrected export cannot have as folders.

    Raises
    ------
    ClusterNameError
        Names every bad name with its reason.
    """
    check_cluster_names([name for name in names if name not in NO_CLUSTER])


def folder_of(path: str) -> str:
    """Return the first folder of a path with ``/``; empty for a file in the root."""
    return path.partition("/")[0] if "/" in path else ""


def label_of(folder: str, folders: list[str], present: int) -> int:
    """Return the label of a folder, `present` where it fits; one without any gets the next.

    Parameters
    ----------
    folder : str
    folders : list of str
        The folder of each label; grows by one that has none.
    present : int
        The label that an image has so far; kept where several labels share the folder.
    """
    if folder in NO_CLUSTER:
        return NO_CLUSTER[folder]
    if not folder or (0 <= present < len(folders) and folders[present] == folder):
        return present
    if folder not in folders:
        folders.append(folder)
    return folders.index(folder)
