"""The command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; Ctrl-C may come while the libraries are still being imported."""
    try:
        from resnet_kmeans.cli.parser import main as run

        return run(argv)
    except KeyboardInterrupt:
        print("resnet-kmeans: stopped; nothing was done yet.", file=sys.stderr)
        return 130
