"""Writes the page that shows and corrects an export."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.exceptions import OutputFolderError, printable
from resnet_kmeans.export import REPORT, ExportedImage, read_export
from resnet_kmeans.report import (
    SET_ASIDE,
    SET_ASIDE_NAME,
    read_facts,
    read_features,
    write_report,
)


def report(args: argparse.Namespace) -> None:
    """Write the page that shows the clusters of an export as its folder is now."""
    output = Path(args.output)
    page = output / REPORT
    if page.exists() and not args.force:  # the one that `cluster --report` wrote knows more
        raise OutputFolderError(
            f"Expected no report yet, got {printable(page)}. Nothing was written. Open it, or "
            "replace it with --force. One that `cluster --report` wrote has a map and "
            "silhouettes too; the new one will not."
        )
    write_page(read_export(output).images, output)


def write_page(
    rows: list[ExportedImage], output: Path, model: ImageFolderClusterer | None = None
) -> None:
    """Write the page of the images of an export, and say where it is.

    Parameters
    ----------
    rows : list of ExportedImage
    output : Path
        The folder of the export.
    model : ImageFolderClusterer, default=None
        What clustered them, for the map and the silhouettes.
    """
    images = [output / row.exported_path if row.exported_path else row.source_path for row in rows]
    labels = np.array([_label(row) for row in rows])
    known: dict[str, Any] = {}
    if model is not None:
        known["features"] = read_features(model.pipeline_, images, labels)
        known["facts"] = read_facts(model)
    page = write_report(
        labels,
        output / REPORT,
        images=images,
        distances=[np.nan if row.distance is None else row.distance for row in rows],
        reasons={row.source_path: row.reason for row in rows if row.reason},
        names={_label(row): _folder(row) for row in rows if row.exported_path},
        **known,
    )
    print(f"Report: {printable(page)}")


def _folder(row: ExportedImage) -> str:
    return (row.exported_path or "").rpartition("/")[0].split("/")[0]


def _label(row: ExportedImage) -> int:
    return SET_ASIDE if _folder(row) == SET_ASIDE_NAME else row.cluster
