"""Adds images to an export."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from resnet_kmeans._folder_names import SET_ASIDE_NAME, UNREADABLE, name_key
from resnet_kmeans.export.execution import explain_disk_errors, record_and_carry_out
from resnet_kmeans.export.files import Content, contents_of
from resnet_kmeans.export.journal import Journal, Record, lock, read_journal
from resnet_kmeans.export.plan import check_images, free_name
from resnet_kmeans.export.present_state import open_export, with_contents
from resnet_kmeans.export.survey import Survey
from resnet_kmeans.export.table import ExportedImage

POOR_FIT = "farther from the center than 99% of the images of the fit"


class NewImages(NamedTuple):
    """New images with their nearest centers.

    Attributes
    ----------
    paths : sequence of str, of length n
    centers : sequence of int, of length n
        Position of the nearest center in the saved model; -1 for an unreadable image.
    distances : sequence of float, of length n
        Distance to that center.
    reasons : mapping of str to str
        Why images are unreadable, by path.
    """

    paths: Sequence[str]
    centers: Sequence[int]
    distances: Sequence[float]
    reasons: Mapping[str, str]


def kept_model(output_folder: str | os.PathLike[str]) -> Path | None:
    """Return the file of the model that was saved with an export, or None if there is none."""
    folder = Path(output_folder)
    name = read_journal(folder).model
    return folder / name if name and (folder / name).is_file() else None


def select_new(output_folder: str | os.PathLike[str], paths: Sequence[str]) -> list[str]:
    """Return the images that are not in an export yet, judged by their source and content."""
    folder = Path(output_folder).resolve()
    with lock(folder):
        journal, found = open_export(folder, read_journal(folder))
        journal = with_contents(journal, folder, found)
    present = [r for r, place in zip(journal.records, found.places) if place]
    # A moved image is no longer at its source, so a file at that path is another image.
    sources = {r.image.source_path for r in present if r.action != "move"}
    digests = {r.content.digest for r in present if r.content}
    outside = [
        p for p in map(os.path.abspath, paths) if not Path(p).resolve().is_relative_to(folder)
    ]
    fresh = [path for path in dict.fromkeys(outside) if path not in sources]
    selected = []
    for path, content in zip(fresh, contents_of(fresh)):
        if content is None or content.digest not in digests:
            selected.append(path)
            digests.add(content.digest if content else "")  # equal new images are added once
    return selected


def add_to_export(
    output_folder: str | os.PathLike[str],
    new: NewImages,
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
    OutputFolderError
        If images or disk space are missing; in this case, nothing is done. Also if the command
        stops midway, for example because the disk is full.
    """
    folder = Path(output_folder)
    with lock(folder):
        journal, found = open_export(folder, read_journal(folder))
        images = _plan(journal, found, new, set_aside)
        check_images(images, folder, action)
        if dry_run:
            return images
        with explain_disk_errors(folder):
            contents = dict(zip(images, contents_of([image.source_path for image in images])))
            journal = with_contents(journal, folder, found)
            records = _without_earlier(journal, images)
            records += [_new_record(image, action, contents[image]) for image in images]
            journal = journal._replace(command="add", records=records)
            return record_and_carry_out(folder, journal).images[-len(images) :] if images else []


def _new_record(image: ExportedImage, action: str, content: Content | None) -> Record:
    if image.exported_path is None:
        return Record(image, action, None)
    return Record(image, action, image.exported_path, content, "")


def _without_earlier(journal: Journal, images: Sequence[ExportedImage]) -> list[Record]:
    """Return the records, except those of unreadable images that are being added again."""
    again = {image.source_path for image in images}
    return [r for r in journal.records if r.image.exported_path or r.image.source_path not in again]


def _plan(journal: Journal, found: Survey, new: NewImages, set_aside: bool) -> list[ExportedImage]:
    """Plan the path of each image; nothing on the disk is changed."""
    # The path of a missing image stays reserved, because the user may put the image back.
    paths = [p or r.image.exported_path for p, r in zip(found.places, journal.records)]
    taken = {name_key(path): 1 for path in [*paths, *found.others] if path}
    images = []
    for path, center, distance in zip(new.paths, new.centers, new.distances):
        if center < 0:
            reason = new.reasons.get(path, "")
            images.append(ExportedImage(UNREADABLE, "", None, path, None, reason))
            continue
        is_far = journal.distance_limit is not None and distance > journal.distance_limit
        label = journal.centers[center]
        name = SET_ASIDE_NAME if is_far and set_aside else journal.folders[label]
        target = free_name(f"{name}/", os.path.basename(path), taken)
        cluster = UNREADABLE if name == SET_ASIDE_NAME else label
        reason = POOR_FIT if is_far else ""
        images.append(ExportedImage(cluster, name, target, path, float(distance), reason))
    return images
