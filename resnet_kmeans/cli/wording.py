"""Words that several commands print."""

from __future__ import annotations

import argparse
import sys


def count(n: int, noun: str, verb: str = "") -> str:
    """Return a number with its noun, "1 image" or "2 images", and "is" or "are" if asked for.

    Parameters
    ----------
    n : int
    noun : str
        In the singular; its plural ends in "s".
    verb : {"", "is", "was"}, default=""
        In the singular.
    """
    if n == 1:
        return f"1 {noun} {verb}".rstrip()
    plural = {"": "", "is": "are", "was": "were"}[verb]
    return f"{n} {noun}s {plural}".rstrip()


def announce(args: argparse.Namespace, sentence: str) -> None:
    """Print what is about to be done to stderr, unless ``--quiet`` is given."""
    # A progress bar appears only after the libraries and the network are loaded, which takes
    # seconds, and only on a terminal.
    if not args.quiet:
        print(f"{sentence} …", file=sys.stderr)
