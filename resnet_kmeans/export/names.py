"""Defines the names of the folders and files of an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from resnet_kmeans.cluster_names import (
    NOISE,
    NOISE_NAME,
    SET_ASIDE_NAME,
    UNREADABLE,
    check_cluster_names,
    default_cluster_names,
    renamed,
)

# Labels of the images in folders that are not clusters.
NO_CLUSTER = {SET_ASIDE_NAME: UNREADABLE, NOISE_NAME: NOISE}


def name_folders(
    n_labels: int, names: Sequence[str] | Mapping[int, str] | None = None
) -> list[str]:
    """Return the folder of each label: its name, or ``cluster_N`` padded to equal width.

    Raises
    ------
    ClusterNameError
        If a name is not valid for a folder on every system, or a label is unknown.
    """
    folders = default_cluster_names(n_labels)
    return folders if names is None else renamed(folders, names)


def check_folders(names: Sequence[str]) -> None:
    """Check names for the folders of a corrected export.

    Raises
    ------
    ClusterNameError
        If some names are invalid. The message lists each of them with its reason.
    """
    check_cluster_names([name for name in names if name not in NO_CLUSTER])


def folder_of(path: str) -> str:
    """Return the first folder of a path separated by ``/``, empty for a file in the root."""
    return path.partition("/")[0] if "/" in path else ""


def label_of(folder: str, folders: list[str], present: int) -> int:
    """Return the label of a folder; a new folder gets the next free label.

    Parameters
    ----------
    folder : str
    folders : list of str
        The folder of each label. A folder without a label is appended.
    present : int
        The present label of the image, which is kept if several labels share the folder.
    """
    if folder in NO_CLUSTER:
        return NO_CLUSTER[folder]
    if not folder or (0 <= present < len(folders) and folders[present] == folder):
        return present
    if folder not in folders:
        folders.append(folder)
    return folders.index(folder)
