"""Corrects an export: folders renamed and merged, images moved, a folder split."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnet_kmeans.cluster_names import compared
from resnet_kmeans.exceptions import (
    CurationError,
    MissingImagesWarning,
    list_reasons,
    printable,
)
from resnet_kmeans.export.curation import Curation, read_curation
from resnet_kmeans.export.execution import explain_disk_errors, record_and_carry_out
from resnet_kmeans.export.exporter import resume
from resnet_kmeans.export.journal import Journal, lock, read_journal
from resnet_kmeans.export.moving import plan_moves
from resnet_kmeans.export.names import SET_ASIDE, check_folders, folder_of
from resnet_kmeans.export.plan import ExportedImage
from resnet_kmeans.export.state import ExportState, open_export, read_export, with_contents
from resnet_kmeans.export.survey import Survey


def apply_curation(
    output_folder: str | os.PathLike[str],
    curation: Mapping[str, Any] | str | os.PathLike[str],
    *,
    dry_run: bool = False,
) -> list[ExportedImage]:
    """Correct an export: rename and merge folders, move images, set images aside.

    Files are renamed within the folder; the journal and ``clusters.csv`` follow. What was
    moved by hand before is found by its content. An interrupted correction is finished by
    the same one.

    Parameters
    ----------
    output_folder : str or path-like
        The folder of a finished export.
    curation : mapping, str or path-like
        ``{"format": 1, "names": {FOLDER: NAME}, "moves": {PATH: FOLDER or None}}``, or a
        JSON file of that. First the present folders get new names; equal names merge. Then
        images, by their present path in the folder, go to a folder, new or not, or with None
        to ``_set_aside``. Folders and paths of the first export serve too where nothing is
        called so now.
    dry_run : bool, default=False
        Whether only to check and to return what would be done.

    Returns
    -------
    list of ExportedImage
        All images of the export, as they are, or would be, then.

    Raises
    ------
    CurationError
        If it is no curation, of a newer format, of another export, or names folders or
        images that the export never held. Nothing is done then.
    ClusterNameError
        If a name cannot be that of a folder.
    OutputFolderError
        If the folder holds no export or another command there was interrupted, or the disk
        stops the work midway; run it again then.

    Warns
    -----
    MissingImagesWarning
        If images that were to be moved are no longer in the folder.
    """
    asked = read_curation(curation)
    return _correct(Path(output_folder), asked, {"command": "apply", **asked._asdict()}, dry_run)


def rename_folder(
    output_folder: str | os.PathLike[str], cluster: int | str, name: str, *, dry_run: bool = False
) -> list[ExportedImage]:
    """Rename one folder of an export, merging it with another one of that name.

    Parameters
    ----------
    output_folder : str or path-like
    cluster : int or str
        The label, or the present folder.
    name : str
        The new name.
    dry_run : bool, default=False

    Returns
    -------
    list of ExportedImage
        All images of the export, as `apply_curation` returns them.
    """
    folder = Path(output_folder)
    request = {"command": "rename", "cluster": str(cluster), "name": name}
    if not dry_run and (done := resume(folder, request)) is not None:
        return done
    present = require_folder(read_export(folder), cluster)
    return _correct(folder, Curation(None, {present: name}, {}), request, dry_run)


def require_folder(state: ExportState, cluster: int | str) -> str:
    """Return the folder that a label or a name means.

    Raises
    ------
    CurationError
        If there is none.
    """
    present = {image.name for image in state.images if image.name}
    label = int(cluster) if str(cluster).isdecimal() else -1
    if str(cluster) in present:
        return str(cluster)
    if 0 <= label < len(state.folders) and state.folders[label] in present:
        return state.folders[label]
    raise CurationError(
        f"Expected a label or one of the folders {', '.join(map(printable, sorted(present)))}, "
        f"got {printable(cluster)}. Nothing was done. Choose one of them."
    )


def _correct(
    folder: Path, asked: Curation, request: Mapping[str, Any], dry_run: bool
) -> list[ExportedImage]:
    if not dry_run and (done := resume(folder, request)) is not None:
        return done
    with lock(folder):
        present, found = open_export(folder, read_journal(folder))
        planned = plan_curation(present, found, asked)
        if dry_run:
            return planned.images
        with explain_disk_errors(folder):
            planned = with_contents(planned, folder, found)
            planned = planned._replace(command="apply", request=dict(request))
            return record_and_carry_out(folder, planned).images


def plan_curation(journal: Journal, found: Survey, curation: Curation) -> Journal:
    """Decide where each image goes; touches no disk."""
    if curation.export not in (None, journal.id):
        raise CurationError(
            f"Expected corrections of the export {journal.id}, got those of "
            f"{printable(curation.export)}. Nothing was done. Check the folder and the file."
        )
    names = _resolved_names(journal, found, curation.names)
    moves = _resolved_moves(journal, found, curation.moves)
    present = _folders(journal, found)
    kept = {folder for folder in present if folder not in names}
    spelled = {compared(folder): folder for folder in sorted(kept)}
    targets = [*names.values(), *(SET_ASIDE if f is None else f for f in moves.values())]
    check_folders([name for name in targets if name not in present])
    for name in targets:
        spelled.setdefault(compared(name), name)
    goals: dict[int, str] = {}
    for i, place in enumerate(found.places):
        if place is not None:
            now = folder_of(place)
            name = (moves[i] or SET_ASIDE) if i in moves else names.get(now, now)
            goals[i] = spelled.get(compared(name), name)
    folders = [spelled[compared(names[f])] if f in names else f for f in journal.folders]
    strays = {
        path: spelled[compared(names[f])]
        for path in found.others
        if (f := folder_of(path)) in names
    }
    return plan_moves(journal._replace(folders=folders), found, goals, strays)


def _folders(journal: Journal, found: Survey) -> set[str]:
    paths = [*(place for place in found.places if place), *found.others]
    return {folder for folder in map(folder_of, paths) if folder} | set(journal.folders)


def find_folder(journal: Journal, found: Survey, named: str) -> str | None:
    """Return the present folder of a name: its own, or the one that was called so at first."""
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
    """Return the moves by position of the image; those that are gone are warned of."""
    position = {r.first_path: i for i, r in enumerate(journal.records) if r.first_path}
    position |= {p: i for i, r in enumerate(journal.records) if (p := r.image.exported_path)}
    position |= {place: i for i, place in enumerate(found.places) if place}
    _refuse_unknown("images", [path for path in moves if path not in position])
    gone = [path for path in moves if found.places[position[path]] is None]
    if gone:
        warnings.warn(MissingImagesWarning(gone), stacklevel=6)
    return {position[path]: name for path, name in moves.items() if path not in gone}


def _refuse_unknown(kind: str, unknown: Sequence[str]) -> None:
    if unknown:
        listed = list_reasons(dict.fromkeys(unknown, "not of this export"), 20)
        raise CurationError(
            f"Expected {kind} of this export, got:\n{listed}\nNothing was done. Check the "
            "folder, or save the corrections from a new report."
        )
