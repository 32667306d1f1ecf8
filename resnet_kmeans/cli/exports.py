"""The commands on the folder of an export."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnet_kmeans.cli.pages import write_page
from resnet_kmeans.cli.wording import count
from resnet_kmeans.cluster_names import NOISE_NAME, REPORT, SET_ASIDE_NAME, TABLE
from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.exceptions import list_reasons, printable
from resnet_kmeans.export import (
    JOURNAL,
    ExportedImage,
    finish_export,
    kept_model,
    read_export,
    resume,
    undo_export,
    unfinished_journal,
)

# Options that affect neither which images are exported nor where.
NO_RECIPE = ("worker", "cache", "jobs", "quiet", "report", "save_model", "dry_run", "output")
LISTED = 10  # files that a message names; it only counts the others


def undo(args: argparse.Namespace) -> None:
    """Return the images of an export to where they came from."""
    back = undo_export(args.output)
    if back:
        print(f"{count(len(back), 'image', 'was')} moved back")
    else:
        print("There was no image to move back; unedited copies and links were removed")


def finish(args: argparse.Namespace) -> None:
    """Finish an interrupted command on the folder of an export."""
    output = Path(args.output)
    journal = unfinished_journal(output)
    if journal is None:
        n_images = sum(row.exported_path is not None for row in read_export(output).images)
        holds = f"{printable(output)}, which holds {count(n_images, 'image')}"
        print(f"Nothing was interrupted in {holds}.")
    elif journal.command == "undo":
        undo(args)
    else:
        finish_follow_up(output, finish_export(output), journal.request.get("then") or {})


def request_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters of a command that determine its result, and what it does afterwards."""
    follows = {"report": getattr(args, "report", False), "save_model": None}
    if getattr(args, "save_model", None):
        follows["save_model"] = os.path.abspath(args.save_model)
    rest = {name: value for name, value in vars(args).items() if name not in NO_RECIPE}
    for name in ("input", "model"):
        if name in rest:
            rest[name] = os.path.abspath(rest[name])
    return {"command": args.worker.__name__, **rest, "then": follows}


def finish_interrupted(args: argparse.Namespace) -> bool:
    """Finish an interrupted export if the same one is requested; return whether it was."""
    output = Path(args.output)
    journal = unfinished_journal(output)
    if journal is None or args.dry_run:
        return False
    rows = resume(output, args.request)
    print(f"Finished the interrupted export to {printable(output)} as planned.")
    planned = journal.request["then"].items()
    then = {name: value or args.request["then"][name] for name, value in planned}
    finish_follow_up(output, rows or [], then)
    return True


def finish_follow_up(output: Path, rows: list[ExportedImage], then: dict[str, Any]) -> None:
    """Write the model and the report that an interrupted command was asked for."""
    print_clusters(rows, output)
    kept, wanted = kept_model(output), then.get("save_model")
    if kept and wanted and not os.path.exists(wanted):  # else it was saved before the interruption
        ImageFolderClusterer.load(kept).save(wanted)
    if then.get("report") and not (output / REPORT).exists():
        write_page(output)


def after_interrupt(args: argparse.Namespace) -> str:
    """Return what Ctrl-C has left of an export, and what to do next."""
    output = getattr(args, "output", None)
    place = printable(output)
    if output is None or not os.path.exists(Path(output, JOURNAL)):
        return "stopped. No image was touched. Run the command again to continue."
    journal = unfinished_journal(output)
    if journal is None:
        return f"stopped. {place} is complete. To write its report: resnet-kmeans report {place}"
    back = (
        f", or undo it: resnet-kmeans undo {place}"
        if journal.request.get("action", journal.action) == "move"
        else ""
    )
    return (
        "stopped. No image was lost; each is complete at its old or new path. Run the command "
        f"again to continue, or finish it: resnet-kmeans finish {place}{back}"
    )


def print_unreadable(rows: list[ExportedImage], where: str = "") -> None:
    """Print the unreadable images to stderr; `where` says where all are listed."""
    print_reasons({row.source_path: row.reason for row in rows if not row.exported_path}, where)


def print_reasons(reasons: Mapping[str, str], where: str = "") -> None:
    """Print why images are unreadable to stderr; `where` says where all are listed."""
    if reasons:
        listed = list_reasons(reasons, LISTED, where)
        print(f"{count(len(reasons), 'image')} could not be read:\n{listed}", file=sys.stderr)


def print_clusters(rows: list[ExportedImage], output: Path, dry_run: bool = False) -> None:
    """Print the unreadable images, the size of each cluster, and the folder."""
    print_unreadable(rows, "" if dry_run else f"; all are listed in {printable(output / TABLE)}")
    folders = [row.exported_path.split("/")[0] for row in rows if row.exported_path]
    for folder in sorted(set(folders)):
        print(f"{folder}  {count(folders.count(folder), 'image')}")
    images = count(len(folders), "image", "" if dry_run else "is")
    clusters = count(len(set(folders) - {SET_ASIDE_NAME, NOISE_NAME}), "cluster")
    print(f"{images}{' would be' if dry_run else ''} in {clusters} in {printable(output)}")
