"""The commands that change or show an export."""

import argparse
import csv
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import resnet_kmeans  # what it contains is imported at its first use
from resnet_kmeans._folder_names import REPORT, SET_ASIDE_NAME
from resnet_kmeans.cli.clusters import run_params
from resnet_kmeans.cli.printing import (
    announce,
    count,
    print_clusters,
    print_sizes,
    print_some,
    print_totals,
    print_unreadable,
)
from resnet_kmeans.exceptions import OutputFolderError, printable
from resnet_kmeans.export import UNCLAIMED, ExportedImage
from resnet_kmeans.images import require_images


def apply(args: argparse.Namespace) -> None:
    """Apply the corrections saved by the report."""
    _correct(args, resnet_kmeans.apply_curation, args.curation)


def rename(args: argparse.Namespace) -> None:
    """Rename a cluster, or merge it with the cluster of that name."""
    _correct(args, resnet_kmeans.rename_cluster, _inside(args.output, args.cluster), args.name)


def split(args: argparse.Namespace) -> None:
    """Split a cluster into parts by clustering its images."""
    named = _inside(args.output, args.cluster)
    _correct(args, resnet_kmeans.split_cluster, named, args.n_clusters)


def confirm(args: argparse.Namespace) -> None:
    """Confirm that images, or all images of folders, are where they belong."""
    asked = [_inside(args.output, path) for path in args.paths]
    images = resnet_kmeans.exports.read_export(args.output).images
    before = {row.source_path for row in images if row.is_confirmed}
    rows = resnet_kmeans.confirm_images(args.output, asked, dry_run=args.dry_run)
    n_new = len({row.source_path for row in rows if row.is_confirmed} - before)
    n_doubtful = sum(row.is_doubtful for row in rows)
    confirmed = "would be confirmed" if args.dry_run else "confirmed"
    print(f"{count(n_new, 'image')} {confirmed}; {count(n_doubtful, 'image', 'is')} doubtful now")


def evaluate(args: argparse.Namespace) -> None:
    """Compare the folders of an export with true classes."""
    classes = None
    if args.classes:
        with open(args.classes, encoding="utf-8-sig", newline="") as file:
            classes = {row[0]: row[1] for row in csv.reader(file) if len(row) > 1}
    found = resnet_kmeans.evaluate_export(args.output, classes)
    sizes = found.counts.sum(), len(found.classes), len(found.clusters)
    print("Images: {}, classes: {}, clusters: {}".format(*sizes))
    if len(found.classes) == 1:
        print("All images are of one class: nothing to compare with. Pass --classes FILE.")
    else:
        print(f"AMI {found.ami:.3f}, ARI {found.ari:.3f}, accuracy {found.accuracy:.3f}")
    if args.plot:
        drawn = io.BytesIO()
        resnet_kmeans.display.ConfusionDisplay(found).plot().figure_.savefig(
            drawn, format=Path(args.plot).suffix[1:]
        )
        with open(args.plot, "xb") as file:  # nothing is overwritten
            file.write(drawn.getvalue())
        print(f"Confusion: {printable(args.plot)}")


def _inside(output: str, named: str) -> str:
    """Return a path in an export, even if the shell completed it from the working folder."""
    folder, name = os.path.split(os.path.abspath(named))
    path, root = Path(os.path.realpath(folder), name), Path(os.path.realpath(output))
    is_inside = os.path.lexists(path) and root in path.parents
    return path.relative_to(root).as_posix() if is_inside else Path(named).as_posix()


def _correct(
    args: argparse.Namespace, work: Callable[..., list[ExportedImage]], *asked: Any
) -> None:
    """Run a correction and print what it changes, or would change."""
    output = Path(args.output)
    state = resnet_kmeans.exports.read_export(output)
    places = {row.source_path: row.exported_path for row in state.images}
    found = work(output, *asked, dry_run=args.dry_run)
    rows = [row for row in found if row.exported_path and row.source_path in places]
    if state.missing:
        n_missing = count(len(state.missing), "image", "is")
        print(f"{n_missing} missing from the folder; the report lists them", file=sys.stderr)
    changed = [row for row in rows if places[row.source_path] != row.exported_path]
    if args.dry_run:
        print_some(f"{places[row.source_path]} -> {row.exported_path}" for row in changed)
    print_totals(rows, output, args.dry_run)
    moved = "would be moved" if args.dry_run else "moved"
    print(f"{count(len(changed), 'image')} {moved} to another folder")


def add(args: argparse.Namespace) -> None:
    """Add new images to the clusters of an export."""
    output = Path(args.output)
    announce(args, f"Adding the images of {printable(args.input)}")
    paths = require_images(args.input)
    rows = resnet_kmeans.add_images(
        output,
        paths,
        action=args.action,
        set_aside=args.set_aside,
        dry_run=args.dry_run,
        **run_params(args),
    )
    print_unreadable(rows)
    if args.dry_run:
        print_some(f"{row.source_path} -> {row.exported_path}" for row in rows if row.exported_path)
    n_placed = print_sizes(rows, "+").total()
    n_far = sum(row.reason == UNCLAIMED for row in rows)
    if n_far:
        aside = f"; see {SET_ASIDE_NAME}" if args.set_aside else ""
        print(f"{count(n_far, 'image', 'is')} claimed by no folder{aside}")
    if n_skipped := len(paths) - len(rows):
        print(f"{count(n_skipped, 'image', 'was')} skipped: already in the export")
    done = "would be added" if args.dry_run else "added"
    print(f"{count(n_placed, 'image')} {done} to {printable(output)}")


def log(args: argparse.Namespace) -> None:
    """List the steps of an export: when, what, how many images."""
    for step in resnet_kmeans.export_log(args.output):
        when = step.time[:16].replace("T", " ")
        of = f" of {', '.join(map(str, step.of))}" if step.of else ""
        state = "" if step.state == "done" else f"  ({step.state})"
        what = f"{step.command}{of}"
        print(f"{step.number:4d}  {when}  {what:16}  {count(step.n_images, 'image')}{state}")


def undo(args: argparse.Namespace) -> None:
    """Take back the last step of an export, or all of them."""
    steps = [step for step in resnet_kmeans.export_log(args.output) if not step.of]
    applied = [step.command for step in steps if step.state != "undone"]
    back = resnet_kmeans.undo_export(
        args.output, all_steps=args.all, dry_run=args.dry_run, trust=args.trust
    )
    names = ", ".join(applied[::-1] if args.all else applied[-1:]) or "undo"
    was = "were" if "," in names else "was"
    done, be = ("would be", " would be") if args.dry_run else (was, "")
    moved = count(len(back), "image", "" if args.dry_run else "was")
    print(f"{names} {done} taken back" + (f"; {moved}{be} moved back" if back else ""))
    if not os.path.exists(args.output):
        print(f"To have the export back, step by step: resnet-kmeans redo {printable(args.output)}")


def redo(args: argparse.Namespace) -> None:
    """Repeat the step of an export that was taken back last."""
    again = resnet_kmeans.redo_export(args.output, dry_run=args.dry_run, trust=args.trust)
    would = "would be " if args.dry_run else ""
    print(f"{count(len(again), 'image')} {would}exported, moved or confirmed again")


def finish(args: argparse.Namespace) -> None:
    """Finish an interrupted command on the folder of an export."""
    output = Path(args.output)
    last = resnet_kmeans.export_log(output)[-1]
    rows = resnet_kmeans.finish_export(output, trust=args.trust)
    if last.state != "interrupted":
        n_images = sum(row.exported_path is not None for row in rows)
        holds = f"{printable(output)}, which contains {count(n_images, 'image')}"
        print(f"Nothing was interrupted in {holds}.")
    elif rows:
        print_clusters(rows, output)
    else:
        print(f"{count(last.n_images, 'image')} taken back.")


def open_(args: argparse.Namespace) -> None:
    """Open an export in a browser, to see all its images and to correct it."""
    resnet_kmeans.open_export(args.output, port=args.port, browser=args.browser)


def report(args: argparse.Namespace) -> None:
    """Write a page that shows the present clusters of an export, to check and correct them."""
    output = Path(args.output)
    page = output / REPORT
    if page.exists() and not args.force:
        raise OutputFolderError(
            f"There is already a report: {printable(page)}. Nothing was written. Open it, or "
            "replace it with --force."
        )
    state = resnet_kmeans.exports.read_export(output)
    differences = resnet_kmeans.exports.describe_differences(state)
    page = resnet_kmeans.write_export_report(output)
    if differences:
        print(f"The folder was changed by hand: {count(len(differences), 'difference')}.")
        print_some(differences, "; the page lists all of them")
    print(f"Report: {printable(page)}")
