"""Adds images to an export."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resnet_kmeans._folder_names import SET_ASIDE_NAME, UNREADABLE, name_key
from resnet_kmeans.clustering import FolderGaussians, is_readable
from resnet_kmeans.exceptions import SHOWN, OutputFolderError, list_reasons, printable
from resnet_kmeans.export.editing import Export, editing
from resnet_kmeans.export.exporter import SAME, new_step
from resnet_kmeans.export.files import Content, contents_of
from resnet_kmeans.export.kept import FolderModel, KeptNetwork, judged, read_network
from resnet_kmeans.export.plan import check_images, find_companions, free_name, portable
from resnet_kmeans.export.table import ExportedImage

logger = logging.getLogger(__name__)

UNCLAIMED = "more unusual than 95% of the images in folders"


class NewImages(NamedTuple):
    """New images and what is known about them.

    Attributes
    ----------
    export : str
        The id of the export for which they were selected.
    contents : dict of str to (Content or None)
        The contents by path; None for what cannot be read. There are n images.
    features : ndarray of shape (n, c)
        Their features, reduced like those that the export keeps; NaN if unreadable.
    is_foreign : ndarray of shape (n,), dtype bool
        Whether they are of another kind than all images of the export.
    reasons : mapping of str to str
        Why images are unreadable, or what they lack, by path.
    """

    export: str
    contents: dict[str, Content | None]
    features: np.ndarray
    is_foreign: np.ndarray
    reasons: Mapping[str, str]


def select_new(
    output_folder: str | os.PathLike[str], paths: Sequence[str]
) -> tuple[str, KeptNetwork, dict[str, Content | None]]:
    """Return the id and network of an export, and the images whose content it does not have."""
    with editing(output_folder) as export:
        root = os.path.realpath(export.folder)
        absolute = dict.fromkeys(map(os.path.abspath, paths))
        # The files of the export itself are not new, wherever it is.
        outside = [p for p in absolute if not Path(os.path.realpath(p)).is_relative_to(root)]
        fresh, already = _without_present(export, dict(zip(outside, contents_of(outside))))
        if already:
            logger.info("already in the export:\n%s", list_reasons(already, SHOWN))
        network = read_network(export.folder, export.journal)
        _require_gaussians(export)
        return export.journal.id, network, fresh


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
    *,
    action: str,
    set_aside: bool,
    dry_run: bool = False,
) -> list[ExportedImage]:
    """Put new images into the folders in which they are most probable.

    Parameters
    ----------
    output_folder : str or path-like
        The folder of a finished export.
    new : NewImages
    action : {"copy", "hardlink", "symlink", "move"}
    set_aside : bool
        If True, images that no folder claims go to ``_set_aside``.
    dry_run : bool, default=False
        If True, only check and return what would be done.

    Returns
    -------
    list of ExportedImage
        The new images with their paths in the export.

    Raises
    ------
    OutputFolderError
        If no folder has images with features, or images or disk space are missing; in these
        cases, nothing is done. Also if the command stops midway, for example because the disk
        is full.
    """
    with editing(output_folder) as export:
        if export.journal.id != new.export:
            raise OutputFolderError(
                f"Another export was made in {printable(export.folder)} meanwhile. Nothing was "
                "done. Run the command again."
            )
        # Another command may have added some of them since they were selected.
        fresh, _ = _without_present(export, new.contents)
        if not fresh:
            return []
        position = {path: i for i, path in enumerate(new.contents)}
        kept = [position[path] for path in fresh]
        new = new._replace(
            contents=fresh, features=new.features[kept], is_foreign=new.is_foreign[kept]
        )
        images = _plan(export, new, set_aside)
        gone = _listed_before(export, images)
        told = {export.journal.files[i].source: row.reason for i in gone if (row := export.rows[i])}
        if all(not i.exported_path and told.get(i.source_path) == i.reason for i in images):
            return images  # nothing is new
        extra = find_companions(images, _taken(export)) if action == "move" else []
        plan = [*images, *(companion for _, companion in extra)]
        check_images(plan, export.folder, action)
        if dry_run:
            return images
        known = {path: content for path, content in fresh.items() if content}
        start = len(export.journal.files)
        step = new_step(export, "add", action, images, extra, known, gone=gone)
        export.do(step, features=new.features.astype(np.float16))
        now, numbers = export.journal.rows, export.listed(export.journal.rows)[1]
        return [image for i, image in zip(numbers, export.images(now)) if i >= start]


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
    (model, gaussians), taken = _require_gaussians(export), _taken(export)
    own = np.full(len(new.contents), -1)
    is_unclaimed = np.zeros(len(own), bool)
    known = np.flatnonzero(is_readable(new.features))
    own[known] = gaussians.predict(new.features[known])
    is_unclaimed[known] = new.is_foreign[known] | gaussians.is_unusual(
        new.features[known], own[known], model.of_folders
    )
    clusters = gaussians.judge(new.features[known], own[known], False).clusters
    cluster_of = dict(zip(known.tolist(), clusters.tolist()))
    images = []
    for i, path in enumerate(new.contents):
        reason = new.reasons.get(path, "")
        if i not in cluster_of:
            images.append(ExportedImage(UNREADABLE, "", None, path, None, reason))
            continue
        is_aside = bool(is_unclaimed[i] and set_aside)
        name = SET_ASIDE_NAME if is_aside else model.names[own[i]]
        cluster = UNREADABLE if is_aside else cluster_of[i]
        target = free_name(f"{name}/", portable(os.path.basename(path)), taken)
        reason = UNCLAIMED if is_unclaimed[i] else reason
        images.append(ExportedImage(cluster, name, target, path, None, reason))
    placed = np.where(is_unclaimed & set_aside, -1, own)
    model = model._replace(features=new.features, own=placed)
    return judged(model, images, range(len(images)), are_members=False)


def _require_gaussians(export: Export) -> tuple[FolderModel, FolderGaussians]:
    """Return the folders of an export as a model, which must have something to go by."""
    model = export.folder_model
    if model.gaussians is None:
        raise OutputFolderError(
            f"No folder of the export in {printable(export.folder)} has images whose features are "
            "known, so none can take new ones. Nothing was done. Put images back into folders."
        )
    return model, model.gaussians
