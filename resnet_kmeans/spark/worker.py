"""Computes the features and labels of batches in Spark's Python workers."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from resnet_kmeans._folder_names import UNREADABLE
from resnet_kmeans.clustering import features_of, own_distances, predict
from resnet_kmeans.exceptions import UnreadableImagesWarning
from resnet_kmeans.featurizer import ResNetFeaturizer
from resnet_kmeans.network import has_gpu

# Columns that `Featurize`, `reduce_batches` and `assign_batches` yield.
FEATURES = "path string, features array<float>, reason string"
REDUCED = "reduced array<float>"
ASSIGNED = "path string, cluster int, distance float, reason string"

Batches = Iterator[Any]  # of pyarrow.RecordBatch


def ship(spark: Any, featurizer: ResNetFeaturizer) -> Featurize:
    """Send the network to the workers; return the function with which they run it."""
    weights, compiled = featurizer.network_files()
    prefix = featurizer.fingerprint_[:16]
    spec = featurizer.network_spec()  # a preset knows its shape on this machine alone
    known = {"input_shape": spec.input_shape, "preprocess": spec.preprocess}
    shipped = clone(featurizer).set_params(**known)
    shipped.fingerprint_ = featurizer.fingerprint_
    return Featurize(shipped, _send(spark, weights, prefix), _send(spark, compiled, prefix))


def _send(spark: Any, source: Path | None, prefix: str) -> str | None:
    """Add a file to Spark and return its name in `SparkFiles` on the workers."""
    if source is None:
        return None
    from pyspark import SparkFiles

    # Prefixed by the fingerprint of the network, because Spark refuses two files with one name.
    name = f"{prefix}-{source.name}"
    context = spark.sparkContext
    if not any(file.endswith(name) for file in context.listFiles):
        # The copy is in Spark's own folder, which is deleted when the session ends.
        folder = tempfile.mkdtemp(dir=SparkFiles.getRootDirectory())
        context.addFile(shutil.copyfile(source, Path(folder, name)).as_posix())
    return name


@dataclass(frozen=True)
class Featurize:
    """Maps batches of (path, content) to batches of `FEATURES`."""

    featurizer: ResNetFeaturizer
    weights_file: str | None
    compiled_file: str | None = None

    def __call__(self, batches: Batches) -> Batches:
        featurizer = self._local_featurizer()
        for batch in batches:
            contents = [content or b"" for content in batch.column("content").to_pylist()]
            with warnings.catch_warnings():
                # They are reported in the column `reason`.
                warnings.simplefilter("ignore", UnreadableImagesWarning)
                found = np.empty((0, 1)), dict[int, str]()
                if contents:
                    found = features_of(featurizer, contents)
            yield _features_batch(batch.column("path"), *found)

    def _local_featurizer(self) -> ResNetFeaturizer:
        """Return the featurizer with this worker's files and this task's share of cores."""
        from pyspark import SparkFiles, TaskContext

        task = TaskContext.get()
        n_cores = task.cpus() if task else 1
        os.environ["LOKY_MAX_CPU_COUNT"] = str(n_cores)  # limits joblib.cpu_count()
        changed = {"cache": None, "n_jobs": None, "verbose": 0}
        on_gpu = has_gpu() and self.weights_file is not None
        name = self.weights_file if on_gpu else self.compiled_file or self.weights_file
        if name is not None:
            changed["weights"] = SparkFiles.get(name)
        local: ResNetFeaturizer = clone(self.featurizer).set_params(**changed)
        local.fingerprint_ = self.featurizer.fingerprint_  # `transform` checks it
        return local


def _features_batch(paths: Any, rows: np.ndarray, reasons: dict[int, str]) -> Any:
    import pyarrow

    why = pyarrow.array([reasons.get(i) for i in range(len(rows))], "string")
    return pyarrow.RecordBatch.from_arrays(
        [paths.cast("string"), _lists(rows, ~np.isnan(rows).any(axis=1)), why],
        ["path", "features", "reason"],
    )


def _lists(rows: np.ndarray, valid: np.ndarray) -> Any:
    """Return rows as Arrow lists, null where they are invalid."""
    import pyarrow

    values = np.ascontiguousarray(rows[valid], dtype=np.float32)
    offsets = np.concatenate([[0], np.cumsum(valid * rows.shape[1])]).astype(np.int32)
    return pyarrow.ListArray.from_arrays(offsets, values.ravel(), mask=pyarrow.array(~valid))


def matrix(lists: Any) -> np.ndarray:
    """Return the non-null Arrow lists as an array of shape (n, d)."""
    n_rows = len(lists) - lists.null_count
    return lists.flatten().to_numpy(zero_copy_only=False).reshape(n_rows, -1)


def reduce_batches(reducer: Any, batches: Batches) -> Batches:
    """Map batches of `FEATURES` without nulls to batches of `REDUCED`."""
    import pyarrow

    for batch in batches:
        if batch.num_rows:
            rows = reducer.transform(matrix(batch.column("features")))
            lists = _lists(rows, np.ones(len(rows), dtype=bool))
            yield pyarrow.RecordBatch.from_arrays([lists], ["reduced"])


def reduced_array(row: Any) -> np.ndarray:
    """Return the reduced features of one row as an array."""
    return np.asarray(row["reduced"])


def assign_batches(reducer: Any, clusterer: Any, centers: np.ndarray, batches: Batches) -> Batches:
    """Map batches of `FEATURES` to batches of `ASSIGNED`."""
    import pyarrow

    for batch in batches:
        valid = batch.column("features").is_valid().to_numpy(zero_copy_only=False)
        labels = np.full(len(valid), UNREADABLE, dtype=np.int32)
        distances = np.full(len(valid), np.nan, dtype=np.float32)
        if valid.any():
            rows = np.asarray(reducer.transform(matrix(batch.column("features"))), np.float32)
            labels[valid] = predict(clusterer, rows)
            distances[valid] = own_distances(rows, centers, labels[valid])
        distances = pyarrow.array(distances, mask=np.isnan(distances))
        columns = [batch.column("path"), labels, distances]
        yield pyarrow.RecordBatch.from_arrays(
            [*map(pyarrow.array, columns), batch.column("reason")],
            ["path", "cluster", "distance", "reason"],
        )


def compose(
    first: Callable[..., Batches], then: Callable[..., Batches], batches: Batches
) -> Batches:
    """Run two steps in one Python worker, so that features stay there in between."""
    return then(first(batches))
