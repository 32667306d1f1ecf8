"""Names the folders of clusters so that the names are valid on every system."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from resnet_kmeans._files import HIDDEN_PREFIX
from resnet_kmeans.exceptions import ClusterNameError, list_reasons

# Labels that are not clusters, as in scikit-learn's HDBSCAN: noise, which is exported to the
# folder `NOISE_NAME`, and missing data, which is what unreadable images are. These are not
# exported.
NOISE, UNREADABLE = -1, -3
NOISE_NAME = "noise"
# Images that a person took out of all clusters have the label -2 in a report. In an export they
# have the label -3, like unreadable images, and a reason.
SET_ASIDE, SET_ASIDE_NAME = -2, "_set_aside"
# Labels of the images in folders that are not clusters.
NO_CLUSTER = {SET_ASIDE_NAME: UNREADABLE, NOISE_NAME: NOISE}
MAX_NAME_BYTES = 255  # the limit of ext4, APFS, NTFS and others
TABLE, REPORT = "clusters.csv", "report.html"  # files beside the folders of clusters
GENERATOR = "resnet-kmeans report"  # in the head of the page: tells ours from a person's
# Also beside them, and marks a folder as an export. Not in a folder of records: scikit-learn and
# torchvision would take that for a class.
JOURNAL = f"{HIDDEN_PREFIX}jsonl"
# Written by the file managers of Windows, macOS and KDE.
SYSTEM_FILES = ("thumbs.db", "desktop.ini", ".ds_store", ".directory")
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_FORBIDDEN = '<>:"/\\|?*'
_PORTS = [port + digit for port in ("com", "lpt") for digit in "0123456789¹²³"]
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$", *_PORTS}


def default_cluster_names(n_clusters: int) -> list[str]:
    """Return ``cluster_0``, ``cluster_1``, …, with leading zeros if there are more than ten.

    Examples
    --------
    >>> default_cluster_names(11)[-2:]
    ['cluster_09', 'cluster_10']
    """
    width = len(str(max(n_clusters - 1, 0)))
    return [f"cluster_{label:0{width}d}" for label in range(n_clusters)]


def name_key(name: str) -> str:
    """Return the form of a name by which file systems compare names."""
    # Windows and macOS ignore case; macOS also treats é and e with a combining accent alike.
    # Folding case can undo the normalization, so the result is normalized again.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def reason_invalid(name: object) -> str:
    """Return why a name is not a valid folder name on every system, or ''."""
    if not isinstance(name, str):
        return f"of type {type(name).__name__}, not a string"
    if not name.strip():
        return "empty"
    if name != name.strip() or name.endswith("."):
        return "it begins or ends with a space, or ends with a dot, which Windows removes"
    if bad := {c for c in name if c in _FORBIDDEN}:
        return f"Windows or other systems forbid {' '.join(sorted(bad))}"
    if any(map(is_refused, name)):
        return "it contains control characters, line breaks or invalid Unicode"
    if name.startswith((".", "_")):
        return "a leading dot hides a folder, a leading underscore marks one that is not a cluster"
    if name_key(name).partition(".")[0].rstrip() in _DEVICES:
        return "Windows reserves it for a device"
    if name_key(name) in (TABLE, REPORT):
        return "an export has a file of this name"
    if (size := len(name.encode())) > MAX_NAME_BYTES:
        return f"{size} bytes long, the maximum is {MAX_NAME_BYTES}"
    return ""


def is_refused(character: str) -> bool:
    """Return whether some system refuses a character in the name of a file or folder."""
    is_control = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    return is_control or character in _FORBIDDEN


def check_cluster_names(names: Iterable[str]) -> None:
    """Check that names are valid folder names on every system.

    Equal names are allowed: they merge clusters into one folder.

    Raises
    ------
    ClusterNameError
        If some names are invalid, or differ only in case. The message lists all of them.
    """
    names = list(names)
    bad = {str(name) or "''": reason for name in names if (reason := reason_invalid(name))}
    # Names that differ only in case are one folder on some systems and two on others.
    spelled: dict[str, str] = {}
    for name in names:
        if str(name) not in bad and (first := spelled.setdefault(name_key(name), name)) != name:
            bad[name] = f"some file systems treat it as {first!r}; spell both alike"
    if bad:
        raise ClusterNameError(
            "Expected names that are valid for folders on every system, got:\n"
            f"{list_reasons(bad)}\nNothing was changed. Choose other names."
        )


def renamed(present: Sequence[str], given: Sequence[str] | Mapping[int, str]) -> list[str]:
    """Return the names of clusters after renaming some or all of them.

    Parameters
    ----------
    present : sequence of str, of length n_clusters
        The present names.
    given : sequence of str, of length n_clusters, or mapping of int to str
        All names, or new names by label.

    Raises
    ------
    ClusterNameError
        If a name is not valid, a label is unknown, or the number of names is wrong.
    """
    if isinstance(given, Mapping):
        named = {label: given.get(label, name) for label, name in enumerate(present)}
        unknown = [repr(label) for label in given if label not in named]
        got = f"names for {', '.join(unknown)} too" if unknown else ""
    else:
        named = dict(enumerate([given] if isinstance(given, str) else given))
        got = "" if len(named) == len(present) else f"{len(named)}"
    if got:
        raise ClusterNameError(
            f"Expected names for {len(present)} clusters, labels 0 to {len(present) - 1}, got "
            f"{got}. Nothing was changed. Pass a list of {len(present)}, or a mapping by label."
        )
    check_cluster_names(named.values())
    return list(named.values())


def name_folders(
    n_labels: int, names: Sequence[str] | Mapping[int, str] | None = None
) -> list[str]:
    """Return the folder of each label: its name, or else its default name.

    Raises
    ------
    ClusterNameError
        If a name is not valid for a folder on every system, or a label is unknown.
    """
    folders = default_cluster_names(n_labels)
    return folders if names is None else renamed(folders, names)


def check_folders(names: Sequence[str]) -> None:
    """Check names for the folders of a corrected export, where ``_set_aside`` is valid too.

    Raises
    ------
    ClusterNameError
        If some names are invalid. The message lists each of them with its reason.
    """
    check_cluster_names([name for name in names if name not in NO_CLUSTER])


def folder_of(path: str) -> str:
    """Return the first folder of a path with ``/``; empty for a file in the root."""
    return path.partition("/")[0] if "/" in path else ""


def label_of(folder: str, folders: list[str], present: int) -> int:
    """Return the label of a folder; a new folder gets the next free label.

    Parameters
    ----------
    folder : str
    folders : list of str
        The folder of each label. A folder without a label is appended.
    present : int
        The present label of the image; it is kept if several labels share the folder.
    """
    if folder in NO_CLUSTER:
        return NO_CLUSTER[folder]
    if not folder or (0 <= present < len(folders) and folders[present] == folder):
        return present
    if folder not in folders:
        folders.append(folder)
    return folders.index(folder)
