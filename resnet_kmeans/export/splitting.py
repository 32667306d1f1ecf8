"""Splits a folder of an export into several."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from resnet_kmeans.cluster_names import name_key
from resnet_kmeans.export.execution import explain_disk_errors, record_and_carry_out
from resnet_kmeans.export.exporter import keep_model
from resnet_kmeans.export.journal import Journal, lock, read_journal
from resnet_kmeans.export.move_plan import plan_moves
from resnet_kmeans.export.names import label_of
from resnet_kmeans.export.plan import ExportedImage
from resnet_kmeans.export.present_state import open_export, with_contents
from resnet_kmeans.export.survey import Survey


def split_folder(
    output_folder: str | os.PathLike[str],
    named: str,
    parts: Mapping[str, tuple[int, float]],
    *,
    model: Any,
    centers: Sequence[int],
    dry_run: bool = False,
) -> list[ExportedImage]:
    """Move the images of one folder to several new ones, and replace the kept model.

    Parameters
    ----------
    output_folder : str or path-like
    named : str
        The folder to split.
    parts : mapping of str to (int, float)
        Part (0, 1, …) and distance to the centre of the part, by present path of the image.
    model : fitted ImageFolderClusterer
        The new model of the export. Its last centres are those of the parts.
    centers : sequence of int
        Positions of the centres that remain from the previous model.
    dry_run : bool, default=False
        If True, only check and return what would be done.

    Returns
    -------
    list of ExportedImage
        All images of the export.
    """
    folder = Path(output_folder)
    with lock(folder):
        journal, found = open_export(folder, read_journal(folder))
        names = part_names(named, len({part for part, _ in parts.values()}), journal.folders)
        journal = journal._replace(folders=[*journal.folders, *names])
        planned = _plan_split(journal, found, parts, names)
        labels = [label_of(name, planned.folders, -1) for name in names]
        planned = planned._replace(centers=[journal.centers[i] for i in centers] + labels)
        if dry_run:
            return planned.images
        with explain_disk_errors(folder):
            # A new number: the model before the split must last until the split is recorded.
            number = int((journal.model or ".0.").split(".")[-2]) + 1
            planned = with_contents(planned, folder, found)
            planned = planned._replace(command="split", model=keep_model(folder, model, number))
            return record_and_carry_out(folder, planned).images


def _plan_split(
    journal: Journal, found: Survey, parts: Mapping[str, tuple[int, float]], names: Sequence[str]
) -> Journal:
    places = {i: p for i, p in enumerate(found.places) if p is not None and p in parts}
    planned = plan_moves(journal, found, {i: names[parts[p][0]] for i, p in places.items()})
    records = list(planned.records)
    for i, place in places.items():
        image = records[i].image._replace(distance=parts[place][1])
        records[i] = records[i]._replace(image=image)
    return planned._replace(records=records)


def part_names(named: str, n_parts: int, taken: Iterable[str]) -> list[str]:
    """Return free names for the parts of a folder: ``NAME_1``, ``NAME_2``, …."""
    used, number = {name_key(name) for name in taken}, 1
    names: list[str] = []
    while len(names) < n_parts:
        if name_key(name := f"{named}_{number}") not in used:
            names.append(name)
        number += 1
    return names
