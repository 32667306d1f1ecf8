"""Corrects an export: folders renamed and merged, images moved, a folder split."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from resnet_kmeans.cluster_names import compared
from resnet_kmeans.exceptions import (
    CurationError,
    MissingImagesWarning,
    OutputFolderError,
    list_reasons,
    printable,
)
from resnet_kmeans.export.curation import Curation, read_curation
from resnet_kmeans.export.execution import carry_out, told
from resnet_kmeans.export.exporter import keep_model, resume
from resnet_kmeans.export.journal import Journal, Record, lock, read_journal, write_journal
from resnet_kmeans.export.names import SET_ASIDE, check_folders, folder_of, label_of
from resnet_kmeans.export.plan import ExportedImage, free_name
from resnet_kmeans.export.state import (
    ExportState,
    as_found,
    read_export,
    require_finished,
    with_contents,
)
from resnet_kmeans.export.survey import Survey, survey


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
        with told(folder):
            planned = with_contents(planned, folder, found)
            planned = planned._replace(command="apply", request=dict(request))
            return begin(folder, planned).images


def open_export(folder: Path, journal: Journal) -> tuple[Journal, Survey]:
    """Return the journal of a finished export as its folder is now, and what was found there."""
    require_finished(folder, journal)
    found = survey(folder, journal)
    return as_found(journal, folder, found), found


def begin(folder: Path, planned: Journal) -> Journal:
    """Write what is planned to the journal, then carry it out."""
    planned = planned._replace(finished=False, staged=False)
    names = {image.name for image in planned.images if image.name}
    if files := sorted(name for name in names if (folder / name).is_file()):
        raise OutputFolderError(
            f"Expected folders in {printable(folder)}, got files called "
            f"{printable(', '.join(files))}. Nothing was done. Move them away, or choose others."
        )
    write_journal(folder, planned)
    return carry_out(folder, planned)


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


def plan_moves(
    journal: Journal,
    found: Survey,
    goals: Mapping[int, str],
    strays: Mapping[str, str] | None = None,
) -> Journal:
    """Plan to bring images to folders under names that are free there.

    Parameters
    ----------
    journal : Journal
        Of a finished export, with the folders of its labels as they will be.
    found : Survey
    goals : mapping of int to str
        The folder of each image that is there, by its position.
    strays : mapping of str to str, default=None
        The folder of files of others, by path.
    """
    strays = {path: name for path, name in (strays or {}).items() if folder_of(path) != name}
    moving = {i for i, name in goals.items() if folder_of(str(found.places[i])) != name}
    # The path of a missing image stays its own: it may come back.
    paths = [p or r.image.exported_path for p, r in zip(found.places, journal.records)]
    stay = [path for i, path in enumerate(paths) if path and i not in moving]
    taken = {compared(path): 1 for path in [*stay, *found.others] if path not in strays}
    folders, records = list(journal.folders), list(journal.records)
    for i in sorted(moving):
        records[i] = _moved(records[i], str(found.places[i]), goals[i], folders, taken)
    after = [(path, _free(name, path, taken)) for path, name in strays.items()]
    return journal._replace(folders=folders, records=records, strays=after)


def _moved(
    record: Record, place: str, name: str, folders: list[str], taken: dict[str, int]
) -> Record:
    image = record.image
    label = label_of(name, folders, image.cluster)
    is_other = label != image.cluster
    image = ExportedImage(
        cluster=label,
        name=name,
        exported_path=_free(name, place, taken),
        source_path=image.source_path,
        distance=None if is_other else image.distance,
        reason=("set aside" if name == SET_ASIDE else "") if is_other else image.reason,
    )
    return record._replace(image=image, before=place)


def _free(folder: str, path: str, taken: dict[str, int]) -> str:
    """Return a free path in another folder; folders within the present one are kept."""
    rest = path.partition("/")[2] if "/" in path else path
    inner, base = os.path.split(rest)
    return free_name(f"{folder}/{inner}/" if inner else f"{folder}/", base, taken)


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


def split_folder(
    output_folder: str | os.PathLike[str],
    named: str,
    parts: Mapping[str, tuple[int, float]],
    *,
    model: Any,
    centers: Sequence[int],
    request: Mapping[str, Any],
    dry_run: bool = False,
) -> list[ExportedImage]:
    """Split a folder of an export into new ones, replacing the kept model.

    Parameters
    ----------
    output_folder : str or path-like
    named : str
        The folder.
    parts : mapping of str to (int, float)
        The part, from 0 on, of each image by its present path, with its distance to the new
        centre.
    model : fitted ImageFolderClusterer
        To be kept from now on; its last centres are those of the parts.
    centers : sequence of int
        Which centres of the model kept before are still there, by position.
    request : mapping
        By which the same split is known again.
    dry_run : bool, default=False

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
        with told(folder):
            number = int((journal.model or ".0.").split(".")[-2]) + 1
            planned = with_contents(planned, folder, found)
            planned = planned._replace(
                command="split", request=dict(request), model=keep_model(folder, model, number)
            )
            return begin(folder, planned).images


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
    """Return names of the parts of a folder: ``NAME_1``, ``NAME_2``, … that are free."""
    used, number = {compared(name) for name in taken}, 1
    names: list[str] = []
    while len(names) < n_parts:
        if compared(name := f"{named}_{number}") not in used:
            names.append(name)
        number += 1
    return names
