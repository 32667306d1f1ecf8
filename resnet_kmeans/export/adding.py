"""Adds images to an export."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from resnet_kmeans._folder_names import SET_ASIDE_NAME, UNREADABLE, name_key
from resnet_kmeans.exceptions import SHOWN, OutdatedError, list_reasons
from resnet_kmeans.export.editing import Export, editing
from resnet_kmeans.export.exporter import SAME, new_files, read_contents, row_of
from resnet_kmeans.export.files import Content, contents_of
from resnet_kmeans.export.journal import Row
from resnet_kmeans.export.plan import (
    ask_file_system,
    check_images,
    find_companions,
    free_name,
    portable,
)
from resnet_kmeans.export.table import ExportedImage

logger = logging.getLogger(__name__)

POOR_FIT = "farther from the center than 99% of the images of the fit"


class Selection(NamedTuple):
    """What is to be added to an export, and the state in which that was found out.

    Attributes
    ----------
    revision : int
        Number of steps of the export.
    model : Path or None
        The file of the kept model.
    contents : dict of str to (Content or None)
        The new images by path, with their contents; None for what cannot be read.
    """

    revision: int
    model: Path | None
    contents: dict[str, Content | None]


class NewImages(NamedTuple):
    """New images with their nearest centers.

    Attributes
    ----------
    paths : sequence of str, of length n
    centers : sequence of int, of length n
        Position of the nearest center in the saved model; -3 for an unreadable image.
    distances : sequence of float, of length n
        Distance to that center.
    reasons : mapping of str to str
        Why images are unreadable, by path.
    """

    paths: Sequence[str]
    centers: Sequence[int]
    distances: Sequence[float]
    reasons: Mapping[str, str]


def select_new(output_folder: str | os.PathLike[str], paths: Sequence[str]) -> Selection:
    """Return the images whose content neither an export nor an image before them has."""
    with editing(output_folder) as export:
        root = os.path.realpath(export.folder)
        absolute = dict.fromkeys(map(os.path.abspath, paths))
        # The files of the export itself are not new, wherever it is.
        outside = [p for p in absolute if not Path(os.path.realpath(p)).is_relative_to(root)]
        contents = dict(zip(outside, contents_of(outside)))
        fresh, already = _without_present(export, contents)
        if already:
            logger.info("already in the export:\n%s", list_reasons(already, SHOWN))
        return Selection(len(export.journal.steps), export.model, fresh)


def _without_present(
    export: Export, contents: Mapping[str, Content | None]
) -> tuple[dict[str, Content | None], dict[str, str]]:
    """Return the contents that an export does not have, and where it has the others."""
    placed = [(file, p) for file, p in zip(export.journal.files, export.found.places) if p]
    where = {file.content: f"in the export as {place}" for file, place in placed}
    # Another command may have moved an image here since it was listed.
    gone = {file.source: where[file.content] for file, _ in placed if file.action == "move"}
    if edited := sorted(export.found.edited):
        places = [str(export.found.places[i]) for i in edited]
        now = contents_of([export.folder / place for place in places])
        where |= {content: f"in the export as {p}" for content, p in zip(now, places)}
    where.pop(None, None)
    fresh: dict[str, Content | None] = {}
    already = {}
    for path, content in contents.items():
        if content is not None and content in where:
            already[path] = where[content]
        elif path in gone and not os.path.lexists(path):
            already[path] = gone[path]
        else:
            fresh[path] = content
            where[content] = f"{SAME} {path}"
            where.pop(None, None)
    return fresh, already


def add_to_export(
    output_folder: str | os.PathLike[str],
    new: NewImages,
    selected: Selection,
    *,
    action: str,
    set_aside: bool,
    dry_run: bool = False,
) -> list[ExportedImage]:
    """Put new images into the folders of their nearest centers.

    Parameters
    ----------
    output_folder : str or path-like
        The folder of a finished export.
    new : NewImages
    selected : Selection
    action : {"copy", "hardlink", "symlink", "move"}
    set_aside : bool
        If True, images that fit badly go to ``_set_aside``.
    dry_run : bool, default=False
        If True, only check and return what would be done.

    Returns
    -------
    list of ExportedImage
        The new images with their paths in the export.

    Raises
    ------
    OutdatedError
        If the export was changed after the images were selected; in this case, nothing is done.
    OutputFolderError
        If images or disk space are missing; in this case, nothing is done. Also if the command
        stops midway, for example because the disk is full.
    """
    with editing(output_folder) as export:
        if len(export.journal.steps) != selected.revision:
            raise OutdatedError(output_folder)
        images = _plan(export, new, set_aside)
        extra = find_companions(images, _taken(export)) if action == "move" else []
        plan = [*images, *(companion for _, companion in extra)]
        check_images(plan, export.folder, action)
        if dry_run or not images:
            return images
        ask_file_system(plan, export.folder, action)
        start = len(export.journal.files)
        owners = [*[None] * len(images), *(start + i for i, _ in extra)]
        known = {path: content for path, content in selected.contents.items() if content}
        contents = read_contents(plan, known)
        rows: dict[int, Row | None] = {start + i: row_of(image) for i, image in enumerate(plan)}
        rows |= dict.fromkeys(_listed_before(export, images))
        files = new_files(plan, action, contents, owners)
        export.do(export.new_step("add", files=files, rows=rows))
        numbers = range(start, start + len(images))
        return [export.journal.image(i, row) for i in numbers if (row := export.journal.rows[i])]


def _listed_before(export: Export, images: Sequence[ExportedImage]) -> list[int]:
    """Return the numbers of unreadable images that are being added again."""
    again = {image.source_path for image in images}
    pairs = zip(export.journal.files, enumerate(export.rows))
    return [i for file, (i, row) in pairs if row and not row.path and file.source in again]


def _taken(export: Export) -> dict[str, int]:
    """Return the paths that are not free, for `free_name`."""
    # The path of a missing image stays reserved, because the user may put the image back.
    paths = [row.path for row in export.rows if row]
    return {name_key(path): 1 for path in [*paths, *export.found.occupied] if path}


def _plan(export: Export, new: NewImages, set_aside: bool) -> list[ExportedImage]:
    """Plan the path of each image; nothing on the disk is changed."""
    clusters, taken, images = export.clusters, _taken(export), []
    limit = clusters.distance_limit
    for path, center, distance in zip(new.paths, new.centers, new.distances):
        if center < 0:
            reason = new.reasons.get(path, "")
            images.append(ExportedImage(UNREADABLE, "", None, path, None, reason))
            continue
        is_far = limit is not None and distance > limit
        label = clusters.centers[center]
        name = SET_ASIDE_NAME if is_far and set_aside else clusters.folders[label]
        target = free_name(f"{name}/", portable(os.path.basename(path)), taken)
        cluster = UNREADABLE if name == SET_ASIDE_NAME else label
        reason = POOR_FIT if is_far else ""
        images.append(ExportedImage(cluster, name, target, path, float(distance), reason))
    return images
