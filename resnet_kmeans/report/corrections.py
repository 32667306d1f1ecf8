"""Collects the data that a page needs to correct an export."""

import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from resnet_kmeans.exceptions import printable
from resnet_kmeans.report.summary import ClusteringSummary


class ExportView(NamedTuple):
    """The export whose images a page shows.

    Attributes
    ----------
    id : str
        Identifier of the export. Every ``curation.json`` contains it, so that the file cannot be
        applied to another export.
    revision : int
        Number of steps of the export, by which `apply_curation` knows what its paths mean.
    folder : str or path-like
        Folder of the export.
    paths : sequence of str or None, of length n
        Path of each image relative to `folder`, with ``/``; None for an image that is not there.
    added : collection of str, default=()
        Those of `paths` that were added by hand. The page can rename and merge their folders,
        but cannot move these files.
    differences : sequence of str, default=()
        Sentences that describe the changes made to the folder by hand.
    """

    id: str
    revision: int
    folder: str | os.PathLike[str]
    paths: Sequence[str | None]
    added: Collection[str] = ()
    differences: Sequence[str] = ()


def read_corrections(summary: ClusteringSummary, export: ExportView) -> dict[str, Any]:
    """Return the data for the script that records corrections, as values for JSON.

    Raises
    ------
    ValueError
        If the clusters do not correspond to the folders of the export.
    """
    folders = _folders(summary, export)
    state = [export.id, summary.labels.tolist(), list(export.paths)]
    shown = [i for cluster in summary.clusters for i in cluster.shown]
    return {
        "id": export.id,
        "revision": export.revision,
        # A browser keeps corrections between visits. If this value has changed in the meantime,
        # they refer to folders that are no longer the same.
        "state": hashlib.sha256(json.dumps(state).encode("ascii")).hexdigest()[:16],
        "command": _command(export.folder),
        "groups": [
            {"label": cluster.label, "folder": folders[cluster.label], "size": cluster.size}
            for cluster in summary.clusters
        ],
        "paths": {i: export.paths[i] for i in shown},
        "added": [i for i in shown if export.paths[i] in export.added],
    }


def _folders(summary: ClusteringSummary, export: ExportView) -> dict[int, str]:
    """Return the folder of each label."""
    placed = [(int(label), path) for label, path in zip(summary.labels, export.paths) if path]
    pairs = {(label, path.split("/")[0]) for label, path in placed}
    folders = dict(pairs)
    labels = {cluster.label for cluster in summary.clusters}
    if len(export.paths) != len(summary.labels) or not len(pairs) == len(folders) == len(labels):
        raise ValueError(
            f"Expected {len(summary.labels)} paths in an export with one folder per cluster, got "
            f"{len(export.paths)} paths in {len({folder for _, folder in pairs})} folders for "
            f"{len(labels)} clusters. Nothing was written. Pass the paths of this clustering, "
            "in the order of the labels."
        )
    return folders


def _command(folder: str | os.PathLike[str]) -> str:
    # Quoted for the shell of the system, because people paste it into a terminal.
    words = ["resnet-kmeans", "apply", printable(os.path.abspath(folder)), "curation.json"]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
