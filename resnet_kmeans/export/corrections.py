"""Corrects an export: renames, merges and splits folders, moves images."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans._folder_names import NO_CLUSTER, check_folders, folder_of, name_key
from resnet_kmeans.clustering import is_readable, n_different
from resnet_kmeans.exceptions import CurationError, OutputFolderError, TooFewImagesError, printable
from resnet_kmeans.export.curation import Curation, Plan, plan_curation, plan_moves, read_curation
from resnet_kmeans.export.editing import Export, editing
from resnet_kmeans.export.table import ExportedImage


def apply_curation(
    output_folder: str | os.PathLike[str],
    curation: Mapping[str, Any] | str | os.PathLike[str],
    *,
    dry_run: bool = False,
) -> list[ExportedImage]:
    """Correct an export: rename and merge folders, move images, set images aside.

    Files are renamed within the folder, and the journal and ``clusters.csv`` are updated.
    Images that were moved by hand before are found by their content.

    Parameters
    ----------
    output_folder : str or path-like
        The folder of a finished export.
    curation : mapping, str or path-like
        ``{"format": 1, "names": {FOLDER: NAME}, "moves": {PATH: FOLDER or None}}``, or a
        JSON file with this content, such as the ``curation.json`` that the report saves.
        ``"names"`` is applied first: it maps present folders to their new names; folders with
        equal names are merged. ``"moves"`` then maps the present path of an image, relative to
        `output_folder`, to another folder, which may be new, or to None for ``_set_aside``.
        Folders and paths of the original export are also accepted, unless they belong to
        another folder or image now.
    dry_run : bool, default=False
        If True, only check and return what would be done.

    Returns
    -------
    list of ExportedImage
        All images of the export, as they are, or would be, afterwards.

    Raises
    ------
    CurationError
        If the curation is malformed, has a newer format, belongs to another export, or names
        folders or images that were never part of this export. In this case, nothing is done.
    ClusterNameError
        If a name is not valid for a folder.
    OutputFolderError
        If the folder is not an export, or another command on it was interrupted. Also if the
        correction stops midway, for example because the disk is full; `finish_export` then
        completes it.

    Warns
    -----
    MissingImagesWarning
        If images to be moved are no longer in the folder.

    Examples
    --------
    >>> from resnet_kmeans import apply_curation
    >>> curation = {"names": {"cluster_0": "cats"}, "moves": {"cluster_1/a.jpg": "cats"}}
    >>> images = apply_curation("clusters", curation)  # doctest: +SKIP
    """
    asked = read_curation(curation)
    with editing(output_folder) as export:
        return _move(export, "apply", plan_curation(export, asked), dry_run)


def rename_cluster(
    output_folder: str | os.PathLike[str], cluster: int | str, name: str, *, dry_run: bool = False
) -> list[ExportedImage]:
    """Rename a folder of an export, or merge it into another folder.

    Parameters
    ----------
    output_folder : str or path-like
        The folder of a finished export.
    cluster : int or str
        The label of the cluster, or its present folder.
    name : str
        The new name. If another folder has this name, the two are merged.
    dry_run : bool, default=False
        If True, only check and return what would be done.

    Returns
    -------
    list of ExportedImage
        All images of the export, as they are, or would be, afterwards.

    Raises
    ------
    CurationError, ClusterNameError, OutputFolderError
        In the same cases as `apply_curation`.

    Examples
    --------
    >>> from resnet_kmeans import rename_cluster
    >>> images = rename_cluster("clusters", 0, "cats")  # doctest: +SKIP
    """
    with editing(output_folder) as export:
        present = require_folder(export, cluster)
        plan = plan_curation(export, Curation(None, None, {present: name}, {}))
        return _move(export, "rename", plan, dry_run)


def confirm_images(
    output_folder: str | os.PathLike[str], images: Iterable[str], *, dry_run: bool = False
) -> list[ExportedImage]:
    """Confirm that images of an export are in the right folder.

    Confirmed images are never called doubtful again, and weigh more when the folders judge
    other images, as do images that were moved to another folder.

    Parameters
    ----------
    output_folder : str or path-like
        The folder of a finished export.
    images : iterable of str
        Present paths of images, relative to `output_folder`, or folders or labels, which stand
        for all images in them.
    dry_run : bool, default=False
        If True, only check and return what would be done.

    Returns
    -------
    list of ExportedImage
        All images of the export, as they are, or would be, afterwards.

    Raises
    ------
    CurationError
        If the export has no such image or folder. In this case, nothing is done.
    OutputFolderError
        If the folder is not an export, or another command on it was interrupted.

    Examples
    --------
    >>> from resnet_kmeans import confirm_images
    >>> images = confirm_images("clusters", ["cats", "dogs/b.jpg"])  # doctest: +SKIP
    """
    asked = [os.fspath(images)] if isinstance(images, (str, os.PathLike)) else [*images]
    with editing(output_folder) as export:
        present = _present_folders(export)
        known = {p: folder_of(p) for p in _places(export) if folder_of(p) not in ("", *NO_CLUSTER)}
        moves: dict[str, str | None] = {}
        for named in asked:
            path = _named_folder(export, present, named) or Path(str(named)).as_posix()
            inside = [path] if path in known else [p for p in known if p.startswith(f"{path}/")]
            if not inside:
                raise CurationError(
                    f"Expected images or folders of clusters in {printable(export.folder)}, got "
                    f"{printable(named)}. Nothing was done. See clusters.csv for their paths."
                )
            moves |= {p: known[p] for p in inside}
        plan = plan_curation(export, Curation(None, None, {}, moves))
        return _move(export, "confirm", plan, dry_run)


def _places(export: Export) -> list[str]:
    """Return the present paths of the images of an export."""
    pairs = zip(export.journal.files, export.found.places)
    return [place for file, place in pairs if place and file.owner is None]


def _present_folders(export: Export) -> set[str]:
    return {folder_of(place) for place in _places(export)} - {""}


def _named_folder(export: Export, present: set[str], cluster: int | str) -> str:
    """Return the one of the present folders with this name or label, or ''."""
    label = int(cluster) if str(cluster).isdecimal() else -1
    # A folder may be called "3": its name comes before the label 3.
    if str(cluster) in present:
        return str(cluster)
    is_known = 0 <= label < len(export.folders) and export.folders[label] in present
    return export.folders[label] if is_known else ""


def require_folder(export: Export, cluster: int | str) -> str:
    """Return the folder of an export with this label or name.

    Raises
    ------
    CurationError
        If there is no such folder.
    """
    present = _present_folders(export)
    if named := _named_folder(export, present, cluster):
        return named
    listed = ", ".join(map(printable, sorted(present) or ["(none is left)"]))
    raise CurationError(
        f"Expected a label or one of the folders {listed}, "
        f"got {printable(cluster)}. Nothing was done. Choose one of these."
    )


def _move(export: Export, command: str, plan: Plan, dry_run: bool) -> list[ExportedImage]:
    """Carry out a plan of moves; return all images."""
    rows = [plan.rows.get(i, row) for i, row in enumerate(export.rows)]
    step = export.new_step(command, rows=plan.rows, others=plan.others, folders=plan.folders)
    if step.changes or step.others or step.folders:  # else, a redo stays possible
        export.do(step, dry_run=dry_run)
    return export.images(rows if dry_run else export.journal.rows)


def split_cluster(
    folder: str | os.PathLike[str],
    cluster: int | str,
    n_clusters: int = 2,
    *,
    dry_run: bool = False,
) -> list[ExportedImage]:
    """Split a cluster of an export into parts, by clustering its images with K-Means.

    The images of the folder ``NAME`` are moved to the new folders ``NAME_1``, ``NAME_2``, ….
    This needs no network, because an export keeps reduced features of its images.

    Parameters
    ----------
    folder : str or path-like
        The folder of a finished export.
    cluster : int or str
        The label of the cluster, or its present folder.
    n_clusters : int, default=2
        Number of parts.
    dry_run : bool, default=False
        If True, nothing is written: only check the cluster and return what would be done.

    Returns
    -------
    list of ExportedImage
        All images of the export, with their paths after the split.

    Raises
    ------
    OutputFolderError
        If the folder is not an export or keeps no features, or another command on it was
        interrupted; in these cases, nothing is done. Also if the command stops midway, for
        example because the disk is full; `finish_export` then completes it.
    CurationError
        If there is no such cluster.
    TooFewImagesError
        If the cluster has fewer different images than parts.

    Examples
    --------
    >>> from resnet_kmeans import split_cluster
    >>> images = split_cluster("clusters", "cats", 3)  # doctest: +SKIP
    """
    from resnet_kmeans.clustering import cluster_rows

    with editing(folder) as export:
        named = require_folder(export, cluster)
        features, places = export.features, export.found.places
        known = np.flatnonzero(is_readable(features)).tolist()
        inside = [i for i in known if (place := places[i]) and folder_of(place) == named]
        features = features[inside]
        if not features.size:
            raise OutputFolderError(
                f"The export in {printable(export.folder)} keeps no features of the images in "
                f"{printable(named)}: it was made from labels alone. Nothing was done. Export "
                "again with ImageFolderClusterer.export."
            )
        if (most := n_different(features)) < n_clusters:
            raise TooFewImagesError(most, n_clusters)
        parts = cluster_rows(features.astype(np.float32), n_clusters)
        names = part_names(named.lstrip("_"), n_clusters, export.folders)
        check_folders(names)
        folders = {i: names[part] for i, part in zip(inside, parts)}
        plan = plan_moves(export, [*export.folders, *names], folders)
        return _move(export, "split", plan, dry_run)


def part_names(named: str, n_parts: int, taken: Iterable[str]) -> list[str]:
    """Return free names for the parts of a folder: ``NAME_1``, ``NAME_2``, …."""
    used, number = {name_key(name) for name in taken}, 1
    names: list[str] = []
    while len(names) < n_parts:
        if name_key(name := f"{named}_{number}") not in used:
            names.append(name)
        number += 1
    return names
