"""The command line."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments; None uses those of the process.

    Returns
    -------
    int
        0 on success, 2 after an error, 130 after Ctrl-C, 141 if a pipe was closed by its reader.
    """
    # Imported here to catch Ctrl-C during the seconds that the import takes.
    try:
        from resnet_kmeans.cli.running import main as run

        return run(argv)
    except KeyboardInterrupt:
        print("resnet-kmeans: stopped. Nothing was done yet.", file=sys.stderr)
        return 130
