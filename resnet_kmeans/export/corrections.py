"""Corrects an export: renames, merges and splits folders, moves images."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from resnet_kmeans._folder_names import label_of, name_key
from resnet_kmeans.exceptions import CurationError, printable
from resnet_kmeans.export.curation import Curation, read_curation
from resnet_kmeans.export.execution import explain_disk_errors, record_and_carry_out
from resnet_kmeans.export.exporter import keep_model
from resnet_kmeans.export.journal import Journal, lock, read_journal
from resnet_kmeans.export.move_plan import plan_curation, plan_moves
from resnet_kmeans.export.present_state import ExportState, open_export, read_export, with_contents
from resnet_kmeans.export.survey import Survey
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
    return _correct(Path(output_folder), asked, dry_run)


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
    folder = Path(output_folder)
    present = require_folder(read_export(folder), cluster)
    return _correct(folder, Curation(None, {present: name}, {}), dry_run)


def require_folder(state: ExportState, cluster: int | str) -> str:
    """Return the folder with this label or name.

    Raises
    ------
    CurationError
        If there is no such folder.
    """
    present = {image.name for image in state.images if image.name}
    label = int(cluster) if str(cluster).isdecimal() else -1
    # A folder may be called "3": its name comes before the label 3.
    if str(cluster) in present:
        return str(cluster)
    if 0 <= label < len(state.folders) and state.folders[label] in present:
        return state.folders[label]
    raise CurationError(
        f"Expected a label or one of the folders {', '.join(map(printable, sorted(present)))}, "
        f"got {printable(cluster)}. Nothing was done. Choose one of these."
    )


def _correct(folder: Path, asked: Curation, dry_run: bool) -> list[ExportedImage]:
    with lock(folder):
        present, found = open_export(folder, read_journal(folder))
        planned = plan_curation(present, found, asked)
        if dry_run:
            return planned.images
        with explain_disk_errors(folder):
            planned = with_contents(planned, folder, found)
            planned = planned._replace(command="apply")
            return record_and_carry_out(folder, planned).images


def split_folder(
    output_folder: str | os.PathLike[str],
    named: str,
    parts: Mapping[str, tuple[int, float]],
    *,
    model: Any,
    centers: Sequence[int],
    dry_run: bool = False,
) -> list[ExportedImage]:
    """Move the images of one folder to several new ones, and replace the saved model.

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
    dry_run : bool, default=False
        If True, only check and return what would be done.

    Returns
    -------
    list of ExportedImage
        All images of the export.
    """
    folder = Path(output_folder)
    with lock(folder):
        journal, found = open_export(folder, read_journal(folder))
        names = part_names(named, len({part for part, _ in parts.values()}), journal.folders)
        journal = journal._replace(folders=[*journal.folders, *names])
        planned = _plan_split(journal, found, parts, names)
        labels = [label_of(name, planned.folders, -1) for name in names]
        planned = planned._replace(centers=[journal.centers[i] for i in centers] + labels)
        if dry_run:
            return planned.images
        with explain_disk_errors(folder):
            # A new number, because the old model must last until the split is recorded.
            number = int((journal.model or ".0.").split(".")[-2]) + 1
            planned = with_contents(planned, folder, found)
            planned = planned._replace(command="split", model=keep_model(folder, model, number))
            return record_and_carry_out(folder, planned).images


def _plan_split(
    journal: Journal, found: Survey, parts: Mapping[str, tuple[int, float]], names: Sequence[str]
) -> Journal:
    places = {i: p for i, p in enumerate(found.places) if p is not None and p in parts}
    planned = plan_moves(journal, found, {i: names[parts[p][0]] for i, p in places.items()})
    records = list(planned.records)
    for i, place in places.items():
        image = records[i].image._replace(distance=parts[place][1])
        records[i] = records[i]._replace(image=image)
    return planned._replace(records=records)


def part_names(named: str, n_parts: int, taken: Iterable[str]) -> list[str]:
    """Return free names for the parts of a folder: ``NAME_1``, ``NAME_2``, …."""
    used, number = {name_key(name) for name in taken}, 1
    names: list[str] = []
    while len(names) < n_parts:
        if name_key(name := f"{named}_{number}") not in used:
            names.append(name)
        number += 1
    return names
