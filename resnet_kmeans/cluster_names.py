"""Says what clusters are called, and which names a file system takes for their folders."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from resnet_kmeans.exceptions import ClusterNameError, list_reasons

# Labels that are no cluster. An image that no clusterer placed is a picture like any other,
# so it has a folder; one that cannot be read has none.
UNREADABLE, NOISE = -1, -2
NOISE_NAME = "noise"
MAX_NAME_BYTES = 255  # of ext4, APFS, NTFS and others
# An export's own files in the folder that holds the clusters.
_TAKEN = ("clusters.csv", "report.html")
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_FORBIDDEN = '<>:"/\\|?*'
_PORTS = [port + digit for port in ("com", "lpt") for digit in "0123456789¹²³"]
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$", *_PORTS}


def default_cluster_names(n_clusters: int) -> list[str]:
    """Return ``cluster_0``, ``cluster_1``, …, padded to equal width.

    Examples
    --------
    >>> default_cluster_names(11)[-2:]
    ['cluster_09', 'cluster_10']
    """
    width = len(str(max(n_clusters - 1, 0)))
    return [f"cluster_{label:0{width}d}" for label in range(n_clusters)]


def compared(name: str) -> str:
    """Return what file systems compare of a name.

    Windows and macOS take ``A`` and ``a`` for one name, macOS also ``é`` and ``e`` with an
    accent.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def reason_invalid(name: object) -> str:
    """Return why a name cannot be that of a cluster's folder on every system, or ''."""
    if not isinstance(name, str):
        return f"of type {type(name).__name__}, no text"
    if not name.strip():
        return "empty"
    if name != name.strip() or name.endswith("."):
        return "it begins or ends with a space, or ends with a dot, which Windows drops"
    if bad := {c for c in name if c in _FORBIDDEN}:
        return f"no file system, or not that of Windows, takes {' '.join(sorted(bad))}"
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
        return "it holds control characters, line breaks or what is no valid Unicode"
    if name.startswith((".", "_")):
        return "a dot hides a folder, and an underscore marks those that are no cluster"
    if compared(name).partition(".")[0].rstrip() in _DEVICES:
        return "Windows reserves it for a device"
    if compared(name) in _TAKEN:
        return "an export has a file of this name in its place"
    if (size := len(name.encode())) > MAX_NAME_BYTES:
        return f"{size} bytes long, {MAX_NAME_BYTES} are the most"
    return ""


def check_cluster_names(names: Iterable[str]) -> None:
    """Refuse names that cannot be those of clusters' folders, all of them at once.

    Equal names are fine: they are one folder, and so a merge.

    Raises
    ------
    ClusterNameError
        Names every bad name with its reason. Names that differ only in case are bad too:
        they would be one folder on some systems and two on others.
    """
    names = list(names)
    bad = {str(name): reason for name in names if (reason := reason_invalid(name))}
    spelled: dict[str, str] = {}
    for name in names:
        if str(name) not in bad and (first := spelled.setdefault(compared(name), name)) != name:
            bad[name] = f"some file systems take it for {first!r}; write both in one way"
    if bad:
        raise ClusterNameError(
            "Expected names that can be those of folders on every system, got:\n"
            f"{list_reasons(bad)}\nNothing was changed. Choose other names."
        )


def renamed(present: Sequence[str], given: Sequence[str] | Mapping[int, str]) -> list[str]:
    """Return the names of clusters after some of them, or all, were named anew.

    Parameters
    ----------
    present : sequence of str, of length n_clusters
    given : sequence of str, of length n_clusters, or mapping of int to str
        All names, or those of some labels.

    Raises
    ------
    ClusterNameError
        If a name is none, or labels or the number of names are not those of the clusters.
    """
    if isinstance(given, Mapping):
        named = {label: given.get(label, name) for label, name in enumerate(present)}
        unknown = [repr(label) for label in given if label not in named]
        got = f"those of {', '.join(unknown)} too" if unknown else ""
    else:
        named = dict(enumerate([given] if isinstance(given, str) else given))
        got = "" if len(named) == len(present) else f"{len(named)}"
    if got:
        raise ClusterNameError(
            f"Expected names of {len(present)} clusters, labels 0 to {len(present) - 1}, got "
            f"{got}. Nothing was changed. Pass a list of {len(present)}, or a mapping of labels."
        )
    check_cluster_names(named.values())
    return list(named.values())
