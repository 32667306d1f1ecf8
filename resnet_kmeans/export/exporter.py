"""Writes images to one folder per cluster; finishes interrupted exports."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnet_kmeans.exceptions import ModelFileError
from resnet_kmeans.export.content_hash import contents_of
from resnet_kmeans.export.execution import carry_out, explain_disk_errors
from resnet_kmeans.export.file_actions import ACTIONS, write_atomically
from resnet_kmeans.export.journal import (
    Journal,
    Record,
    far_distance,
    lock,
    read_journal,
    write_journal,
)
from resnet_kmeans.export.plan import (
    HIDDEN_PREFIX,
    JOURNAL,
    ExportedImage,
    check_images,
    check_output_folder,
    plan_export,
)
from resnet_kmeans.export.present_state import matches_request, require_finished, unfinished_journal


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
    model: Any = None,
    request: Mapping[str, Any] | None = None,
    dry_run: bool = False,
) -> list[ExportedImage]:
    """Write images to one folder per cluster.

    The folders are called ``cluster_0``, ``cluster_1``, …, padded to equal width, or as in
    `names`. If images of a cluster have equal names, the first keeps its name, and the others
    become ``name_2.jpg``, ``name_3.jpg``, …. Modification times are kept. Everything is checked
    before the first file is written. ``clusters.csv`` lists every image. If the same export
    to this folder was interrupted, it is finished.

    Parameters
    ----------
    image_paths : sequence of path-like, of length n
        The images.
    labels : sequence of int, of length n
        Images with label -1 are unreadable: they are listed but not exported. Those with
        label -2 are noise and go to the folder ``noise``.
    output_folder : str or path-like
        A folder that does not exist or is empty.
    action : {"copy", "hardlink", "symlink", "move"}, default="copy"
        How images are put into the folders. `undo_export` reverses a move.
    distances : sequence of float, of length n, default=None
        Distance of each image to its centre, for the table.
    reasons : mapping of str to str, default=None
        Why images are unreadable, by path, for the table.
    n_clusters : int, default=None
        Number of clusters, to which folder names are padded. None uses the highest label.
    names : sequence of str, or mapping of int to str, default=None
        The folder of each label. Clusters with equal names share a folder.
    model : fitted ImageFolderClusterer, default=None
        Model to keep in the folder, for `add_images`. Any object with a method
        ``save(path)`` works. A model that cannot be saved without code is not kept.
    request : mapping, default=None
        Parameters that identify this export, as JSON values. An interrupted export with
        equal ones is resumed. None compares the planned paths instead.
    dry_run : bool, default=False
        If True, only check and return what would be done.

    Returns
    -------
    list of ExportedImage, of length n
        The images as they were, or would be, exported. An image that was deleted during the
        export has label -1.

    Raises
    ------
    OutputFolderError
        If the folder is not empty, or images or disk space are missing; nothing is written
        then. Also if the export stops midway, for example because the disk is full: then
        every image is complete at its old or new path.
    ClusterNameError
        If a name is not valid for a folder.
    ValueError
        If the action is unknown, or there are more or fewer labels than images.

    Notes
    -----
    ``sklearn.datasets.load_files`` and ``torchvision.datasets.ImageFolder`` read the folder
    as a labelled data set, in which ``noise`` and ``_set_aside`` are labels like any other.
    Hugging Face's ``imagefolder`` takes folders and files with words like "train" and "test"
    in their names for splits, and then skips all others. This reads every image, whatever its
    name::

        load_dataset("imagefolder", data_dir="clusters", data_files="**", split="train",
                     drop_labels=False)
    """
    folder = Path(output_folder)
    if action not in ACTIONS or len(image_paths) != len(labels):
        raise ValueError(
            f"Expected an action from {ACTIONS} and as many labels as paths, got {action!r} with "
            f"{len(labels)} labels for {len(image_paths)} paths. Nothing was written. Correct the "
            "action, or pass one label per path."
        )
    plan, folders = plan_export(image_paths, labels, distances, reasons, n_clusters, names)
    asked = {"command": "export", "action": action, **(request or {})}
    if os.path.exists(folder / JOURNAL) and not dry_run:
        # Cluster, name and paths; distances may differ in the last digit on another machine.
        is_same_plan = [i[:4] for i in read_journal(folder).images] == [i[:4] for i in plan]
        done = resume(folder, asked if request or is_same_plan else {})
        if done is not None:
            return done
    check_output_folder(folder)
    check_images(plan, folder, action)
    if dry_run:
        return plan
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with lock(folder):
        check_output_folder(folder)  # again: another process may have started meanwhile
        with explain_disk_errors(folder):
            name = keep_model(folder, model)
            journal = _new_journal(plan, folders, action, asked, name)
            write_journal(folder, journal)
            return carry_out(folder, journal).images


def _new_journal(
    plan: list[ExportedImage],
    folders: list[str],
    action: str,
    request: Mapping[str, Any],
    model: str | None,
) -> Journal:
    placed = [image for image in plan if image.exported_path]
    contents = dict(zip(placed, contents_of([image.source_path for image in placed])))
    return Journal(
        id=secrets.token_hex(8),
        action=action,
        command="export",
        finished=False,
        request=dict(request),
        folders=folders,
        centers=list(range(len(folders))),
        far=far_distance(plan),
        model=model,
        staged=False,
        strays=[],
        records=[
            Record(i, action, i.exported_path, contents.get(i), "" if i.exported_path else None)
            for i in plan
        ],
    )


def keep_model(folder: Path, model: Any, number: int = 1) -> str | None:
    """Save a fitted model in the folder; return its file name, or None if it was not saved."""
    if model is None:
        return None
    name = f"{HIDDEN_PREFIX}{number}.safetensors"
    # `save` may take any path, but only a rename within the folder is atomic.
    with tempfile.TemporaryDirectory() as own:
        try:
            model.save(Path(own, name))
        except ModelFileError:  # a custom step, which only pickle could save
            return None
        write_atomically(folder / name, Path(own, name).read_bytes())
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
        All images of the export.

    Raises
    ------
    OutputFolderError
        If the disk is full, for example; every image is then complete at its old or new path,
        and this function can be called again. Also if `undo_export` was interrupted, which
        only `undo_export` can finish.
    """
    folder = Path(output_folder)
    with lock(folder):
        journal = read_journal(folder)
        if journal.command == "undo":
            require_finished(folder, journal)
        with explain_disk_errors(folder):
            return journal.images if journal.finished else carry_out(folder, journal).images


def resume(
    output_folder: str | os.PathLike[str], request: Mapping[str, Any]
) -> list[ExportedImage] | None:
    """Finish an interrupted command if it equals the requested one.

    Parameters
    ----------
    output_folder : str or path-like
        The folder of an export, which may not exist yet.
    request : mapping
        Parameters of the requested command. The value of ``"then"`` is not compared.

    Returns
    -------
    list of ExportedImage or None
        All images of the export, or None if nothing was interrupted.

    Raises
    ------
    OutputFolderError
        If another command was interrupted. The message says how to finish or undo it.
    """
    journal = unfinished_journal(output_folder)
    if journal is None:
        return None
    if not matches_request(journal, request):
        require_finished(Path(output_folder), journal)
    return finish_export(output_folder)
