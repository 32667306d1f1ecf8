"""Writes images to one folder per cluster."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from resnet_kmeans._folder_names import JOURNAL
from resnet_kmeans.export.editing import Export, creating, forget
from resnet_kmeans.export.files import Content, contents_of
from resnet_kmeans.export.journal import ExportedFile, Row, Step, read_journal
from resnet_kmeans.export.kept import KeptNetwork
from resnet_kmeans.export.plan import (
    ask_file_system,
    check_action,
    check_empty,
    check_images,
    find_companions,
    plan_export,
    real_path,
)
from resnet_kmeans.export.table import ExportedImage

logger = logging.getLogger(__name__)

SAME = "the same content as"


def export_clusters(
    image_paths: Sequence[str | os.PathLike[str]],
    labels: Sequence[int],
    output_folder: str | os.PathLike[str],
    *,
    action: str = "copy",
    distances: Sequence[float] | None = None,
    reasons: Mapping[str, str] | None = None,
    n_clusters: int | None = None,
    names: Sequence[str] | Mapping[int, str] | None = None,
    dry_run: bool = False,
    companions: bool | None = None,
    skip_copies: bool = False,
) -> list[ExportedImage]:
    """Write images to one folder per cluster.

    The folders are called ``cluster_0``, ``cluster_1``, … (with leading zeros if there are more
    than ten), or as in `names`. If several images of a cluster have the same file name, the
    first keeps it, and the others become ``name_2.jpg``, ``name_3.jpg``, …; a colon or backslash
    in a name becomes ``_``. Modification times are kept. Everything is checked before the first
    file is written.
    `ImageFolderClusterer.export` also keeps reduced features in the folder, so that its images
    can be judged, clusters can be split and images can be added later.

    Parameters
    ----------
    image_paths : sequence of path-like, of length n
        Paths of the images.
    labels : sequence of int, of length n
        The cluster of each image, from 0. Images with the label -3 are unreadable: they are
        listed in ``clusters.csv`` but not exported. Images with the label -1 are noise and go
        to the folder ``noise``.
    output_folder : str or path-like
        The output folder; it must not exist yet, or be empty.
    action : {"copy", "hardlink", "symlink", "move"}, default="copy"
        How images are put into the folders. `undo_export` takes each of them back.
    distances : sequence of float, of length n, default=None
        Distance of each image to the center of its cluster, for ``clusters.csv``.
    reasons : mapping of str to str, default=None
        Why images are unreadable, or what is missing in them, by path, for ``clusters.csv``.
    n_clusters : int, default=None
        Number of clusters, which determines the leading zeros of folder names. None uses the
        highest label plus one.
    names : sequence of str, or mapping of int to str, default=None
        The folder of each label, or a mapping from some labels to their folders. Clusters with
        equal names share a folder.
    dry_run : bool, default=False
        If True, nothing is written: only check the export and return what it would do.
    companions : bool, default=None
        Whether files that belong to an image by their name go with it: the ``.mov`` of a Live
        Photo, ``.xmp``, ``.aae``, and the ``.json`` of Google. None takes them along only when
        images are moved. They are not listed in ``clusters.csv``.
    skip_copies : bool, default=False
        If True, of images with the same content only the first is exported; the others are
        listed with the `reason`, but without an exported path.

    Returns
    -------
    list of ExportedImage, of length n
        The images with their new paths: named tuples of ``cluster``, ``name``,
        ``exported_path``, ``source_path``, ``distance``, ``reason``, ``doubt`` and
        ``suggestion``. An image that was
        deleted during the export has the label -3.

    Raises
    ------
    OutputFolderError
        If the folder is not empty, or images or disk space are missing; in this case, nothing
        is written. Also if the export stops midway, for example because the disk is full; every
        image is then complete at its old or new path.
    ClusterNameError
        If a name is not valid for a folder.
    ValueError
        If the action is unknown, or there are more or fewer labels than images.

    Notes
    -----
    ``clusters.csv`` lists every image in columns of these names; a text that a spreadsheet
    would run as a formula, because it begins with ``=``, ``+``, ``-`` or ``@``, has an
    apostrophe in front, which spreadsheets hide and pandas reads as part of the value.

    ``sklearn.datasets.load_files`` and ``torchvision.datasets.ImageFolder`` read the folder
    as a labeled data set, in which ``noise`` and ``_set_aside`` are labels like any other.
    Hugging Face's ``imagefolder`` mistakes folders and files with words like "train" and "test"
    in their names for splits, and then skips all others. The following call reads every image,
    whatever its name::

        load_dataset("imagefolder", data_dir="clusters", data_files="**", split="train",
                     drop_labels=False)

    Examples
    --------
    >>> from resnet_kmeans import export_clusters
    >>> images = export_clusters(
    ...     ["a.jpg", "b.jpg"], [0, 1], "clusters", names=["cats", "dogs"]
    ... )  # doctest: +SKIP
    >>> [image.exported_path for image in images]  # doctest: +SKIP
    ['cats/a.jpg', 'dogs/b.jpg']
    """
    planned = plan_export(image_paths, labels, distances, reasons, n_clusters, names)
    return write_export(
        planned,
        output_folder,
        action=action,
        dry_run=dry_run,
        companions=companions,
        skip_copies=skip_copies,
    )


def write_export(
    planned: tuple[list[ExportedImage], list[str]],
    output_folder: str | os.PathLike[str],
    *,
    action: str,
    features: np.ndarray | None = None,
    network: KeptNetwork | None = None,
    contents: Mapping[str, Content] | None = None,
    dry_run: bool = False,
    companions: bool | None = None,
    skip_copies: bool = False,
) -> list[ExportedImage]:
    """Write a new export as planned; see `export_clusters`.

    Parameters
    ----------
    planned : (list of ExportedImage, list of str)
        Result of `plan_export`.
    output_folder : str or path-like
    action : {"copy", "hardlink", "symlink", "move"}
    features : ndarray of shape (n, c), default=None
        Reduced features of the images, kept so that the folders can judge them.
    network : KeptNetwork, default=None
        What these come from, kept so that images can be added.
    contents : mapping of str to Content, default=None
        The contents of sources that are known already; the others are read.
    dry_run, companions, skip_copies : bool
    """
    folder, (images, folders) = Path(output_folder), planned
    check_action(action)
    check_output_folder(folder)
    if skip_copies or not dry_run:
        known = read_contents(images, contents)
        if skip_copies:
            images = without_copies(images, known)
        elif n_copies := len(known) - len(set(known.values())):
            logger.info("images with the content of others: %d (--skip-copies)", n_copies)
    takes_along = action == "move" if companions is None else companions
    extra = find_companions(images) if takes_along else []
    check_images([*images, *(companion for _, companion in extra)], folder, action)
    if dry_run:
        return images
    with creating(folder) as export:
        check_output_folder(folder)  # again: another process may have written there meanwhile
        step = new_step(export, "export", action, images, extra, known, folders=folders)
        export.do(step, features=features, network=network)
        forget(folder)
        return export.images(export.journal.rows)


def read_contents(
    images: Sequence[ExportedImage], known: Mapping[str, Content] | None = None
) -> dict[str, Content]:
    """Return the contents of the sources of images, of which some may be known already."""
    known = known or {}
    unknown = [i.source_path for i in images if i.exported_path and i.source_path not in known]
    read = zip(unknown, contents_of(unknown))
    return {**known, **{path: content for path, content in read if content is not None}}


def without_copies(
    images: Sequence[ExportedImage], contents: Mapping[str, Content]
) -> list[ExportedImage]:
    """Return the images, of which those with the content of an earlier one stay where they are."""
    first: dict[Content, str] = {}
    kept = []
    for image in images:
        source = image.source_path
        content = contents.get(source) if image.exported_path else None
        if content is not None and (original := first.setdefault(content, source)) != source:
            image = image._replace(name="", exported_path=None, reason=f"{SAME} {original}")
        kept.append(image)
    return kept


def new_step(
    export: Export,
    command: str,
    action: str,
    images: Sequence[ExportedImage],
    companions: Sequence[tuple[int, ExportedImage]],
    contents: Mapping[str, Content],
    *,
    gone: Iterable[int] = (),
    folders: list[str] | None = None,
) -> Step:
    """Return a step that brings images to an export.

    Parameters
    ----------
    export : Export
    command : str
    action : {"copy", "hardlink", "symlink", "move"}
    images : sequence of ExportedImage
    companions : sequence of (int, ExportedImage)
        Result of `find_companions`.
    contents : mapping of str to Content
        The contents of sources that are known already; the others are read.
    gone : iterable of int, default=()
        Numbers of the files that are not listed any more.
    folders : list of str, default=None
        The folder of each label; None means the present ones.
    """
    plan, start = [*images, *(companion for _, companion in companions)], len(export.journal.files)
    ask_file_system(plan, export.folder, action)
    owners = [*[None] * len(images), *(start + i for i, _ in companions)]
    contents, files = read_contents(plan, contents), []
    for image, owner in zip(plan, owners):
        source, real = image.source_path, real_path(image.source_path)
        elsewhere = None if real == source else real
        files.append(ExportedFile(source, action, contents.get(source), owner, elsewhere))
    rows: dict[int, Row | None] = {
        i: Row(image.exported_path, image.cluster, image.distance, image.reason)
        for i, image in enumerate(plan, start)
    }
    rows |= dict.fromkeys(gone)
    return export.new_step(command, files=files, rows=rows, folders=folders)


def check_output_folder(folder: Path) -> None:
    """Check that a folder is missing or empty, and writable.

    Raises
    ------
    OutputFolderError
        If it is not, or if a command on it was interrupted.
    """
    if os.path.lexists(folder / JOURNAL):
        journal = read_journal(folder)
        Export(folder, journal, trust=False).require_finished()
    check_empty(folder)
