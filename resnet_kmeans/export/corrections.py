"""Corrects an export: renames and merges folders, moves images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnet_kmeans.cluster_names import SET_ASIDE_NAME, name_key
from resnet_kmeans.exceptions import (
    CurationError,
    MissingImagesWarning,
    list_reasons,
    printable,
)
from resnet_kmeans.export.curation import Curation, read_curation
from resnet_kmeans.export.execution import explain_disk_errors, record_and_carry_out
from resnet_kmeans.export.journal import Journal, lock, read_journal
from resnet_kmeans.export.move_plan import plan_moves
from resnet_kmeans.export.names import check_folders, folder_of
from resnet_kmeans.export.plan import ExportedImage
from resnet_kmeans.export.present_state import ExportState, open_export, read_export, with_contents
from resnet_kmeans.export.survey import Survey


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
        JSON file with this content. ``"names"`` is applied first: it maps present folders to
        their new names; folders with equal names are merged. ``"moves"`` then maps the present
        path of an image to another folder, which may be new, or to None for ``_set_aside``. Folders
        and paths of the original export are also accepted, unless they mean another folder
        or image now.
    dry_run : bool, default=False
        If True, only check and return what would be done.

    Returns
    -------
    list of ExportedImage
        All images of the export, as they are, or would be, afterwards.

    Raises
    ------
    CurationError
        If the curation is malformed, of a newer format or of another export, or names
        folders or images that were never part of this export. Nothing is done then.
    ClusterNameError
        If a name is not valid for a folder.
    OutputFolderError
        If the folder is not an export, or another command on it was interrupted. Also if the
        correction stops midway, for example because the disk is full; `finish_export` completes
        it then.

    Warns
    -----
    MissingImagesWarning
        If images to be moved are no longer in the folder.
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
        The label or the present folder of the cluster.
    name : str
        The new name. That of another folder merges the two.
    dry_run : bool, default=False
        If True, only check and return what would be done.

    Returns
    -------
    list of ExportedImage
        All images of the export, as they are, or would be, afterwards.

    Raises
    ------
    CurationError, ClusterNameError, OutputFolderError
        As `apply_curation` does.
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
        f"got {printable(cluster)}. Nothing was done. Choose one of them."
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


def plan_curation(journal: Journal, found: Survey, curation: Curation) -> Journal:
    """Plan the new path of each image; nothing on the disk is changed."""
    if curation.export not in (None, journal.id):
        raise CurationError(
            f"Expected corrections of the export {journal.id}, got those of "
            f"{printable(curation.export)}. Nothing was done. Check the folder and the file."
        )
    names = _resolved_names(journal, found, curation.names)
    moves = _resolved_moves(journal, found, curation.moves)
    present = _folders(journal, found)
    # "Cats" and "cats" are one folder on some systems: the present spelling is kept.
    kept = {folder for folder in present if folder not in names}
    spelling = {name_key(folder): folder for folder in sorted(kept)}
    targets = [*names.values(), *(SET_ASIDE_NAME if f is None else f for f in moves.values())]
    check_folders([name for name in targets if name not in present])
    for name in targets:
        spelling.setdefault(name_key(name), name)
    new_folders: dict[int, str] = {}
    for i, place in enumerate(found.places):
        if place is not None:
            now = folder_of(place)
            name = (moves[i] or SET_ASIDE_NAME) if i in moves else names.get(now, now)
            new_folders[i] = spelling.get(name_key(name), name)
    folders = [spelling[name_key(names[f])] if f in names else f for f in journal.folders]
    strays = {
        path: spelling[name_key(names[f])]
        for path in found.others
        if (f := folder_of(path)) in names
    }
    return plan_moves(journal._replace(folders=folders), found, new_folders, strays)


def _folders(journal: Journal, found: Survey) -> set[str]:
    paths = [*(place for place in found.places if place), *found.others]
    return {folder for folder in map(folder_of, paths) if folder} | set(journal.folders)


def find_folder(journal: Journal, found: Survey, named: str) -> str | None:
    """Return the present folder with this name, or else the one that first had it."""
    # The report was perhaps written before folders were renamed.
    if named in _folders(journal, found):
        return named
    first = {folder_of(r.first_path): r.image.cluster for r in journal.records if r.first_path}
    label = first.get(named, -1)
    return journal.folders[label] if 0 <= label < len(journal.folders) else None


def _resolved_names(journal: Journal, found: Survey, names: Mapping[str, str]) -> dict[str, str]:
    present = {named: find_folder(journal, found, named) for named in names}
    _refuse_unknown("folders", [named for named, folder in present.items() if folder is None])
    return {str(present[named]): name for named, name in names.items()}


def _resolved_moves(
    journal: Journal, found: Survey, moves: Mapping[str, str | None]
) -> dict[int, str | None]:
    """Return the moves by position of the image, without those of missing images."""
    # Later entries win: a present path comes before a recorded one, and that before the first.
    position = {r.first_path: i for i, r in enumerate(journal.records) if r.first_path}
    position |= {p: i for i, r in enumerate(journal.records) if (p := r.image.exported_path)}
    position |= {place: i for i, place in enumerate(found.places) if place}
    _refuse_unknown("images", [path for path in moves if path not in position])
    missing = [path for path in moves if found.places[position[path]] is None]
    if missing:
        warnings.warn(MissingImagesWarning(missing), stacklevel=5)
    return {position[path]: name for path, name in moves.items() if path not in missing}


def _refuse_unknown(kind: str, unknown: Sequence[str]) -> None:
    if unknown:
        listed = list_reasons(dict.fromkeys(unknown, "not of this export"), 20)
        raise CurationError(
            f"Expected {kind} of this export, got:\n{listed}\nNothing was done. Check the "
            "folder, or save the corrections from a new report."
        )
