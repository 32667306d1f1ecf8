"""Writes clusters.csv, one row per image."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from resnet_kmeans._files import replacing
from resnet_kmeans._folder_names import TABLE
from resnet_kmeans.clustering import DOUBTFUL

CONFIRMED = "confirmed"
FORMULA = {*"=+-@\t\r\n"}  # how a text begins that a spreadsheet would run


class ExportedImage(NamedTuple):
    """One row of ``clusters.csv``.

    Attributes
    ----------
    cluster : int
        The label. -1 for noise, -3 for an image that could not be read or was set aside.
    name : str
        The name of the cluster and of its folder; empty for an unreadable image.
    exported_path : str or None
        Path relative to the output folder, with ``/``; None for an image that could not be
        read.
    source_path : str
        Absolute path of the original.
    distance : float or None
        How unusual the image is for its folder, if known: the Mahalanobis distance to the mean
        of the folder, or the distance that was given to `export_clusters`.
    reason : str
        Why the image could not be read or was set aside, that no folder claims it (see
        `add_images`), or that it was confirmed;
        otherwise empty.
    doubt : float or None
        Probability that the image belongs to another folder, by what the folders contain now; 0
        if it was confirmed. None without the features of the image.
    suggestion : str
        The most probable other folder.
    """

    cluster: int
    name: str
    exported_path: str | None
    source_path: str
    distance: float | None = None
    reason: str = ""
    doubt: float | None = None
    suggestion: str = ""

    @property
    def is_confirmed(self) -> bool:
        """Whether a person said that the image belongs to its folder."""
        return self.reason == CONFIRMED

    @property
    def is_doubtful(self) -> bool:
        """Whether the image is likelier to belong to another folder."""
        return (self.doubt or 0) > DOUBTFUL


def write_table(folder: Path, images: Iterable[ExportedImage]) -> None:
    """Write the table of an export to its folder."""
    # File names may contain bytes that are not valid UTF-8.
    with (
        replacing(folder / TABLE) as part,
        open(part, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        rows = [ExportedImage._fields, *images]
        csv.writer(file).writerows([_without_formula(cell) for cell in row] for row in rows)


def _without_formula(cell: Any) -> Any:
    """Put an apostrophe in front of a text that a spreadsheet would run as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in FORMULA else cell
