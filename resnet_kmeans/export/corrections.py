"""Corrects an export: renames, merges and splits folders, moves images."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from resnet_kmeans._folder_names import UNREADABLE, label_of, name_key
from resnet_kmeans.exceptions import CurationError, OutdatedError, printable
from resnet_kmeans.export.curation import Curation, read_curation
from resnet_kmeans.export.editing import Export, editing
from resnet_kmeans.export.exporter import keep_model
from resnet_kmeans.export.move_plan import Plan, plan_curation, plan_moves
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
    return _correct(Path(output_folder), "apply", read_curation(curation), dry_run)


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
        present = require_folder(export.images(), export.clusters.folders, cluster)
        plan = plan_curation(export, Curation(None, None, {present: name}, {}))
        return _move(export, "rename", plan, dry_run)


def require_folder(
    images: Iterable[ExportedImage], folders: Sequence[str], cluster: int | str
) -> str:
    """Return the folder of an export with this label or name.

    Raises
    ------
    CurationError
        If there is no such folder.
    """
    present = {image.name for image in images if image.name}
    label = int(cluster) if str(cluster).isdecimal() else -1
    # A folder may be called "3": its name comes before the label 3.
    if str(cluster) in present:
        return str(cluster)
    if 0 <= label < len(folders) and folders[label] in present:
        return folders[label]
    raise CurationError(
        f"Expected a label or one of the folders {', '.join(map(printable, sorted(present)))}, "
        f"got {printable(cluster)}. Nothing was done. Choose one of these."
    )


def _correct(folder: Path, command: str, asked: Curation, dry_run: bool) -> list[ExportedImage]:
    with editing(folder) as export:
        return _move(export, command, plan_curation(export, asked), dry_run)


def _move(export: Export, command: str, plan: Plan, dry_run: bool) -> list[ExportedImage]:
    """Carry out a plan of moves; return all images."""
    rows = [plan.rows.get(i, row) for i, row in enumerate(export.rows)]
    step = export.new_step(command, rows=plan.rows, others=plan.others, clusters=plan.clusters)
    export.do(step, dry_run=dry_run)
    return export.images(rows if dry_run else export.journal.rows)


def split_folder(
    output_folder: str | os.PathLike[str],
    named: str,
    parts: Mapping[str, tuple[int, float]],
    *,
    model: Any,
    centers: Sequence[int],
    revision: int,
    dry_run: bool = False,
) -> list[ExportedImage]:
    """Move the images of one folder to several new ones, and keep another model.

    Parameters
    ----------
    output_folder : str or path-like
    named : str
        The folder to split.
    parts : mapping of str to (int, float)
        Part (0, 1, …) and distance to the center of the part, by present path of the image.
    model : fitted ImageFolderClusterer
        The new model of the export. Its last centers are those of the parts.
    centers : sequence of int
        Positions of the centers that remain from the previous model.
    revision : int
        Number of steps of the export when it was read.
    dry_run : bool, default=False
        If True, only check and return what would be done.

    Returns
    -------
    list of ExportedImage
        All images of the export.

    Raises
    ------
    OutdatedError
        If the export was changed meanwhile.
    """
    with editing(output_folder) as export:
        if len(export.journal.steps) != revision:
            raise OutdatedError(output_folder)
        clusters = export.clusters
        names = part_names(named, len({part for part, _ in parts.values()}), clusters.folders)
        clusters = clusters._replace(folders=[*clusters.folders, *names])
        found = enumerate(export.found.places)
        numbers = {i: parts[place] for i, place in found if place and place in parts}
        plan = plan_moves(export, clusters, {i: names[part] for i, (part, _) in numbers.items()})
        for i, (_, distance) in numbers.items():
            plan.rows[i] = plan.rows[i]._replace(distance=distance)
        labels = [label_of(name, plan.clusters.folders, UNREADABLE) for name in names]
        kept = [clusters.centers[i] for i in centers] + labels
        clusters = plan.clusters._replace(centers=kept)
        if not dry_run:
            clusters = clusters._replace(model=keep_model(export, model))
        return _move(export, "split", plan._replace(clusters=clusters), dry_run)


def part_names(named: str, n_parts: int, taken: Iterable[str]) -> list[str]:
    """Return free names for the parts of a folder: ``NAME_1``, ``NAME_2``, …."""
    used, number = {name_key(name) for name in taken}, 1
    names: list[str] = []
    while len(names) < n_parts:
        if name_key(name := f"{named}_{number}") not in used:
            names.append(name)
        number += 1
    return names
