"""Measure how long the commands on an export take, without the network.

    python examples/benchmarks/exports.py 20000

Small files are moved into 100 folders, which keep features of them, corrected, taken back and
repeated. Times are of one run each, with the size of what the export keeps and the peak of
memory of the process; compare two versions in turns on one machine.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import MiniBatchKMeans

from resnet_kmeans import (
    ImageFolderClusterer,
    apply_curation,
    confirm_images,
    export_log,
    redo_export,
    rename_cluster,
    split_cluster,
    undo_export,
)

N_FOLDERS = 100


class Numbers(TransformerMixin, BaseEstimator):
    """Features of a file by the number in its name."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        numbers = np.array([int(Path(path).stem) for path in X])
        random = np.random.default_rng(0)
        centers = random.gamma(1, size=(N_FOLDERS, 256))
        return centers[numbers % N_FOLDERS] + random.gamma(1, size=(len(X), 256))


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
        kmeans = MiniBatchKMeans(n_init=1, random_state=0)
        model = ImageFolderClusterer(N_FOLDERS, featurizer=Numbers(), clusterer=kmeans)
        model.set_params(reducer=None, random_state=0).fit(paths)
        first = f"cluster_{model.labels_[0]:02}"
        merged = {f"cluster_{label:02}": "all" for label in range(N_FOLDERS)}
        one = {"moves": {f"{first}/{paths[0].name}": "new"}}
        for name, work in {
            "export by moving": lambda: model.export(out, action="move"),
            "apply: one image": lambda: apply_curation(out, one),
            "undo of that": lambda: undo_export(out),
            "confirm a folder": lambda: confirm_images(out, [first]),
            "split a folder": lambda: split_cluster(out, first),
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
            if name == "export by moving":
                kept = sum(file.stat().st_size for file in out.glob(".*.safetensors"))
                print(f"{'features kept':28} {kept / 1e6:7.2f} MB")
    print(f"peak of memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
