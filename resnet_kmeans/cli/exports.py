"""The commands on the folder of an export."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from resnet_kmeans.exceptions import list_reasons, printable
from resnet_kmeans.export import (
    TABLE,
    ExportedImage,
    finish_export,
    is_unfinished,
    undo_export,
)

LISTED = 10  # files that a message names before it only counts


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


def print_clusters(rows: list[ExportedImage], output: Path, dry_run: bool = False) -> None:
    reasons = {row.source_path: row.reason for row in rows if not row.exported_path}
    if reasons:
        where = "" if dry_run else f"; all are listed in {printable(output / TABLE)}"
        listed = list_reasons(reasons, LISTED, where)
        print(f"{len(reasons)} images could not be read:\n{listed}", file=sys.stderr)
    folders = [row.exported_path.split("/")[0] for row in rows if row.exported_path]
    for folder in sorted(set(folders)):
        print(f"{folder}  {folders.count(folder)} images")
    done = "would be" if dry_run else "are"
    n_clusters = len(set(folders))
    print(f"{len(folders)} images {done} in {n_clusters} clusters in {printable(output)}")
