"""Prints the results and messages of commands."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from resnet_kmeans._folder_names import NOISE_NAME, SET_ASIDE_NAME, TABLE, UNREADABLE
from resnet_kmeans.exceptions import list_reasons, printable, shorten
from resnet_kmeans.export import UNCLAIMED, ExportedImage

LISTED = 10  # lines that a message lists; the rest are only counted


def count(n: int, noun: str, verb: str = "") -> str:
    """Return a number with its noun, such as "1 image" or "2 images", and perhaps a verb.

    Parameters
    ----------
    n : int
    noun : str
        The singular, whose plural ends in "s".
    verb : {"", "is", "was"}, default=""
        The singular, which becomes "are" or "were" where needed; "" adds none.
    """
    if n == 1:
        return f"1 {noun} {verb}".rstrip()
    plural = {"": "", "is": "are", "was": "were"}[verb]
    return f"{n} {noun}s {plural}".rstrip()


def announce(args: argparse.Namespace, sentence: str) -> None:
    """Print what is about to be done to stderr, unless ``--quiet`` is given."""
    # The progress bar appears only on a terminal, and only after the libraries and the network
    # are loaded, which takes seconds.
    if not args.quiet:
        print(f"{sentence} ...", file=sys.stderr)


def print_some(lines: Iterable[str], rest: str = "") -> None:
    """Print the first lines and the number of the others; `rest` says where to find them."""
    if text := shorten(lines, LISTED, rest):
        print(text)


def print_reasons(
    reasons: Mapping[str, str], where: str = "", what: str = "could not be read"
) -> None:
    """Print to stderr why images were not read; `where` says where all of them are listed."""
    if reasons:
        listed = list_reasons(reasons, LISTED, where)
        print(f"{count(len(reasons), 'image')} {what}:\n{listed}", file=sys.stderr)


def print_unreadable(rows: Iterable[ExportedImage], where: str = "") -> None:
    """Print to stderr which images were not read, or only in part, or were left out as copies."""
    told: dict[str, dict[str, str]] = {}
    for row in rows:
        if what := _what_lacks(row):
            told.setdefault(what, {})[row.source_path] = row.reason
    for what, reasons in told.items():
        print_reasons(reasons, where, what)


def _what_lacks(row: ExportedImage) -> str:
    if not row.exported_path:
        return "could not be read" if row.cluster == UNREADABLE else "left out"
    is_set_aside = row.cluster == UNREADABLE
    is_whole = is_set_aside or row.is_confirmed or row.reason in ("", UNCLAIMED)
    return "" if is_whole else "could be read only in part"


def print_sizes(rows: Iterable[ExportedImage], sign: str = "") -> Counter[str]:
    """Print the number of images in each folder, after `sign`; return these numbers."""
    sizes = Counter(row.exported_path.split("/")[0] for row in rows if row.exported_path)
    for folder in sorted(sizes):
        print(f"{printable(folder)}  {sign}{count(sizes[folder], 'image')}")
    return sizes


def print_clusters(rows: list[ExportedImage], output: Path, dry_run: bool = False) -> None:
    """Print the images that were not read, the size of each cluster, and the folder."""
    print_unreadable(rows, "" if dry_run else f"; all are listed in {printable(output / TABLE)}")
    print_totals(rows, output, dry_run)


def print_totals(rows: list[ExportedImage], output: Path, dry_run: bool = False) -> None:
    """Print the size of each cluster, and the folder."""
    sizes = print_sizes(rows)
    images = count(sizes.total(), "image", "" if dry_run else "is")
    clusters = count(len(sizes.keys() - {SET_ASIDE_NAME, NOISE_NAME}), "cluster")
    print(f"{images}{' would be' if dry_run else ''} in {clusters} in {printable(output)}")
