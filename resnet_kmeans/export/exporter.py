"""Writes one folder a cluster, losing nothing."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnet_kmeans.exceptions import ModelFileError
from resnet_kmeans.export.actions import ACTIONS, write_whole
from resnet_kmeans.export.content import contents_of
from resnet_kmeans.export.execution import carry_out, explain_disk_errors
from resnet_kmeans.export.journal import (
    Journal,
    Record,
    far_distance,
    lock,
    read_journal,
    write_journal,
)
from resnet_kmeans.export.plan import (
    JOURNAL,
    OURS,
    ExportedImage,
    check_images,
    check_output_folder,
    plan_export,
)
from resnet_kmeans.export.state import matches_request, require_finished

# The journal holds the whole plan before the first file is touched, so that whatever stops
# an export, a second run finishes it and `undo_export` takes it back.


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
    """Write images to one folder a cluster, losing nothing.

    Folders are ``cluster_0``, ``cluster_1``, …, padded to equal width, or `names`. Of equal
    names in a cluster the first image keeps its own, the next become ``name_2.jpg``,
    ``name_3.jpg``. Times of files are kept. All is checked before anything is written; then
    ``clusters.csv`` lists every image. Where the same export to this folder was interrupted,
    it is finished.

    Parameters
    ----------
    image_paths : sequence of path-like, of length n
        The images.
    labels : sequence of int, of length n
        -1 is an unreadable image: listed, not exported. -2 is noise: in a folder ``noise``.
    output_folder : str or path-like
        Not there yet, or empty.
    action : {"copy", "hardlink", "symlink", "move"}, default="copy"
    distances : sequence of float, of length n, default=None
        Distance of each image to its centre, for the table.
    reasons : mapping of str to str, default=None
        Why images are unreadable, for the table.
    n_clusters : int, default=None
        Number of clusters that the width of folder names is for; None takes the highest
        label.
    names : sequence of str, or mapping of int to str, default=None
        The folder of each label; equal names are one folder, which merges clusters.
    model : fitted ImageFolderClusterer, default=None
        Kept in the folder, for `add_images`; whatever has ``save(path)``. One that cannot be
        saved without code is not kept.
    request : mapping, default=None
        What JSON can hold. An interrupted export is gone on with where this is the same;
        None compares what is planned.
    dry_run : bool, default=False
        Whether only to check and to return what would be done.

    Returns
    -------
    list of ExportedImage, of length n
        What was, or would be, done. An image that vanishes meanwhile becomes cluster -1.

    Raises
    ------
    OutputFolderError
        If the folder is not empty, or an image or the space for it is not there; nothing
        is written then. Or if the export is stopped midway, by a full disk for example:
        every image is then whole where it was or where it went.
    ClusterNameError
        If a name cannot be that of a folder.
    """
    folder = Path(output_folder)
    if action not in ACTIONS or len(image_paths) != len(labels):
        raise ValueError(
            f"Expected an action of {ACTIONS} and as many labels as paths, got {action!r} with "
            f"{len(labels)} labels for {len(image_paths)} paths. Nothing was written."
        )
    plan, folders = plan_export(image_paths, labels, distances, reasons, n_clusters, names)
    asked = {"command": "export", "action": action, **(request or {})}
    if os.path.exists(folder / JOURNAL) and not dry_run:
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
        check_output_folder(folder)  # another process may have begun meanwhile
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
    """Write a fitted model into the folder; return the name of its file, None without one."""
    if model is None:
        return None
    name = f"{OURS}{number}.safetensors"
    with tempfile.TemporaryDirectory() as own:
        try:
            model.save(Path(own, name))
        except ModelFileError:  # a step of the user's own
            return None
        write_whole(folder / name, Path(own, name).read_bytes())
    return name


def finish_export(output_folder: str | os.PathLike[str]) -> list[ExportedImage]:
    """Do what is left of an interrupted command; wherever that stops, it can be called again.

    Parameters
    ----------
    output_folder : str or path-like
        The folder of the export that a command on it left unfinished.

    Returns
    -------
    list of ExportedImage
        All images of the export.

    Raises
    ------
    OutputFolderError
        If the disk is full, say; every image is then whole where it was or where it went. Or
        if it is `undo_export` that was interrupted, which alone ends that.
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
    """Finish an interrupted command where it is the one that is asked for now.

    Parameters
    ----------
    output_folder : str or path-like
        Of an export, or not there.
    request : mapping
        What is asked for; what it says under ``"then"`` may differ.

    Returns
    -------
    list of ExportedImage or None
        All images of the export; None where nothing was interrupted.

    Raises
    ------
    OutputFolderError
        If it was another command, which is named with what ends it.
    """
    folder = Path(output_folder)
    if not os.path.exists(folder / JOURNAL) or (journal := read_journal(folder)).finished:
        return None
    if not matches_request(journal, request):
        require_finished(folder, journal)
    return finish_export(folder)


def interrupted_request(output_folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what an interrupted command was asked for, None where none was interrupted."""
    folder = Path(output_folder)
    if not os.path.exists(folder / JOURNAL) or (journal := read_journal(folder)).finished:
        return None
    return {"action": journal.action, **journal.request, "is": journal.command}
