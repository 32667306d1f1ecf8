"""Plans moves of images between the folders of an export."""

import os
from collections.abc import Mapping, Sequence

from resnet_kmeans._folder_names import (
    SET_ASIDE_NAME,
    check_folders,
    folder_of,
    label_of,
    name_key,
)
from resnet_kmeans.exceptions import (
    CurationError,
    MissingImagesWarning,
    list_reasons,
    printable,
    warn_caller,
)
from resnet_kmeans.export.curation import Curation
from resnet_kmeans.export.journal import Journal, Record
from resnet_kmeans.export.plan import free_name
from resnet_kmeans.export.survey import Survey
from resnet_kmeans.export.table import ExportedImage


def plan_moves(
    journal: Journal,
    found: Survey,
    new_folders: Mapping[int, str],
    other_files: Mapping[str, str] | None = None,
) -> Journal:
    """Plan moves of images to other folders, under names that are free there.

    Parameters
    ----------
    journal : Journal
        The journal of a finished export, with the new folder of each label.
    found : Survey
        The present paths.
    new_folders : mapping of int to str
        New folder of each image, by its position in the journal.
    other_files : mapping of str to str, default=None
        New folder of files that are not part of the export, by present path.

    Returns
    -------
    Journal
        With the planned paths; nothing on the disk has changed.
    """
    other_files = {
        path: name for path, name in (other_files or {}).items() if folder_of(path) != name
    }
    moving = {i for i, name in new_folders.items() if folder_of(str(found.places[i])) != name}
    # The path of a missing image stays reserved, because the user may put the image back.
    paths = [p or r.image.exported_path for p, r in zip(found.places, journal.records)]
    stay = [path for i, path in enumerate(paths) if path and i not in moving]
    taken = {name_key(path): 1 for path in [*stay, *found.others] if path not in other_files}
    folders, records = list(journal.folders), list(journal.records)
    for i in sorted(moving):
        records[i] = _moved(records[i], str(found.places[i]), new_folders[i], folders, taken)
    after = [(path, _free(name, path, taken)) for path, name in other_files.items()]
    return journal._replace(folders=folders, records=records, other_files=after)


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
        reason=("set aside" if name == SET_ASIDE_NAME else "") if is_other else image.reason,
    )
    return record._replace(image=image, present_path=place)


def _free(folder: str, path: str, taken: dict[str, int]) -> str:
    """Return a free path in another folder, with the same subfolders as now."""
    rest = path.partition("/")[2] if "/" in path else path
    inner, base = os.path.split(rest)
    return free_name(f"{folder}/{inner}/" if inner else f"{folder}/", base, taken)


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
    # "Cats" and "cats" are one folder on some systems, so the present spelling is kept.
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
    other_files = {
        path: spelling[name_key(names[f])]
        for path in found.others
        if (f := folder_of(path)) in names
    }
    return plan_moves(journal._replace(folders=folders), found, new_folders, other_files)


def _folders(journal: Journal, found: Survey) -> set[str]:
    paths = [*(place for place in found.places if place), *found.others]
    return {folder for folder in map(folder_of, paths) if folder} | set(journal.folders)


def find_folder(journal: Journal, found: Survey, named: str) -> str | None:
    """Return the present folder with this name, or else the one that had it at first."""
    # The report may have been written before folders were renamed.
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
    # Later entries win: a present path overrides a recorded one, and that overrides the first.
    position = {r.first_path: i for i, r in enumerate(journal.records) if r.first_path}
    position |= {p: i for i, r in enumerate(journal.records) if (p := r.image.exported_path)}
    position |= {place: i for i, place in enumerate(found.places) if place}
    _refuse_unknown("images", [path for path in moves if path not in position])
    missing = {path for path in moves if found.places[position[path]] is None}
    if missing:
        warn_caller(MissingImagesWarning(sorted(missing)))
    return {position[path]: name for path, name in moves.items() if path not in missing}


def _refuse_unknown(kind: str, unknown: Sequence[str]) -> None:
    if unknown:
        listed = list_reasons(dict.fromkeys(unknown, "not part of this export"), 20)
        raise CurationError(
            f"Expected {kind} of this export, got:\n{listed}\nNothing was done. Check the "
            "folder, or write a new report and save the corrections from there."
        )
