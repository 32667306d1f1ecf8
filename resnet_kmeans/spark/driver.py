"""Clusters images on a Spark cluster, as `ImageFolderClusterer` does on one machine.

Each Python worker runs the network on its partitions, the driver fits the reducer on a sample,
and MLlib's K-Means clusters the reduced rows. The result is an ordinary `ImageFolderClusterer`.
This package must be installed on the workers.
"""

from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from resnet_kmeans import clustering
from resnet_kmeans._folder_names import UNREADABLE
from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.exceptions import NoImagesError, OutputFolderError, TooFewImagesError
from resnet_kmeans.featurizer import ResNetFeaturizer, prepare_featurizer
from resnet_kmeans.images import IMAGE_EXTENSIONS, natural_order
from resnet_kmeans.saving import new_fitted_kmeans
from resnet_kmeans.spark import worker
from resnet_kmeans.spark.reading import read_images, reason_where

# Rows that the driver clusters by itself. They take 160 MB; spark.driver.maxResultSize is 1 GB.
SAMPLE_ROWS = 20_000
MAX_ITERATIONS = 20  # from the centers of a sample; more lower the inertia by less than 0.1%
PARTITION_ROWS = 5_000  # a task of fewer rows takes longer to start than to run


def fit(
    images: Any,
    n_clusters: int = 5,
    *,
    featurizer: ResNetFeaturizer | None = None,
    random_state: Any = None,
    features_path: str | None = None,
) -> ImageFolderClusterer:
    """Cluster images on a Spark cluster.

    The method is the same as on a single machine: the reducer ``"auto"``, then K-Means. Up to
    20,000 images are clustered on the driver, with the result of a single machine. If there are
    more, this is done with a sample of about that size, and MLlib's K-Means, starting from the
    centers of the sample, runs on all images. The result does not depend on the number of
    executors or on the loss of executors.

    Parameters
    ----------
    images : str or pyspark.sql.DataFrame
        A folder that Spark can read (local, HDFS, S3, …), including its subfolders; a
        DataFrame with the columns ``path`` and ``content`` (bytes of an image file); or a
        DataFrame returned by `extract_features`.
    n_clusters : int, default=5
        Number of clusters, from 1 to the number of readable images.
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
    model = ImageFolderClusterer(n_clusters, featurizer=featurizer, random_state=random_state)
    model._validate_params()
    frame, listing = read_images(images)
    fitted = _fit_featurizer(featurizer)
    # Without a file to be complete, the images that Spark skipped do not matter.
    features = _features(frame, listing if features_path else None, fitted, features_path)
    is_persisted = features_path is None and not features.is_cached
    if is_persisted:
        features = features.persist()
    try:  # frees Spark's storage even if the fit fails
        readable = features.where("features is not null")
        n_rows = readable.count()
        if not n_rows and (listing or frame).isEmpty():
            raise NoImagesError(images, IMAGE_EXTENSIONS)
        if n_rows < n_clusters:
            raise TooFewImagesError(n_rows, n_clusters)
        sample = _sample(readable, n_rows, max(SAMPLE_ROWS, 2 * n_clusters), random_state)
        reducer = clustering.new_reducer("auto", sample.shape, n_clusters, random_state).fit(sample)
        reduced = reducer.transform(sample)
        clusterer = clustering.new_clusterer(None, n_clusters, len(reduced), random_state)
        with clustering.one_thread_if_small(len(reduced)):
            clusterer.fit(reduced)
        if len(sample) < n_rows:
            clusterer = _refined(readable, n_rows, reducer, clusterer.cluster_centers_)
    finally:
        if is_persisted:
            features.unpersist()
    projection = clustering.HellingerPCA().fit(sample)
    labels = clusterer.predict(reduced)
    score = clustering.LabelScore.of(projection, projection.transform(sample), labels, n_clusters)
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
        null for an image in no cluster) and ``reason`` (what is missing in an image, or null).
        It is computed lazily.
    """
    frame, listing = read_images(images)
    featurizer, reducer, last = (step for _, step in clusterer.pipeline_.steps)
    assigned = partial(worker.assign_batches, reducer, last, clusterer.cluster_centers_)
    if "features" in frame.columns:
        return frame.select("path", "features", "reason").mapInArrow(assigned, worker.ASSIGNED)
    both = partial(worker.compose, worker.ship(frame.sparkSession, featurizer), assigned)
    rows = frame.select("path", "content").mapInArrow(both, worker.ASSIGNED)
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
        unreadable image) and ``reason`` (what is missing in an image, or null).

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
    shipped = worker.ship(frame.sparkSession, fitted)
    rows = frame.select("path", "content").mapInArrow(shipped, worker.FEATURES)
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
    return rows.sparkSession.read.schema(worker.FEATURES).parquet(path)


def _sample(readable: Any, n_rows: int, n_drawn: int, random_state: Any) -> np.ndarray:
    """Return about `n_drawn` rows, or all if there are fewer, in the order of a single machine."""
    if n_rows > n_drawn:
        # Rows are selected by a hash of the path, so the layout of partitions does not matter.
        seed = check_random_state(random_state).randint(2**31 - 1)
        share = int(n_drawn / n_rows * 2**30)
        readable = readable.where(f"pmod(xxhash64(path, {seed}), {2**30}) < {share}")
    table = readable.select("path", "features").toArrow().combine_chunks()
    paths = table["path"].to_pylist()
    order = sorted(range(len(paths)), key=lambda i: natural_order(paths[i]))
    return worker.matrix(table["features"].combine_chunks())[order]


def _refined(readable: Any, n_rows: int, reducer: Any, centers: np.ndarray) -> Any:
    """Return K-Means fitted to all rows, starting from given centers."""
    # The newer API, pyspark.ml, does not accept initial centers.
    from pyspark.mllib.clustering import KMeans, KMeansModel

    # Many small partitions are joined before Python reads them; a few large ones are divided
    # after that, when their rows are short.
    n_partitions = -(-n_rows // PARTITION_ROWS)
    reduce = partial(worker.reduce_batches, reducer)
    few = readable.coalesce(n_partitions).mapInArrow(reduce, worker.REDUCED)
    reduced = few.repartition(n_partitions).persist()
    try:
        rows = reduced.rdd.map(worker.reduced_array)
        model = KMeans.train(rows, len(centers), MAX_ITERATIONS, initialModel=KMeansModel(centers))
        cost = model.computeCost(rows)
    finally:
        reduced.unpersist()
    return new_fitted_kmeans(np.array(model.clusterCenters, dtype=np.float32), cost)
