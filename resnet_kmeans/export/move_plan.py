"""Plans moves of images between the folders of an export."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

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
from resnet_kmeans.export.editing import Export
from resnet_kmeans.export.journal import Clusters, Row
from resnet_kmeans.export.plan import beside, free_path


class Plan(NamedTuple):
    """New places of files in an export; nothing on the disk has changed.

    Attributes
    ----------
    rows : dict of int to Row
        New rows, by the number of the file.
    others : list of (str, str, int, int, int)
        Files that are not part of the export, but move along: as in `Step`.
    clusters : Clusters
    """

    rows: dict[int, Row]
    others: list[tuple[str, str, int, int, int]]
    clusters: Clusters


def plan_moves(
    export: Export,
    clusters: Clusters,
    new_folders: Mapping[int, str],
    other_files: Mapping[str, str] | None = None,
) -> Plan:
    """Plan moves of files to other folders, under names that are free there.

    Parameters
    ----------
    export : Export
    clusters : Clusters
        With the new folder of each label.
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
    folders, rows = list(clusters.folders), {}
    for i in sorted(moving):
        rows[i] = _moved(export.rows[i], new_folders[i], folders, taken)
    for i, owner, place in companions:
        target = beside(str(places[owner]), place, str(rows[owner].path))
        rows[i] = Row(free_path(target, taken), rows[owner].cluster)
    after = [
        (path, _free(name, path, taken), *export.found.others[path])
        for path, name in others.items()
    ]
    return Plan(rows, after, clusters._replace(folders=folders))


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
    new_folders: dict[int, str] = {}
    for i, place in enumerate(places):
        if place is not None and journal.files[i].owner is None:
            now = folder_of(place)
            name = (moves[i] or SET_ASIDE_NAME) if i in moves else names.get(now, now)
            is_asked = i in moves or now in names
            new_folders[i] = spelling.get(name_key(name), name) if is_asked else now
    folders = [spelling[name_key(names[f])] if f in names else f for f in export.clusters.folders]
    other_files = {
        path: spelling[name_key(names[f])]
        for path in export.found.others
        if (f := folder_of(path)) in names
    }
    clusters = export.clusters._replace(folders=folders)
    return plan_moves(export, clusters, new_folders, other_files)


def _folders(export: Export) -> set[str]:
    paths = [*(place for place in export.found.places if place), *export.found.others]
    return {folder for folder in map(folder_of, paths) if folder} | set(export.clusters.folders)


def _resolved_names(export: Export, curation: Curation) -> dict[str, str]:
    """Return new names by present folder, where the file may name folders of before."""
    # The page may have been written before folders were renamed; a label is what stays.
    labels: dict[str, int] = {}
    for step in export.journal.steps[: curation.revision]:
        named_now = step.clusters[1].folders if step.clusters else []
        labels |= {folder: label for label, folder in reversed([*enumerate(named_now)])}
    folders, present = export.clusters.folders, _folders(export)
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
