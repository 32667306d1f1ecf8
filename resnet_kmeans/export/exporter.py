"""Writes images to one folder per cluster; finishes interrupted exports."""

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnet_kmeans._files import HIDDEN_PREFIX
from resnet_kmeans.exceptions import ModelFileError
from resnet_kmeans.export.execution import carry_out, explain_disk_errors
from resnet_kmeans.export.files import contents_of
from resnet_kmeans.export.journal import (
    Journal,
    Record,
    distance_limit_of,
    lock,
    read_journal,
    write_journal,
)
from resnet_kmeans.export.plan import check_action, check_empty, check_images, plan_export
from resnet_kmeans.export.present_state import require_finished, unfinished_journal
from resnet_kmeans.export.table import ExportedImage
from resnet_kmeans.export.undo import undo_export


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
) -> list[ExportedImage]:
    """Write images to one folder per cluster.

    The folders are called ``cluster_0``, ``cluster_1``, … (with leading zeros if there are more
    than ten), or as in `names`. If several images of a cluster have the same file name, the
    first keeps it, and the others become ``name_2.jpg``, ``name_3.jpg``, …. Modification times
    are kept. Everything is checked before the first file is written.
    `ImageFolderClusterer.export` also saves the model in the folder, so that images can be
    added and clusters can be split later.

    Parameters
    ----------
    image_paths : sequence of path-like, of length n
        Paths of the images.
    labels : sequence of int, of length n
        The cluster of each image, from 0. Images with the label -1 are unreadable: they are
        listed in ``clusters.csv`` but not exported. Images with the label -2 are noise and go
        to the folder ``noise``.
    output_folder : str or path-like
        The output folder; it must not exist yet, or be empty.
    action : {"copy", "hardlink", "symlink", "move"}, default="copy"
        How images are put into the folders. `undo_export` reverses a move.
    distances : sequence of float, of length n, default=None
        Distance of each image to the center of its cluster, for ``clusters.csv``.
    reasons : mapping of str to str, default=None
        Why images are unreadable, by path, for ``clusters.csv``.
    n_clusters : int, default=None
        Number of clusters, which determines the leading zeros of folder names. None uses the
        highest label plus one.
    names : sequence of str, or mapping of int to str, default=None
        The folder of each label, or a mapping from some labels to their folders. Clusters with
        equal names share a folder.
    dry_run : bool, default=False
        If True, nothing is written: only check the export and return what it would do.

    Returns
    -------
    list of ExportedImage, of length n
        The images with their new paths: named tuples of ``cluster``, ``name``,
        ``exported_path``, ``source_path``, ``distance`` and ``reason``. An image that was
        deleted during the export has the label -1.

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
    ``clusters.csv`` lists every image in the columns ``cluster``, ``name``, ``exported_path``,
    ``source_path``, ``distance`` and ``reason``; a text that a spreadsheet would run as a
    formula, because it begins with ``=``, ``+``, ``-`` or ``@``, has an apostrophe in front,
    which spreadsheets hide and pandas reads as part of the value.

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
    return write_export(planned, output_folder, action=action, dry_run=dry_run)


def write_export(
    planned: tuple[list[ExportedImage], list[str]],
    output_folder: str | os.PathLike[str],
    *,
    action: str,
    model: Any = None,
    dry_run: bool = False,
) -> list[ExportedImage]:
    """Write a new export as planned; see `export_clusters`.

    Parameters
    ----------
    planned : (list of ExportedImage, list of str)
        Result of `plan_export`.
    output_folder : str or path-like
    action : {"copy", "hardlink", "symlink", "move"}
    model : fitted ImageFolderClusterer, default=None
        Saved in the folder, unless it has a step that cannot be saved without code.
    dry_run : bool, default=False
    """
    folder, (images, folders) = Path(output_folder), planned
    check_action(action)
    check_output_folder(folder)
    check_images(images, folder, action)
    if dry_run:
        return images
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with lock(folder):
        check_output_folder(folder)  # again: another process may have written there meanwhile
        with explain_disk_errors(folder):
            journal = _new_journal(images, folders, action, keep_model(folder, model))
            write_journal(folder, journal)
            return carry_out(folder, journal).images


def check_output_folder(folder: Path, inside: Path | None = None) -> None:
    """Check that a folder is missing or empty, writable, and outside the input folder.

    Raises
    ------
    OutputFolderError
        If it is not, or if a command on it was interrupted.
    """
    if (journal := unfinished_journal(folder)) is not None:
        require_finished(folder, journal)
    check_empty(folder, inside)


def _new_journal(
    plan: list[ExportedImage], folders: list[str], action: str, model: str | None
) -> Journal:
    placed = [image for image in plan if image.exported_path]
    contents = dict(zip(placed, contents_of([image.source_path for image in placed])))
    return Journal(
        id=secrets.token_hex(8),
        action=action,
        command="export",
        finished=False,
        folders=folders,
        centers=list(range(len(folders))),
        distance_limit=distance_limit_of(plan),
        model=model,
        staged=False,
        other_files=[],
        records=[
            Record(i, action, i.exported_path, contents.get(i), "" if i.exported_path else None)
            for i in plan
        ],
    )


def keep_model(folder: Path, model: Any, number: int = 1) -> str | None:
    """Save a fitted model in the folder; return its file name, or None if it is not saved."""
    if model is None:
        return None
    name = f"{HIDDEN_PREFIX}{number}.safetensors"
    try:
        model.save(folder / name)
    except ModelFileError:  # a custom step, which only pickle could save
        return None
    return name


def finish_export(output_folder: str | os.PathLike[str]) -> list[ExportedImage]:
    """Finish an interrupted command on an export.

    Parameters
    ----------
    output_folder : str or path-like
        The folder of the export. If nothing was interrupted, nothing is done.

    Returns
    -------
    list of ExportedImage
        All images of the export; empty if the interrupted command was `undo_export`.

    Raises
    ------
    OutputFolderError
        If the folder is not an export, or if the command stops again, for example because the
        disk is full. Every image is then complete at its old or new path, and this function can
        be called again.

    Examples
    --------
    >>> from resnet_kmeans import finish_export
    >>> images = finish_export("clusters")  # doctest: +SKIP
    """
    folder = Path(output_folder)
    with lock(folder):
        journal = read_journal(folder)
        if journal.finished:
            return journal.images
        if journal.command != "undo":
            with explain_disk_errors(folder):
                return carry_out(folder, journal).images
    undo_export(folder)
    return []
