"""Measure how long the commands on an export take, without the network.

    python examples/benchmarks/exports.py 20000

Small files are moved into 100 folders, corrected, taken back and repeated. Times are of one run
each, with the peak of memory of the process; compare two versions in turns on one machine.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from resnet_kmeans import (
    apply_curation,
    export_clusters,
    export_log,
    redo_export,
    rename_cluster,
    undo_export,
)

N_FOLDERS = 100


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n_images", type=int, nargs="?", default=20_000)
    n = parser.parse_args().n_images
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "in"), Path(folder, "out")
        source.mkdir()
        paths = [source / f"{i:07}.jpg" for i in range(n)]
        for i, path in enumerate(paths):
            path.write_bytes(b"%08d" % i * 20)
        labels = [i % N_FOLDERS for i in range(n)]
        merged = {f"cluster_{label:02}": "all" for label in range(N_FOLDERS)}
        one = {"moves": {f"cluster_00/{paths[0].name}": "new"}}
        for name, work in {
            "export by moving": lambda: export_clusters(paths, labels, out, action="move"),
            "apply: one image": lambda: apply_curation(out, one),
            "undo of that": lambda: undo_export(out),
            "apply: all folders merged": lambda: apply_curation(out, {"names": merged}),
            "rename of all images": lambda: rename_cluster(out, "all", "everything"),
            "undo of that ": lambda: undo_export(out),
            "redo of that": lambda: redo_export(out),
            "log": lambda: export_log(out),
            "undo of all": lambda: undo_export(out, all_steps=True),
        }.items():
            start = time.perf_counter()
            work()
            print(f"{name:28} {time.perf_counter() - start:7.2f} s", flush=True)
    print(f"peak of memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
