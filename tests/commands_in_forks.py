"""Runs commands on exports in forks of one process, each killed at its n-th change of the disk.

A process of its own, since a fork of one with TensorFlow's or OpenMP's threads may hang. It
reads one job a line: the number of the change to be killed at (0 for none), the name of a
function or ``main``, its arguments, and a file for what it prints. It answers with the exit
status of the fork.
"""

import json
import os
import signal
import sys

import joblib
import numpy as np
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin

from resnet_kmeans import ImageFolderClusterer
from resnet_kmeans.cli import clusters, main
from resnet_kmeans.exceptions import ResNetKMeansError
from resnet_kmeans.export import (
    apply_curation,
    export_clusters,
    finish_export,
    rename_folder,
    undo_export,
)
from resnet_kmeans.kept_models import add_images, split_cluster

CHANGES = {
    *("os.rename", "os.remove", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.utime"),
    *("os.chmod", "shutil.copyfile"),
}


class MeanColour(TransformerMixin, BaseEstimator):
    """Stands in for a network: the mean colour of each image, NaN where it cannot be read."""

    weights = backbone = "mean colour"  # which the command names

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.array([mean_colour(path) for path in X], dtype=np.float32).reshape(-1, 3)


def mean_colour(path):
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"), dtype=np.float32).mean(axis=(0, 1))
    except OSError:
        return [np.nan] * 3


def save(clusterer, path):
    joblib.dump(clusterer, path)


def load(path, **_):
    return joblib.load(path)


def fitted(images, n_clusters=2):
    clusterer = ImageFolderClusterer(
        n_clusters, featurizer=MeanColour(), reducer=None, random_state=0
    )
    return clusterer.fit(sorted(map(str, images)))


def cluster(images, folder, action="copy", n_clusters=2):
    model = fitted(images, n_clusters)
    export_clusters(
        model.image_paths_,
        model.labels_,
        folder,
        action=action,
        distances=model.distances_,
        model=model,
    )


WORK = {
    "cluster": cluster,
    "add": add_images,
    "apply": apply_curation,
    "rename": rename_folder,
    "split": split_cluster,
    "finish": finish_export,
    "undo": undo_export,
    "main": lambda *argv: sys.exit(main(argv)),
}


def use_stand_in():
    """Save models with the stand-in for the network, and have the command use it."""
    ImageFolderClusterer.save = save
    ImageFolderClusterer.load = staticmethod(load)
    clusters._featurizer = lambda args: MeanColour()


def run(n, name, arguments, printed):
    """Do one job, to be killed at the n-th change of the disk."""
    seen = 0

    def count(event, args):
        nonlocal seen
        writes = event == "open" and isinstance(args[2], int) and args[2] & os.O_ACCMODE
        own = writes and isinstance(args[0], str) and "/joblib" in args[0]
        if (event in CHANGES or writes) and not own:
            seen += 1
            if seen == n:
                os.kill(os.getpid(), signal.SIGKILL)

    output = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.addaudithook(count)
    try:
        WORK[name](*arguments)
    except ResNetKMeansError as error:
        print(error)
        raise SystemExit(2) from None


def serve():
    use_stand_in()
    for line in sys.stdin:
        if not (child := os.fork()):
            status = 1
            try:
                run(*json.loads(line))
                status = 0
            except SystemExit as stop:
                status = stop.code
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
