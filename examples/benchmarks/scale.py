"""Measure how time and memory grow with the number of images, all but the network's.

    python examples/benchmarks/scale.py 10000 100000 1000000 --n-clusters 100

Files without content are listed; a stand-in for the network makes 2048-wide features of
their names. Each size runs in a process of its own, since a process' peak of memory never
falls: the peak of a stage is that of the stages before it too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.metrics import adjusted_mutual_info_score

from resnet_kmeans import ImageFolderClusterer, export_clusters, find_images
from resnet_kmeans.clustering.recipe import new_clusterer

N_FEATURES = 2048
N_GROUPS = 50
FILES_IN_FOLDER = 1_000
STAGES = ("list", "features, reduce", "cluster", "predict", "plan the export")


class StandIn(TransformerMixin, BaseEstimator):
    """Make clustered features of the names of files, always the same ones for a name."""

    n_features_out_ = N_FEATURES

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        random = np.random.default_rng(0)
        groups = random.gamma(0.5, size=(N_GROUPS, N_FEATURES)).astype(np.float32)
        # A row is its group and two of these, so that a million of them differ.
        noise = random.gamma(0.5, size=(2, 1024, N_FEATURES)).astype(np.float32)
        hashes = np.array([hash_of(path) for path in X])
        rows = np.empty((len(X), N_FEATURES), dtype=np.float32)
        for start in range(0, len(X), 1024):
            part = hashes[start : start + 1024]
            block = rows[start : start + 1024]
            np.take(groups, part % N_GROUPS, axis=0, out=block)
            block += noise[0, (part >> 8) % 1024]
            block += noise[1, (part >> 18) % 1024]
        return rows


def new_marked(n_clusters: int, n_images: int, mark):
    """Return what `ImageFolderClusterer` would cluster with, made to mark where it begins."""
    usual = new_clusterer(None, n_clusters, n_images, 0)

    class Marked(type(usual)):
        def fit(self, X, y=None, sample_weight=None):
            mark()
            return super().fit(X)

    return Marked(**usual.get_params())


def hash_of(path: Path) -> int:
    return zlib.crc32(path.name.encode())


def peak_mib() -> float:
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def make_files(folder: Path, n_images: int) -> None:
    for number in range(n_images):
        inner = folder / f"album {number // FILES_IN_FOLDER}"
        if number % FILES_IN_FOLDER == 0:
            inner.mkdir(parents=True)
        (inner / f"photo {number}.jpg").touch()


def measure(n_images: int, n_clusters: int) -> dict:
    """Run all stages on so many images; return (seconds, peak in MiB) of each."""
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder, "in"), n_images)
        marks = [(time.perf_counter(), peak_mib())]

        def mark():
            marks.append((time.perf_counter(), peak_mib()))

        paths = find_images(Path(folder, "in"))
        mark()
        clusterer = new_marked(n_clusters, n_images, mark)
        model = ImageFolderClusterer(
            n_clusters, featurizer=StandIn(), clusterer=clusterer, random_state=0
        ).fit(paths)
        mark()
        labels = model.predict(paths)
        mark()
        plan = export_clusters(
            paths, labels, Path(folder, "out"), distances=model.distances_, dry_run=True
        )
        mark()
    assert len(plan) == n_images
    assert np.array_equal(labels, model.labels_)
    groups = [hash_of(path) % N_GROUPS for path in paths[:10_000]]
    spent = [(after[0] - before[0], after[1]) for before, after in pairwise(marks)]
    return {
        "stages": dict(zip(STAGES, spent)),
        "start": marks[0][1],
        "ami": adjusted_mutual_info_score(groups, labels[:10_000]),
    }


def report(n_images: int, found: dict, before: tuple[int, float] | None) -> float:
    """Print the table of one size, and the growth of time over that of proportion."""
    print(f"\n{n_images:,} images (AMI {found['ami']:.3f}; peak before: {found['start']:.0f} MiB)")
    print(f"  {'stage':<18}{'seconds':>9}{'us/image':>10}{'peak MiB':>10}")
    for stage, (seconds, peak) in found["stages"].items():
        print(f"  {stage:<18}{seconds:>9.1f}{1e6 * seconds / n_images:>10.0f}{peak:>10.0f}")
    total = sum(seconds for seconds, _ in found["stages"].values())
    growth = ""
    if before is not None:
        ratio = (total / before[1]) / (n_images / before[0])
        growth = f"   {ratio:.2f} x proportional to {before[0]:,}"
    print(f"  {'all':<18}{total:>9.1f}{1e6 * total / n_images:>10.0f}{growth}", flush=True)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n_images", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("-k", "--n-clusters", type=int, default=100)
    parser.add_argument("--as-json", action="store_true", help="one size, in this process")
    args = parser.parse_args()
    if args.as_json:
        print(json.dumps(measure(args.n_images[0], args.n_clusters)))
        return
    before = None
    for n_images in args.n_images:
        command = [sys.executable, __file__, str(n_images), "--as-json"]
        command += ["--n-clusters", str(args.n_clusters)]
        run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        before = n_images, report(n_images, json.loads(run.stdout), before)


if __name__ == "__main__":
    main()
