"""Describes the images and clusters of a page as values for its script."""

import hashlib
import json
import os
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

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
    numbers : sequence of int, of length n
        Number of each image, which stays the same when the image is moved.
    confirmed : collection of int, default=()
        Those of `numbers` that a person moved or confirmed.
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
    numbers: Sequence[int]
    confirmed: Collection[int] = ()
    added: Collection[str] = ()
    differences: Sequence[str] = ()


def describe_album(summary: ClusteringSummary, export: ExportView | None = None) -> dict[str, Any]:
    """Return what a page shows, as values for JSON: one entry of each list for each image.

    Doubts are in thousandths, -1 if unknown. What is not on the page is counted in ``hidden``.

    Raises
    ------
    ValueError
        If the clusters do not correspond to the folders of the export.
    """
    in_order = [i for cluster in summary.clusters for i in cluster.shown]
    shown = np.array(in_order, dtype=int)
    folders = _folders(summary, export) if export else {}
    numbers = np.asarray(export.numbers) if export else np.arange(len(summary.labels))
    confirmed = np.isin(numbers, list(export.confirmed if export else ()))
    doubts = np.where(np.isnan(summary.doubts), -1, np.round(1000 * summary.doubts)).astype(int)
    doubts[confirmed] = 0
    hidden = np.setdiff1d(np.flatnonzero(summary.labels >= 0), shown)
    album = {
        "clusters": [
            {
                "label": cluster.label,
                "name": cluster.name,
                "folder": folders.get(cluster.label, cluster.name),
                "hidden": cluster.size - len(cluster.shown),
                "doubtful": cluster.n_doubtful - int(summary.doubtful[cluster.shown].sum()),
            }
            for cluster in summary.clusters
        ],
        "hidden": {
            "placed": len(hidden),
            "doubtful": int(summary.doubtful[hidden].sum()),
            "looked": int(confirmed[hidden].sum()),
            "wrong": float(doubts[hidden].clip(0).sum() / 1000),
        },
        "id": numbers[shown].tolist(),
        "name": [summary.names[i] for i in in_order],
        "label": summary.labels[shown].tolist(),
        "doubt": doubts[shown].tolist(),
        "suggestion": summary.suggestions[shown].tolist(),
        "confirmed": confirmed[shown].astype(int).tolist(),
        "added": [0] * len(shown),
        "export": None,
    }
    if export:
        paths = [export.paths[i] for i in in_order]
        state = [export.id, export.revision, album["label"], paths]
        album["path"] = paths
        album["added"] = [int(path in export.added) for path in paths]
        album["export"] = {
            "id": export.id,
            "revision": export.revision,
            # Tells an album that changed from one that a browser knows already.
            "state": hashlib.sha256(json.dumps(state).encode("ascii")).hexdigest()[:16],
        }
    return album


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
