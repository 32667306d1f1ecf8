"""Plans moves of images between the folders of an export."""

from __future__ import annotations

import os
from collections.abc import Mapping

from resnet_kmeans.cluster_names import SET_ASIDE_NAME, name_key
from resnet_kmeans.export.journal import Journal, Record
from resnet_kmeans.export.names import folder_of, label_of
from resnet_kmeans.export.plan import ExportedImage, free_name
from resnet_kmeans.export.survey import Survey


def plan_moves(
    journal: Journal,
    found: Survey,
    new_folders: Mapping[int, str],
    strays: Mapping[str, str] | None = None,
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
    strays : mapping of str to str, default=None
        New folder of files that are not part of the export, by present path.

    Returns
    -------
    Journal
        With the planned paths; nothing on the disk has changed.
    """
    strays = {path: name for path, name in (strays or {}).items() if folder_of(path) != name}
    moving = {i for i, name in new_folders.items() if folder_of(str(found.places[i])) != name}
    # The path of a missing image stays reserved: the user may put the image back.
    paths = [p or r.image.exported_path for p, r in zip(found.places, journal.records)]
    stay = [path for i, path in enumerate(paths) if path and i not in moving]
    taken = {name_key(path): 1 for path in [*stay, *found.others] if path not in strays}
    folders, records = list(journal.folders), list(journal.records)
    for i in sorted(moving):
        records[i] = _moved(records[i], str(found.places[i]), new_folders[i], folders, taken)
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
        reason=("set aside" if name == SET_ASIDE_NAME else "") if is_other else image.reason,
    )
    return record._replace(image=image, before=place)


def _free(folder: str, path: str, taken: dict[str, int]) -> str:
    """Return a free path in another folder, with the same subfolders as now."""
    rest = path.partition("/")[2] if "/" in path else path
    inner, base = os.path.split(rest)
    return free_name(f"{folder}/{inner}/" if inner else f"{folder}/", base, taken)
