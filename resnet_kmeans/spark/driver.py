"""Clusters images on a Spark cluster, as `ImageFolderClusterer` does on one machine.

Each Python worker runs the network on its partitions, the driver fits the reducer on a sample,
and MLlib's K-Means clusters the reduced rows. The result is an ordinary `ImageFolderClusterer`.
This package must be installed on the workers.
"""

from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from resnet_kmeans._folder_names import UNREADABLE
from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.clustering import HellingerPCA, LabelScore, new_clusterer, new_reducer
from resnet_kmeans.exceptions import NoImagesError, OutputFolderError, TooFewImagesError
from resnet_kmeans.featurizer import ResNetFeaturizer, prepare_featurizer
from resnet_kmeans.images import IMAGE_EXTENSIONS
from resnet_kmeans.saving import new_fitted_kmeans
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

# Rows that the reducer is fitted on. They take 160 MB; spark.driver.maxResultSize is 1 GB.
SAMPLE_ROWS = 20_000
# Starts by k-means||, in addition to one from the centers of the sample. The former are better
# on a few thousand rows (an inertia of 177, not 184, on 25 categories of Caltech 101), the latter
# with thousands of clusters.
N_STARTS = 3
MAX_ITERATIONS = 100  # per start; MLlib's default of 20 stops some of them too early
PARTITION_ROWS = 5_000  # reduced rows per partition, whatever the size of the Spark cluster


def fit(
    images: Any,
    n_clusters: int = 5,
    *,
    featurizer: ResNetFeaturizer | None = None,
    random_state: Any = None,
    features_path: str | None = None,
) -> ImageFolderClusterer:
    """Cluster images on a Spark cluster.

    The method is the same as on a single machine: the reducer ``"auto"``, then K-Means. If
    there are more than 20,000 rows, the reducer is fitted on a sample of about that size.
    K-Means runs on all rows four times, starting three times from k-means|| and once from the
    centers found in the sample; the best result is kept. It does not depend on the number of
    executors or on the loss of executors.

    Parameters
    ----------
    images : str or pyspark.sql.DataFrame
        A folder that Spark can read (local, HDFS, S3, …), including its subfolders; a
        DataFrame with the columns ``path`` and ``content`` (bytes of an image file); or a
        DataFrame returned by `extract_features`.
    n_clusters : int, default=5
        Number of clusters, from 2 to the number of readable images.
    featurizer : ResNetFeaturizer, default=None
        None uses ``ResNetFeaturizer()``. Its weights must be on the driver, which sends them
        to the workers. Workers do not use its cache; use `features_path` instead.
    random_state : int, RandomState instance or None, default=None
        Use an int for reproducible results, however Spark distributes the images.
    features_path : str, default=None
        A new folder to which the features are written as Parquet; None keeps them in Spark's
        storage during the fit.

    Returns
    -------
    ImageFolderClusterer
        The fitted model, without the attributes that have one entry per image. Use `assign` to
        get labels.

    Raises
    ------
    NoImagesError, TooFewImagesError
        If there are no images, or fewer readable ones than clusters.
    OutputFolderError
        If `features_path` exists already.

    Notes
    -----
    Recommended settings, to be passed when the Spark session is built::

        spark.task.cpus                 4        # one network for four cores
        spark.executor.memoryOverhead   2g       # the network lives outside the JVM
        spark.sql.files.openCostInBytes 524288   # 256 images per task instead of 32

    Examples
    --------
    >>> rows = "s3a://bucket/rows"
    >>> model = fit("s3a://bucket/photos", 100, features_path=rows)  # doctest: +SKIP
    >>> labels = assign(model, spark.read.parquet(rows))  # doctest: +SKIP
    >>> model.save("model.safetensors")  # doctest: +SKIP
    """
    if n_clusters < 2:
        raise ValueError(
            f"Expected n_clusters to be 2 or more, as MLlib requires, got {n_clusters}. "
            "Nothing was computed. Raise n_clusters."
        )
    frame, listing = read_images(images)
    fitted = _fit_featurizer(featurizer)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    features = _features(frame, listing, fitted, features_path)
    is_persisted = features_path is None and not features.is_cached
    if is_persisted:
        features = features.persist()
    try:  # frees Spark's storage even if the fit fails
        readable = features.where("reason is null")
        n_rows = _count(features, readable, n_clusters, images)
        sample = _sample(readable, n_rows, seed)
        reducer = new_reducer("auto", sample.shape, n_clusters, seed).fit(sample)
        reduced = _reduced(readable, reducer, n_rows)
        clusterer = _cluster(reduced, n_clusters, seed, reducer.transform(sample))
    finally:
        if is_persisted:
            features.unpersist()
    model = ImageFolderClusterer(n_clusters, featurizer=featurizer, random_state=random_state)
    projection = HellingerPCA().fit(sample)
    labels = clusterer.predict(reducer.transform(sample))
    score = LabelScore.of(projection, projection.transform(sample), labels, n_clusters)
    return model._set_steps(fitted, reducer, clusterer, score)


def assign(clusterer: ImageFolderClusterer, images: Any) -> Any:
    """Assign images to the clusters of a fitted model, on a Spark cluster.

    Parameters
    ----------
    clusterer : ImageFolderClusterer
        A fitted model, from `fit` or from a single machine.
    images : str or pyspark.sql.DataFrame
        Images, as for `fit`.

    Returns
    -------
    pyspark.sql.DataFrame
        One row per image, with the columns ``path``, ``cluster`` (the label that `predict`
        would return; -3 for an unreadable image), ``distance`` (to the center of the cluster;
        null for an image in no cluster) and ``reason`` (why an image is unreadable, else null).
        It is computed lazily.
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
    # A file that Spark skipped has no row, so one is added from the listing.
    filled = (
        "path",
        f"coalesce(cluster, {UNREADABLE}) cluster",
        "distance",
        reason_where("cluster is null"),
    )
    return listing.join(rows, "path", "left").selectExpr(*filled)


def extract_features(
    images: Any, featurizer: ResNetFeaturizer | None = None, features_path: str | None = None
) -> Any:
    """Return the features of images, computed on a Spark cluster.

    Parameters
    ----------
    images : str or pyspark.sql.DataFrame
        Images, as for `fit`.
    featurizer : ResNetFeaturizer, default=None
        None uses ``ResNetFeaturizer()``.
    features_path : str, default=None
        A new folder to which the features are written as Parquet; None computes them lazily.

    Returns
    -------
    pyspark.sql.DataFrame
        One row per image, with the columns ``path``, ``features`` (array of float; null for an
        unreadable image) and ``reason`` (why an image is unreadable, else null).

    Raises
    ------
    OutputFolderError
        If `features_path` exists already.
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
    return prepare_featurizer(featurizer, "skip").fit([b""])  # X is not read


def _written(rows: Any, path: str) -> Any:
    from pyspark.errors import AnalysisException

    try:
        rows.write.parquet(path)
    except AnalysisException as error:
        if error.getCondition() != "PATH_ALREADY_EXISTS":
            raise
        raise OutputFolderError(
            f"Expected a new folder for the features, got {path!r}, which exists. Nothing was "
            "computed. Choose another one, or pass spark.read.parquet(path) as the images."
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
    """Return about `SAMPLE_ROWS` rows."""
    # Rows are selected by a hash of the path, so the layout of partitions does not matter.
    share = int(min(1.0, SAMPLE_ROWS / n_rows) * 2**30)
    sample = readable.where(f"pmod(xxhash64(path, {seed}), {2**30}) < {share}")
    table = sample.select("path", "features").toArrow().sort_by("path").combine_chunks()
    return matrix(table.column("features").combine_chunks())


def _reduced(readable: Any, reducer: Any, n_rows: int) -> Any:
    """Return the reduced rows, partitioned by their paths."""
    from pyspark.ml.functions import array_to_vector

    lists = readable.mapInArrow(partial(reduce_batches, reducer), REDUCED)
    rows = lists.select("path", array_to_vector("reduced").alias("reduced"))
    # k-means|| draws random numbers per partition, so the result depends on the partitions.
    n_partitions = -(-n_rows // PARTITION_ROWS)
    return rows.repartition(n_partitions, "path").sortWithinPartitions("path")


def _cluster(reduced: Any, n_clusters: int, seed: int, sample: np.ndarray) -> Any:
    """Return the best of several K-Means fits to all rows."""
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
    """Return the cost and centers of K-Means started by k-means||."""
    from pyspark.ml.clustering import KMeans

    kmeans = KMeans(featuresCol="reduced", k=n_clusters, maxIter=MAX_ITERATIONS, seed=seed)
    model = kmeans.fit(reduced)
    return model.summary.trainingCost, model.clusterCenters()


def _refined(reduced: Any, centers: np.ndarray) -> tuple[float, Any]:
    """Return the cost and centers of K-Means started from given centers."""
    # The newer API, pyspark.ml, does not accept initial centers.
    from pyspark.mllib.clustering import KMeans, KMeansModel

    rows = reduced.rdd.map(reduced_array)
    model = KMeans.train(rows, len(centers), MAX_ITERATIONS, initialModel=KMeansModel(centers))
    return model.computeCost(rows), model.clusterCenters
