"""The commands on the folder of an export."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans.exceptions import OutputFolderError, list_reasons, printable
from resnet_kmeans.export import REPORT, ExportedImage, finish_export, is_unfinished, undo_export
from resnet_kmeans.report import write_report


def report(args: argparse.Namespace) -> None:
    """Write the page that shows the clusters of an export, from what it exported alone."""
    output = Path(args.output)
    page = output / REPORT
    if page.exists():  # the one that `cluster --report` wrote knows more
        raise OutputFolderError(
            f"Expected no report yet, got {printable(page)}. Nothing was written. Open it, or "
            "move it away first."
        )
    rows = finish_export(output)
    write_page([row.cluster for row in rows], rows, output)


def undo(args: argparse.Namespace) -> None:
    """Bring moved images back."""
    print(f"{len(undo_export(args.output))} images are back where they were")


def finish_interrupted(args: argparse.Namespace) -> bool:
    output = Path(args.output)
    if args.dry_run or not is_unfinished(output):
        return False
    print(f"Finishing the interrupted export to {printable(output)}, as it was planned.")
    print_clusters(finish_export(output), output)
    return True


def write_page(clustering: Any, rows: list[ExportedImage], output: Path) -> None:
    images = [output / row.exported_path if row.exported_path else row.source_path for row in rows]
    distances = [np.nan if row.distance is None else row.distance for row in rows]
    reasons = {row.source_path: row.reason for row in rows if row.reason}
    page = output / REPORT
    write_report(clustering, page, images=images, distances=distances, reasons=reasons)
    print(f"Report: {printable(page)}")


def print_clusters(rows: list[ExportedImage], output: Path, dry_run: bool = False) -> None:
    reasons = {row.source_path: row.reason for row in rows if not row.exported_path}
    if reasons:
        print(f"{len(reasons)} images could not be read:\n{list_reasons(reasons)}", file=sys.stderr)
    folders = [row.exported_path.split("/")[0] for row in rows if row.exported_path]
    for folder in sorted(set(folders)):
        print(f"{folder}  {folders.count(folder)} images")
    done = "would be" if dry_run else "are"
    n_clusters = len(set(folders))
    print(f"{len(folders)} images {done} in {n_clusters} clusters in {printable(output)}")
