"""Reads a curation, the corrections that a person wants, and plans the moves that it asks for."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resnet_kmeans._folder_names import SET_ASIDE_NAME, check_folders, folder_of, label_of, name_key
from resnet_kmeans.exceptions import (
    CurationError,
    MissingImagesWarning,
    list_reasons,
    printable,
    warn_caller,
)
from resnet_kmeans.export.editing import Export
from resnet_kmeans.export.journal import Row
from resnet_kmeans.export.plan import beside, free_path

FORMAT = 1  # also written by correcting.js
KEYS = {"format", "export", "revision", "names", "moves"}


class Curation(NamedTuple):
    """New names for folders, and new folders for images.

    Attributes
    ----------
    export : str or None
        The id of the export that the curation belongs to; None fits any export.
    revision : int or None
        Number of steps of the export when the page was written; None means the present state.
    names : dict of str to str
        New name by present folder. Equal names merge folders.
    moves : dict of str to (str or None)
        New folder by present path of an image; None sets the image aside.
    """

    export: str | None
    revision: int | None
    names: dict[str, str]
    moves: dict[str, str | None]


def read_curation(curation: Mapping[str, Any] | str | os.PathLike[str]) -> Curation:
    """Read a curation from a mapping or a JSON file.

    Raises
    ------
    CurationError
        If the file cannot be read, is not a curation, or has a newer format.
    """
    place = "the mapping"
    if not isinstance(curation, Mapping):
        place = printable(curation)
        curation = _from_file(Path(curation), place)
    number = curation.get("format", FORMAT)
    if not isinstance(number, int) or number > FORMAT:
        raise _error(f"format {number!r}, newer than {FORMAT}", place)
    # A misspelled key would otherwise be ignored, and its corrections with it.
    if unknown := set(curation) - KEYS:
        raise _error(f"unknown keys {', '.join(sorted(map(repr, unknown)))}", place)
    export, revision = curation.get("export"), curation.get("revision")
    names, moves = curation.get("names"), curation.get("moves")
    if not (export is None or isinstance(export, str)):
        raise _error(f"the export {export!r}", place)
    if type(revision) not in (int, type(None)):
        raise _error(f"the revision {revision!r}", place)
    return Curation(export, revision, _checked(names, place), _checked(moves, place, or_none=True))


def _from_file(path: Path, place: str) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CurationError(
            f"No corrections can be read from {place}: {error.strerror}. Nothing was done. "
            "Check the path."
        ) from error
    except (ValueError, RecursionError) as error:  # deeply nested lists exceed the recursion limit
        raise _error(f"invalid JSON ({error})", place) from error
    if not isinstance(found, dict):
        raise _error(f"a {type(found).__name__}", place)
    return found


def _checked(found: Any, place: str, or_none: bool = False) -> dict[str, Any]:
    """Return a mapping of strings to strings, or to None if allowed."""
    found = {} if found is None else found
    if not isinstance(found, Mapping):
        raise _error(f"a {type(found).__name__} as names or moves", place)
    for key, value in found.items():
        is_valid = isinstance(value, str) or (or_none and value is None)
        if not isinstance(key, str) or not is_valid:
            raise _error(f"{key!r}: {value!r}", place)
    return dict(found)


def _error(got: str, place: str) -> CurationError:
    return CurationError(
        'Expected corrections as {"format": 1, "names": {FOLDER: NAME}, "moves": {PATH: FOLDER or '
        f"null}}}}, got {printable(got)} in {place}. Nothing was done. Save the corrections "
        "from the report again, or upgrade resnet-kmeans."
    )


class Plan(NamedTuple):
    """New places of files in an export; nothing on the disk has changed.

    Attributes
    ----------
    rows : dict of int to Row
        New rows, by the number of the file.
    others : list of (str, str, int, int, int)
        Files that are not part of the export, but move along: as in `Step`.
    folders : list of str
        The folder of each label.
    """

    rows: dict[int, Row]
    others: list[tuple[str, str, int, int, int]]
    folders: list[str]


def plan_moves(
    export: Export,
    folders: Sequence[str],
    new_folders: Mapping[int, str],
    other_files: Mapping[str, str] | None = None,
) -> Plan:
    """Plan moves of files to other folders, under names that are free there.

    Parameters
    ----------
    export : Export
    folders : sequence of str
        The new folder of each label.
    new_folders : mapping of int to str
        New folder of images, by their numbers; their companions follow them.
    other_files : mapping of str to str, default=None
        New folder of files that are not part of the export, by present path.
    """
    others = {p: name for p, name in (other_files or {}).items() if folder_of(p) != name}
    places, found = export.found.places, export.found.occupied
    moving = {i for i, name in new_folders.items() if folder_of(str(places[i])) != name}
    companions = [
        (i, file.owner, str(place))
        for i, (file, place) in enumerate(zip(export.journal.files, places))
        if file.owner in moving and place and folder_of(place) == folder_of(str(places[file.owner]))
    ]
    moved = moving | {i for i, _, _ in companions}
    # The path of a missing image stays reserved, because the user may put the image back.
    stay = [row.path for i, row in enumerate(export.rows) if row and i not in moved]
    taken = {name_key(path): 1 for path in [*stay, *found] if path and path not in others}
    labelled, rows = [*folders], {}
    for i in sorted(moving):
        rows[i] = _moved(export.rows[i], new_folders[i], labelled, taken)
    for i, owner, place in companions:
        target = beside(str(places[owner]), place, str(rows[owner].path))
        rows[i] = Row(free_path(target, taken), rows[owner].cluster)
    after = [
        (path, _free(name, path, taken), *export.found.others[path])
        for path, name in others.items()
    ]
    return Plan(rows, after, labelled)


def _moved(row: Row | None, name: str, folders: list[str], taken: dict[str, int]) -> Row:
    assert row is not None  # only what has a place is moved
    label = label_of(name, folders, row.cluster)
    path = _free(name, str(row.path), taken)
    if label == row.cluster:
        return row._replace(path=path)
    return Row(path, label, None, "set aside" if name == SET_ASIDE_NAME else "")


def _free(folder: str, path: str, taken: dict[str, int]) -> str:
    """Return a free path in another folder, with the same subfolders as now."""
    rest = path.partition("/")[2] if "/" in path else path
    return free_path(f"{folder}/{rest}", taken)


def plan_curation(export: Export, curation: Curation) -> Plan:
    """Plan the new path of each image; nothing on the disk is changed.

    Warns
    -----
    MissingImagesWarning
        If images to be moved are not in the folder any more.
    """
    journal, places = export.journal, export.found.places
    if curation.export not in (None, journal.id):
        raise CurationError(
            f"Expected corrections of the export {journal.id}, got those of "
            f"{printable(curation.export)}. Nothing was done. Check the folder and the file."
        )
    names = _resolved_names(export, curation)
    moves = _resolved_moves(export, curation)
    present = _folders(export)
    # "Cats" and "cats" are one folder on some systems, so the present spelling is kept.
    kept = {folder for folder in present if folder not in names}
    spelling = {name_key(folder): folder for folder in sorted(kept)}
    targets = [*names.values(), *(SET_ASIDE_NAME if f is None else f for f in moves.values())]
    check_folders([name for name in targets if name not in present])
    for name in targets:
        spelling.setdefault(name_key(name), name)

    def spelled(name: str) -> str:
        return name if name in kept else spelling[name_key(name)]

    new_folders: dict[int, str] = {}
    for i, place in enumerate(places):
        if place is not None and journal.files[i].owner is None:
            now = folder_of(place)
            name = (moves[i] or SET_ASIDE_NAME) if i in moves else names.get(now, now)
            is_asked = i in moves or now in names
            new_folders[i] = spelled(name) if is_asked else now
    folders = [spelled(names[f]) if f in names else f for f in export.folders]
    other_files = {
        path: spelled(names[f]) for path in export.found.others if (f := folder_of(path)) in names
    }
    plan = plan_moves(export, folders, new_folders, other_files)
    for i, asked in moves.items():
        if asked is not None:  # a person said where the image belongs, perhaps where it is
            row = plan.rows.get(i) or export.rows[i]
            assert row is not None  # only what has a place is moved
            plan.rows[i] = row._replace(reason="", is_confirmed=True)
    return plan


def _folders(export: Export) -> set[str]:
    paths = [*(place for place in export.found.places if place), *export.found.others]
    return {folder for folder in map(folder_of, paths) if folder} | set(export.folders)


def _resolved_names(export: Export, curation: Curation) -> dict[str, str]:
    """Return new names by present folder, where the file may name folders of before."""
    # The page may have been written before folders were renamed; a label is what stays.
    labels: dict[str, int] = {}
    for step in export.journal.steps[: curation.revision]:
        named_now = step.folders[1] if step.folders else []
        labels |= {folder: label for label, folder in reversed([*enumerate(named_now)])}
    folders, present = export.folders, _folders(export)
    is_outdated, found = _is_outdated(export, curation), {}
    for named in curation.names:
        label = labels.get(named, len(folders))  # of a step that was undone, perhaps
        if named in present and (not is_outdated or label >= len(folders)):
            found[named] = named
        elif label < len(folders):
            found[named] = folders[label]
    if not is_outdated:
        _refuse_unknown("folders", [named for named in curation.names if named not in found])
    else:
        filled = {folder_of(place) for place in export.found.places if place}
        _warn_missing([named for named in curation.names if found.get(named) not in filled])
    return {folder: curation.names[named] for named, folder in found.items()}


def _resolved_moves(export: Export, curation: Curation) -> dict[int, str | None]:
    """Return the moves by number of the image, without those of missing images."""
    # Later entries win: the paths of the time when a page was written, else the present ones.
    present = {row.path: i for i, row in enumerate(export.rows) if row and row.path}
    earlier: dict[str, int] = {}
    later: dict[str, int] = {}
    for step in export.journal.steps:
        changes = export.journal.changes_of(step)
        known = earlier if step.number <= (curation.revision or step.number) else later
        known |= {row.path: i for i, *pair in changes for row in pair if row and row.path}
    is_outdated = _is_outdated(export, curation)
    position = {**later, **present, **earlier} if is_outdated else {**earlier, **present}
    unknown = [path for path in curation.moves if path not in position]
    if not is_outdated:
        _refuse_unknown("images", unknown)
    places = export.found.places
    missing = {p for p in curation.moves if p in unknown or places[position[p]] is None}
    _warn_missing(missing)
    return {position[p]: name for p, name in curation.moves.items() if p not in missing}


def _is_outdated(export: Export, curation: Curation) -> bool:
    """Return whether a page was written before other steps were made."""
    return curation.revision is not None and curation.revision < len(export.journal.steps)


def _warn_missing(paths: Collection[str]) -> None:
    if paths:
        warn_caller(MissingImagesWarning(sorted(paths)))


def _refuse_unknown(kind: str, unknown: Sequence[str]) -> None:
    if unknown:
        listed = list_reasons(dict.fromkeys(unknown, "not part of this export"), 20)
        raise CurationError(
            f"Expected {kind} of this export, got:\n{listed}\nNothing was done. Check the "
            "folder, or write a new report and save the corrections from there."
        )
