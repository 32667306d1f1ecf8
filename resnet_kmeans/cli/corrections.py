"""The commands that correct an export or add to it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from resnet_kmeans.cli.exports import print_clusters, print_unreadable
from resnet_kmeans.cli.options import run_params
from resnet_kmeans.cli.wording import announce, count
from resnet_kmeans.cluster_names import SET_ASIDE_NAME
from resnet_kmeans.exceptions import printable
from resnet_kmeans.export import (
    POOR_FIT,
    ExportedImage,
    apply_curation,
    is_unfinished,
    read_export,
    rename_folder,
)
from resnet_kmeans.images import require_images
from resnet_kmeans.kept_models import add_images, split_cluster

SHOWN = 20  # moves that a dry run prints; it only counts the others


def apply(args: argparse.Namespace) -> None:
    """Apply the corrections saved by the report."""
    _correct(args, lambda: apply_curation(args.output, args.curation, dry_run=args.dry_run))


def rename(args: argparse.Namespace) -> None:
    """Rename a cluster, or merge it with the cluster of that name."""
    named, dry_run = _folder(args), args.dry_run
    _correct(args, lambda: rename_folder(args.output, named, args.name, dry_run=dry_run))


def split(args: argparse.Namespace) -> None:
    """Split a cluster by clustering its images."""
    given, k = run_params(args), args.n_clusters
    named, dry_run = _folder(args), args.dry_run
    announce(args, f"Splitting {printable(named)} into {count(k, 'cluster')}")
    _correct(args, lambda: split_cluster(args.output, named, k, dry_run=dry_run, **given))


def _folder(args: argparse.Namespace) -> str:
    """Return the cluster as named, also where a shell completed it to a path."""
    path = Path(args.cluster)
    is_inside = path.is_dir() and path.resolve().parent == Path(args.output).resolve()
    return path.name if is_inside else str(args.cluster).rstrip("/")


def add(args: argparse.Namespace) -> None:
    """Add new images to the clusters of an export."""
    output = Path(args.output)
    is_resumed = is_unfinished(output)
    announce(args, f"Adding the images of {printable(args.input)}")
    rows = add_images(
        output,
        args.input,
        action=args.action,
        set_aside=args.set_aside,
        dry_run=args.dry_run,
        **run_params(args),
    )
    print_unreadable(rows)
    placed = [row for row in rows if row.exported_path]
    for folder in sorted({row.name for row in placed}):
        print(f"{folder}  +{count(sum(row.name == folder for row in placed), 'image')}")
    n_far = sum(row.reason == POOR_FIT for row in placed)
    if n_far:
        aside = f"; see {SET_ASIDE_NAME}" if args.set_aside else ""
        fit = "fits" if n_far == 1 else "fit"
        print(f"{count(n_far, 'image')} {fit} badly: {POOR_FIT}{aside}")
    if not is_resumed and args.action != "move":
        n_skipped = len(require_images(args.input)) - len(rows)
        if n_skipped:
            skipped = count(n_skipped, "image", "was")
            print(f"{skipped} skipped: already in the export")
    done = "would be added" if args.dry_run else "added"
    print(f"{count(len(placed), 'image')} {done} to {printable(output)}")


def _correct(args: argparse.Namespace, work: Callable[[], list[ExportedImage]]) -> None:
    """Run a correction and print what it changes, or would change."""
    output = Path(args.output)
    state = None if is_unfinished(output) else read_export(output)
    places = {row.source_path: row.exported_path for row in state.images} if state else {}
    rows = [row for row in work() if row.exported_path]
    if state and state.missing:
        rows = [row for row in rows if row.source_path in places]
        n_missing = count(len(state.missing), "image", "is")
        print(f"{n_missing} missing from the folder; the report lists them", file=sys.stderr)
    changed = [row for row in rows if places and places.get(row.source_path) != row.exported_path]
    if args.dry_run:
        for row in changed[:SHOWN]:
            print(printable(f"{places.get(row.source_path)} -> {row.exported_path}"))
        if len(changed) > SHOWN:
            print(f"and {len(changed) - SHOWN} more")
    print_clusters(rows, output, args.dry_run)
    if places:
        moved = "would be moved" if args.dry_run else "moved"
        print(f"{count(len(changed), 'image')} {moved} to another folder")
