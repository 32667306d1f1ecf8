"""Does the work of `ImageFolderClusterer` on a Spark cluster (`spark` extra).

Images pass the network where Spark has put them, once for each Python worker; the reducer is
fitted on the driver, on a sample; MLlib's K-Means clusters the reduced rows. What comes
back is an ordinary `ImageFolderClusterer`. The package is to be installed on the workers.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state

from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.clustering import new_clusterer, new_fitted_kmeans, new_reducer
from resnet_kmeans.exceptions import (
    NoImagesError,
    OutputFolderError,
    TooFewImagesError,
)
from resnet_kmeans.featurizer import ResNetFeaturizer
from resnet_kmeans.images import IMAGE_EXTENSIONS
from resnet_kmeans.spark.reading import read_images, reason_where
from resnet_kmeans.spark.worker import (
    ASSIGNED,
    FEATURES,
    REDUCED,
    assign_batches,
    compose,
    matrix,
    reduce_batches,
    reduced_array,
    ship,
)

SAMPLE_ROWS = 20_000  # that the reducer is fitted on, 160 MB; spark.driver.maxResultSize is 1 GB
# Of k-means||, beside one from the centres of the sample. On a few thousand rows these are
# better (caltech101a: inertia 177 against 184), with thousands of clusters the others.
N_STARTS = 3
MAX_ITERATIONS = 100  # of a start; MLlib's own 20 end some of them too early
PARTITION_ROWS = 5_000  # reduced rows in a partition, whatever the size of the cluster


def fit(
    images: Any,
    n_clusters: int = 5,
    *,
    featurizer: ResNetFeaturizer | None = None,
    random_state: Any = None,
    features_path: str | None = None,
) -> ImageFolderClusterer:
    """Cluster images on a Spark cluster.

    The recipe is that of one machine: the reducer ``"auto"``, K-Means. The reducer is fitted
    on all rows up to 20,000, above that on about as many, drawn by the hash of their paths.
    K-Means over all rows begins three times by k-means||, once from the centres that
    `recipe.N_INIT` starts find in that sample; the best is kept. Executors that are lost,
    and how many there are, change nothing.

    Parameters
    ----------
    images : str or pyspark.sql.DataFrame
        A path that Spark reads (local, HDFS, S3, …), with its subfolders, a DataFrame with
        the columns ``path`` and ``content`` (bytes of an image file), or one that
        `extract_features` gave.
    n_clusters : int, default=5
        Number of clusters, at most as many as readable images.
    featurizer : ResNetFeaturizer, default=None
        None is ``ResNetFeaturizer()``. Its weights have to be on the driver, which ships
        them. Its cache is not used on the workers: `features_path` serves instead.
    random_state : int, RandomState instance or None, default=None
        Makes a fit repeatable, however Spark lays out the images.
    features_path : str, default=None
        New folder to keep the features in, as Parquet; None holds them in Spark's storage
        while the fit lasts.

    Returns
    -------
    ImageFolderClusterer
        Fitted, but without what is as long as the data: for labels see `assign`.

    Raises
    ------
    NoImagesError, TooFewImagesError
        If there are no images, or fewer readable ones than clusters.
    OutputFolderError
        If there is something at `features_path`.
    """
    if n_clusters < 2:
        raise ValueError(
            f"Expected n_clusters from 2 on, got {n_clusters}, which MLlib does not take. "
            "Nothing was computed. Raise n_clusters."
        )
    frame, listing = read_images(images)
    fitted = _fit_featurizer(featurizer)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    features = _features(frame, listing, fitted, features_path)
    held = features_path is None and not features.is_cached
    if held:
        features = features.persist()
    try:
        readable = features.where("reason is null")
        n_rows = _count(features, readable, n_clusters, images)
        sample = _sample(readable, n_rows, seed)
        reducer = new_reducer("auto", sample.shape, n_clusters, seed).fit(sample)
        reduced = _reduced(readable, reducer, n_rows)
        clusterer = _cluster(reduced, n_clusters, seed, reducer.transform(sample))
    finally:
        if held:
            features.unpersist()
    model = ImageFolderClusterer(n_clusters, featurizer=featurizer, random_state=random_state)
    steps = [("featurizer", fitted), ("reducer", reducer), ("clusterer", clusterer)]
    model.pipeline_ = Pipeline(steps)
    model.cluster_centers_, model.inertia_ = clusterer.cluster_centers_, clusterer.inertia_
    return model


def assign(clusterer: ImageFolderClusterer, images: Any) -> Any:
    """Put images into the clusters of a fitted model, on a Spark cluster.

    Parameters
    ----------
    clusterer : ImageFolderClusterer
        Fitted, here or on one machine.
    images : str or pyspark.sql.DataFrame
        As for `fit`.

    Returns
    -------
    pyspark.sql.DataFrame
        One row an image: ``path``; ``cluster``, the label that `predict` gives, -1 for an
        image that cannot be read; ``distance`` to the cluster's centre, null without one;
        ``reason``, null for a readable image. Nothing is computed before it is asked for.
    """
    frame, listing = read_images(images)
    featurizer, reducer, last = (step for _, step in clusterer.pipeline_.steps)
    assigned = partial(assign_batches, reducer, last, clusterer.cluster_centers_)
    if "features" in frame.columns:
        return frame.select("path", "features", "reason").mapInArrow(assigned, ASSIGNED)
    both = partial(compose, ship(frame.sparkSession, featurizer), assigned)
    rows = frame.select("path", "content").mapInArrow(both, ASSIGNED)
    if listing is None:
        return rows
    # A file that Spark passed over has no row; the listing gives it one.
    filled = "path", "coalesce(cluster, -1) cluster", "distance", reason_where("cluster is null")
    return listing.join(rows, "path", "left").selectExpr(*filled)


def extract_features(
    images: Any, featurizer: ResNetFeaturizer | None = None, features_path: str | None = None
) -> Any:
    """Return the features of images, computed on a Spark cluster.

    Parameters
    ----------
    images : str or pyspark.sql.DataFrame
        As for `fit`.
    featurizer : ResNetFeaturizer, default=None
    features_path : str, default=None
        New folder to keep them in, as Parquet; None computes them when asked for.

    Returns
    -------
    pyspark.sql.DataFrame
        One row an image: ``path``, ``features`` (array of float, null for an image that
        cannot be read), ``reason`` (null for one that can).

    Raises
    ------
    OutputFolderError
        If there is something at `features_path`.
    """
    frame, listing = read_images(images)
    return _features(frame, listing, _fit_featurizer(featurizer), features_path)


def _features(frame: Any, listing: Any, fitted: ResNetFeaturizer, features_path: str | None) -> Any:
    if "features" in frame.columns:
        return frame
    rows = frame.select("path", "content").mapInArrow(ship(frame.sparkSession, fitted), FEATURES)
    if listing is not None:
        filled = "path", "features", reason_where("features is null and reason is null")
        rows = listing.join(rows, "path", "left").selectExpr(*filled)
    return rows if features_path is None else _written(rows, features_path)


def _fit_featurizer(featurizer: ResNetFeaturizer | None) -> ResNetFeaturizer:
    new = ResNetFeaturizer() if featurizer is None else clone(featurizer)
    fitted: ResNetFeaturizer = new.set_params(unreadable="nan").fit([b""])  # X is not read
    return fitted


def _written(rows: Any, path: str) -> Any:
    from pyspark.errors import AnalysisException

    try:
        rows.write.parquet(path)
    except AnalysisException as error:
        if error.getCondition() != "PATH_ALREADY_EXISTS":
            raise
        raise OutputFolderError(
            f"Expected a new folder for the features, got {path!r}, which is there. Nothing was "
            "computed. Choose another, or pass spark.read.parquet(path) as the images."
        ) from error
    return rows.sparkSession.read.schema(FEATURES).parquet(path)


def _count(features: Any, readable: Any, n_clusters: int, images: Any) -> int:
    n_rows = int(readable.count())
    if not n_rows and features.isEmpty():
        raise NoImagesError(images, IMAGE_EXTENSIONS)
    if n_rows < n_clusters:
        raise TooFewImagesError(n_rows, n_clusters)
    return n_rows


def _sample(readable: Any, n_rows: int, seed: int) -> np.ndarray:
    """Return about `SAMPLE_ROWS` rows, the same ones however Spark has laid them out."""
    share = int(min(1.0, SAMPLE_ROWS / n_rows) * 2**30)
    drawn = readable.where(f"pmod(xxhash64(path, {seed}), {2**30}) < {share}")
    table = drawn.select("path", "features").toArrow().sort_by("path").combine_chunks()
    return matrix(table.column("features").combine_chunks())


def _reduced(readable: Any, reducer: Any, n_rows: int) -> Any:
    """Return the reduced rows, laid out by their paths alone.

    The random numbers of k-means|| go by partition, so that where rows happen to lie would
    otherwise change the clusters.
    """
    from pyspark.ml.functions import array_to_vector

    lists = readable.mapInArrow(partial(reduce_batches, reducer), REDUCED)
    rows = lists.select("path", array_to_vector("reduced").alias("reduced"))
    n_partitions = -(-n_rows // PARTITION_ROWS)
    return rows.repartition(n_partitions, "path").sortWithinPartitions("path")


def _cluster(reduced: Any, n_clusters: int, seed: int, sample: np.ndarray) -> Any:
    """Keep the best of several ways to K-Means over all rows."""
    reduced = reduced.persist()
    try:
        found = [_parallel(reduced, n_clusters, seed + i) for i in range(N_STARTS)]
        if n_clusters <= len(sample):
            start = new_clusterer(None, n_clusters, len(sample), seed).fit(sample)
            found.append(_refined(reduced, start.cluster_centers_))
    finally:
        reduced.unpersist()
    cost, centers = min(found, key=lambda pair: pair[0])
    return new_fitted_kmeans(np.array(centers, dtype=np.float32), cost)


def _parallel(reduced: Any, n_clusters: int, seed: int) -> tuple[float, Any]:
    """Return cost and centres of K-Means that begins by k-means||."""
    from pyspark.ml.clustering import KMeans

    kmeans = KMeans(featuresCol="reduced", k=n_clusters, maxIter=MAX_ITERATIONS, seed=seed)
    model = kmeans.fit(reduced)
    return model.summary.trainingCost, model.clusterCenters()


def _refined(reduced: Any, centers: np.ndarray) -> tuple[float, Any]:
    """Return cost and centres of K-Means that begins from these centres."""
    # The newer pyspark.ml cannot be told where to begin.
    from pyspark.mllib.clustering import KMeans, KMeansModel

    rows = reduced.rdd.map(reduced_array)
    model = KMeans.train(rows, len(centers), MAX_ITERATIONS, initialModel=KMeansModel(centers))
    return model.computeCost(rows), model.clusterCenters
