"""Defines `ImageFolderClusterer`, which clusters the images of a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from resnet_kmeans import clustering, saving
from resnet_kmeans._folder_names import (
    UNREADABLE,
    check_cluster_names,
    default_cluster_names,
    renamed,
)
from resnet_kmeans._parameters import RANDOM_STATE, Whole
from resnet_kmeans._versions import library_versions
from resnet_kmeans.clustering import prediction, rows
from resnet_kmeans.exceptions import (
    ConstantFeaturesError,
    FewerClustersWarning,
    IgnoredParameterWarning,
    ModelFileError,
    OutputFolderError,
    TooFewImagesError,
    UnreadableImagesError,
    printable,
    warn_caller,
)
from resnet_kmeans.export import (
    Content,
    ExportedImage,
    KeptNetwork,
    plan_export,
    read_export,
    write_export,
)
from resnet_kmeans.featurizer import (
    ResNetFeaturizer,
    describe_featurizer,
    known_digests,
    names_strangers_file,
    prepare_featurizer,
    restore_featurizer,
)
from resnet_kmeans.images import images_of, source_name

logger = logging.getLogger(__name__)

# From so many images on, the rounds of ClusterDiscriminantAnalysis choose the number of clusters
# better than K-Means in the space of PCA, although it labels up to 99 images. Fewer images are
# nearly all neighbors.
ROUNDS_FROM = 30


class ImageFolderClusterer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    """Cluster the images of a folder, or of any sequence, by their content.

    This meta-estimator fits clones of a featurizer, a reducer and a clusterer, one after the
    other. Unreadable images get the label -3 and a reason; they do not stop the fit.

    Parameters
    ----------
    n_clusters : int or "auto", default=5
        Number of clusters. ``"auto"`` lets `choose_n_clusters` choose it; without a feature
        cache, the network then runs twice. Ignored if `clusterer` finds the number itself. A
        number that `clusterer` has of its own is ignored too, with a warning.
    featurizer : transformer, default=None
        Transformer from images to rows of features; None uses ``ResNetFeaturizer()``.
    reducer : {"auto", "discriminant", "pca", "umap"}, transformer or None, default="auto"
        Dimensionality reduction before clustering:

        - ``"discriminant"`` learns the directions that separate the clusters, with
          `ClusterDiscriminantAnalysis`.
        - ``"pca"`` normalizes rows to unit length and reduces them to 64 dimensions, or to 128
          for more than 32 clusters.
        - ``"umap"`` reduces rows to 10 dimensions; it is slower and needs the `umap` extra.
        - ``"auto"`` uses ``"discriminant"`` if there are at least 100 images and at least 10
          images per cluster (of more than 5,000 images, only 5,000 are counted), otherwise
          ``"pca"``. It also uses ``"pca"`` if `clusterer` finds the number of clusters itself.
        - None clusters the features as they are.

        If a transformer has a parameter `n_clusters`, it is set to the number of clusters. For
        the measurements behind the default, see ``examples/benchmarks/quality.py``.
    clusterer : clusterer, default=None
        None uses KMeans with 10 initializations, or MiniBatchKMeans for 100,000 images or
        more. In any other clusterer, the parameter `n_clusters` (or, if there is none,
        `n_components`) is set to the number of clusters. If that parameter is None, or missing
        as in DBSCAN, HDBSCAN, OPTICS and MeanShift, the clusterer finds the number itself.
        If a clusterer has no `predict`, a new image gets its label by a vote of the 5 nearest
        images of the fit, weighted by inverse distance.
    unreadable : {"skip", "raise"}, default="skip"
        ``"skip"`` gives unreadable images the label -3; ``"raise"`` raises one error that
        lists them all.
    random_state : int, RandomState instance or None, default=None
        Random state of the reducer and of the default clusterer. Use an int for reproducible
        results.

    Attributes
    ----------
    pipeline_ : Pipeline
        The fitted steps ``featurizer``, ``reducer`` and ``clusterer``.
    image_paths_ : list of length n
        Paths of the images of the fit. The images of a folder are in the order of
        `find_images`; an image in memory is called ``"X[i]"``.
    labels_ : ndarray of shape (n,), dtype int32
        Label of each image, as in scikit-learn's HDBSCAN: -1 for noise, that is, an image that
        a clusterer such as DBSCAN assigns to no cluster, and -3 for an unreadable image.
    distances_ : ndarray of shape (n,), dtype float32
        Euclidean distance of each image to the center of its cluster, in the reduced space;
        NaN for an image in no cluster.
    image_features_ : ndarray of shape (n, c), dtype float16
        Principal components of the features of each image, by which it is judged in an export
        and in a report: 64, or fewer for fewer than 320 images. NaN for an unreadable image.
    unreadable_ : dict of str to str
        Reason for each unreadable image, by path.
    incomplete_ : dict of str to str
        What is missing in each photo that was read in part, by path.
    cluster_centers_ : ndarray of shape (n_clusters, n_reduced), dtype float32
        Centers of the clusters in the reduced space; the means of the clusters if the clusterer
        has no centers.
    cluster_names_ : list of str, of length n_clusters
        Names of the clusters: ``"cluster_0"``, ``"cluster_1"``, … unless `set_cluster_names`
        changed them.
    n_clusters_ : int
        The number of clusters, given, chosen or found; at most the number of different images.
    inertia_ : float
        Sum of squared distances of the images to the centers of their clusters.

    Notes
    -----
    Memory use is bounded by scikit-learn's setting ``working_memory``, 1024 MiB by default. If
    the features and the copies that the reducer makes of them need more (above 32,768 rows of
    2048 features), the reducer is fitted on a random sample that fits into memory, and all rows
    are reduced in blocks. Use ``sklearn.config_context(working_memory=...)`` to change the
    limit.

    Examples
    --------
    >>> import numpy as np
    >>> from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer
    >>> images = [np.full((64, 64, 3), gray, dtype=np.uint8) for gray in (0, 4, 250, 255)]
    >>> featurizer = ResNetFeaturizer(weights=None, input_shape=(64, 64), cache=None)
    >>> clusterer = ImageFolderClusterer(2, featurizer=featurizer, random_state=0)
    >>> labels = clusterer.fit_predict(images)
    >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "n_clusters": [Whole(1), StrOptions({"auto"})],
        "featurizer": [HasMethods(["fit", "transform"]), None],
        "reducer": [StrOptions(clustering.REDUCERS), HasMethods(["fit", "transform"]), None],
        "clusterer": [HasMethods(["fit", "predict"]), HasMethods(["fit_predict"]), None],
        "unreadable": [StrOptions({"skip", "raise"})],
        "random_state": RANDOM_STATE,
    }

    _cluster_names: list[str] | None = None  # None means default names

    def __init__(
        self,
        n_clusters: int | str = 5,
        *,
        featurizer: Any = None,
        reducer: Any = "auto",
        clusterer: Any = None,
        unreadable: str = "skip",
        random_state: Any = None,
    ):
        self.n_clusters = n_clusters
        self.featurizer = featurizer
        self.reducer = reducer
        self.clusterer = clusterer
        self.unreadable = unreadable
        self.random_state = random_state

    @_fit_context(
        # Parameters of the given estimators have not been validated yet.
        prefer_skip_nested_validation=False
    )
    def fit(self, X: Any, y: Any = None) -> ImageFolderClusterer:
        """Cluster images.

        Parameters
        ----------
        X : str, path-like or sequence of length n
            A folder, or images in any form that the featurizer accepts.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        ImageFolderClusterer
            The fitted clusterer itself.

        Raises
        ------
        FolderNotFoundError, NoImagesError
            If the folder does not exist, or there are no images.
        TooFewImagesError
            If there are fewer readable images than clusters.
        UnreadableImagesError
            If no image can be read, or if some cannot be read and ``unreadable="raise"``.
        ConstantFeaturesError
            If all images have the same features.
        ExtraNotInstalledError
            If the reducer is ``"umap"`` and umap-learn is not installed.

        Warns
        -----
        FewerClustersWarning
            If there are fewer different images than clusters; copies of an image are always in
            the same cluster.
        """
        sources = images_of(X)
        self._warn_of_ignored()
        n_clusters = self._n_clusters_for(sources)
        featurizer = self._fitted_featurizer(sources)

        def reducer_for(features: np.ndarray, reasons: Mapping[int, str]) -> Any:
            _check_features(features, sources, reasons, n_clusters)
            if len(sources) > clustering.SMALL_UP_TO:
                logger.info("Clustering %d images", len(sources))
            most = min(n_clusters, rows.n_different(features))
            return _both(self._new_reducer(features.shape, most), clustering.HellingerPCA())

        both, found, reasons = rows.fit_reducer(sources, featurizer, reducer_for, self.random_state)
        (_, reducer), (_, projection) = both.transformer_list
        reduced, self.image_features_ = _split(found, projection)
        readable = rows.drop_unreadable(reduced)
        clusterer = self._new_clusterer(len(readable), self._possible(n_clusters, readable))
        with clustering.one_thread_if_small(len(readable)):
            clusterer.fit(readable)
        self.pipeline_ = _pipeline(featurizer, reducer, clusterer)
        self._cluster_names = None
        self._set_results(sources, reduced, reasons)
        known = self.labels_ != UNREADABLE
        self._label_score = clustering.LabelScore.of(
            projection, self.image_features_[known], self.labels_[known], self.n_clusters_
        )
        return self

    def _fitted_featurizer(self, sources: list[Any]) -> Any:
        clustering.require_reducer(self.reducer)  # before the network is loaded
        return prepare_featurizer(self.featurizer, self.unreadable).fit(sources)

    def _possible(self, n_clusters: int, reduced: np.ndarray) -> int:
        """Return the number of clusters, at most that of different rows."""
        if not clustering.takes_n_clusters(self.clusterer):
            return n_clusters
        if len(reduced) < n_clusters:
            raise TooFewImagesError(len(reduced), n_clusters)
        if (most := rows.n_different(reduced)) < n_clusters:
            warn_caller(FewerClustersWarning(n_clusters, most))
        return min(n_clusters, most)

    def _warn_of_ignored(self) -> None:
        """Warn if one of two numbers of clusters that the user gave is ignored."""
        own = clustering.own_n_clusters(self.clusterer)
        if own not in (None, self.n_clusters):
            text = (
                f"n_clusters={self.n_clusters!r} is used; that of {self.clusterer!r} is ignored. "
                f"Pass ImageFolderClusterer({own}, ...) to use it."
            )
            warn_caller(IgnoredParameterWarning(text))

    def _n_clusters_for(self, sources: list[Any]) -> int:
        """Return the number of clusters to look for."""
        if not isinstance(self.n_clusters, str):
            return self.n_clusters
        if not clustering.takes_n_clusters(self.clusterer):
            return 2  # not used, since the clusterer finds the number itself
        return self._choose(sources, None).n_clusters

    def _choose(self, X: Any, n_clusters: Iterable[int] | None) -> clustering.NClustersChoice:
        """Choose a number of clusters; see `choose_n_clusters`."""
        sources = images_of(X)
        sampled = sample_of(sources)
        featurizer = self._fitted_featurizer(sampled)
        features, reasons = rows.features_of(featurizer, sampled)
        features = rows.drop_unreadable(features)
        _check_features(features, sampled, reasons)

        def new_steps(n_clusters: int) -> Pipeline:
            reducer = self._new_reducer(features.shape, n_clusters)
            return make_pipeline(reducer, self._new_clusterer(len(features), n_clusters))

        is_learnt = self.clusterer is None and self.reducer in ("auto", "discriminant")
        rounds = is_learnt and len(features) >= ROUNDS_FROM
        return clustering.choose(features, n_clusters, None if rounds else new_steps)

    def _new_reducer(self, shape: tuple[int, int], n_clusters: int) -> Any:
        # Without a number of clusters, there are no directions to learn.
        known = n_clusters if clustering.takes_n_clusters(self.clusterer) else None
        return clustering.new_reducer(self.reducer, shape, known, self.random_state)

    def _new_clusterer(self, n_rows: int, n_clusters: int) -> Any:
        return clustering.new_clusterer(self.clusterer, n_clusters, n_rows, self.random_state)

    def _set_results(
        self, sources: list[Any], reduced: np.ndarray, reasons: Mapping[int, str]
    ) -> None:
        """Set the attributes that describe the images of the fit and their clusters."""
        self.image_paths_ = [
            source if isinstance(source, (str, os.PathLike)) else source_name(source, i)
            for i, source in enumerate(sources)
        ]
        clusterer = self.pipeline_["clusterer"]
        self.labels_ = prediction.labels_of_fit(clusterer, reduced)
        has_row = rows.is_readable(reduced)
        self.unreadable_ = _by_name(sources, {i: reasons[i] for i in reasons if not has_row[i]})
        self.incomplete_ = _by_name(sources, {i: reasons[i] for i in reasons if has_row[i]})
        self.cluster_centers_ = prediction.centers_of(clusterer, reduced, self.labels_)
        self.distances_ = prediction.own_distances(reduced, self.cluster_centers_, self.labels_)
        # Only KMeans and its variants have an inertia.
        self.inertia_ = float(getattr(clusterer, "inertia_", np.nansum(self.distances_**2)))

    def predict(self, X: Any) -> np.ndarray:
        """Predict the cluster of each image.

        Parameters
        ----------
        X : str, path-like or sequence of length n
            Images, as for `fit`.

        Returns
        -------
        ndarray of shape (n,), dtype int32
            Label of each image; -1 for noise, -3 for an unreadable image.

        Raises
        ------
        WeightsMismatchError
            If the network is not the one used in `fit`.
        """
        check_is_fitted(self)
        clusterer = self.pipeline_["clusterer"]
        blocks = self._reduced(images_of(X))
        return np.concatenate([prediction.predict(clusterer, block) for block, _ in blocks])

    def transform(self, X: Any) -> np.ndarray:
        """Return the distances of images to the centers of all clusters.

        Parameters
        ----------
        X : str, path-like or sequence of length n
            Images, as for `fit`.

        Returns
        -------
        ndarray of shape (n, n_clusters), dtype float32
            Euclidean distances in the reduced space; NaN for an unreadable image.
        """
        check_is_fitted(self)
        centers, blocks = self.cluster_centers_, self._reduced(images_of(X))
        return np.concatenate([prediction.distances(block, centers) for block, _ in blocks])

    def _reduced(self, sources: list[Any]) -> Iterator[tuple[np.ndarray, dict[int, str]]]:
        """Yield reduced rows in blocks, with the reasons for unreadable images by position."""
        featurizer, reducer, _ = (step for _, step in self.pipeline_.steps)
        return rows.reduce_blocks(sources, featurizer, reducer, self.cluster_centers_.shape[1])

    def score(self, X: Any, y: Any = None) -> float:
        """Return how much better the clusters explain the images than one cluster would.

        This is the gain in BIC, the Bayesian information criterion, per image and dimension, of
        one Gaussian for each cluster over one Gaussian for all images; all Gaussians have the
        same covariance. It is computed in 32 principal components, for the images of the fit
        and those of `X` together. GridSearchCV can use it to choose `n_clusters`. The score of
        KMeans cannot be used for this, as it keeps rising with `n_clusters`. Of more than
        5,000 images of the fit, or 10,000 of `X`, a random sample is used.

        Parameters
        ----------
        X : str, path-like or sequence of length n
            Images, as for `fit`.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        float
            Higher is better; 0 means no better than one cluster. It is -1, the lowest score, if
            there is only one label, or if no image is readable.
        """
        features, labels = self._features_and_labels(X)
        return self._label_score.score(features, labels)

    def _features_and_labels(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the features and labels of readable images, or of a sample of many images."""
        check_is_fitted(self)
        featurizer, reducer, clusterer = (step for _, step in self.pipeline_.steps)
        features, _ = rows.features_of(featurizer, sample_of(images_of(X)))
        labels = prediction.predict(clusterer, rows.reduce(reducer, features))
        readable = labels != UNREADABLE
        return features[readable], labels[readable]

    @property
    def n_clusters_(self) -> int:
        """The number of clusters of the fit, also if it was chosen."""
        return len(self.cluster_centers_)

    @property
    def cluster_names_(self) -> list[str]:
        """Names of the clusters; clusters with the same name share a folder."""
        return self._cluster_names or default_cluster_names(len(self.cluster_centers_))

    def set_cluster_names(self, names: Sequence[str] | Mapping[int, str]) -> ImageFolderClusterer:
        """Set the names of clusters.

        Clusters with equal names share a folder in an export and a section in a report; their
        labels and centers do not change. `fit` resets the names.

        Parameters
        ----------
        names : sequence of str, of length n_clusters, or mapping of int to str
            The names of all clusters, or a mapping from the labels of some clusters to their
            new names.

        Returns
        -------
        ImageFolderClusterer
            The clusterer itself.

        Raises
        ------
        ClusterNameError
            If a name is not a valid folder name on every system, or a label is unknown.
        """
        check_is_fitted(self)
        self._cluster_names = renamed(self.cluster_names_, names)
        return self

    def export(
        self,
        folder: str | os.PathLike[str],
        X: Any = None,
        *,
        action: str = "copy",
        dry_run: bool = False,
        companions: bool | None = None,
        skip_copies: bool = False,
    ) -> list[ExportedImage]:
        """Write images to one folder per cluster, which also keeps what it needs to learn.

        These are reduced features of each image (64 numbers, 128 bytes) and the parameters of
        the featurizer, if it is a `ResNetFeaturizer`. With them, images can be added, clusters
        can be split, and each image is judged by what the folders contain: see `add_images`,
        `split_cluster` and `from_export`.

        Parameters
        ----------
        folder : str or path-like
            The output folder; it must not exist yet, or be empty.
        X : str, path-like or sequence of path-like, of length n, default=None
            Images to assign to the clusters and export: a folder of images, or their paths.
            None exports the images of the fit.
        action : {"copy", "hardlink", "symlink", "move"}, default="copy"
            How images are put into the folders.
        dry_run : bool, default=False
            If True, nothing is written: only check the export and return what it would do.
        companions, skip_copies : bool
            See `export_clusters`.

        Returns
        -------
        list of ExportedImage, of length n
            The images with their new paths; see `export_clusters`.

        Raises
        ------
        OutputFolderError
            If the folder is not empty, or images or disk space are missing; in this case,
            nothing is written. Also if the export stops midway, for example because the disk is
            full.
        ValueError
            If `X` is None and the clusterer has no images because it was loaded from a file.

        See Also
        --------
        apply_curation : Correct an export.
        rename_cluster : Rename a folder of an export, or merge it into another folder.
        undo_export : Take back the last step of an export, or all of them.
        """
        check_is_fitted(self)
        paths, labels, distances, reasons, features = self._labelled(X)
        planned = plan_export(paths, labels, distances, reasons, names=self.cluster_names_ or None)
        # What was read for its features is not read again before it is exported.
        known = known_digests(self.pipeline_["featurizer"], [i.source_path for i in planned[0]])
        return write_export(
            *(planned, folder),
            action=action,
            features=features,
            network=self._network(),
            contents={path: Content(*found) for path, found in known.items()},
            dry_run=dry_run,
            companions=companions,
            skip_copies=skip_copies,
        )

    def _network(self) -> KeptNetwork:
        """Return what an export needs to compute features like those that it keeps."""
        featurizer, projection = self.pipeline_["featurizer"], self._label_score.projection
        header = {"facts": clustering.describe_fit(self)}
        with suppress(ModelFileError):  # a featurizer that needs code of its own
            header |= describe_featurizer(featurizer)
        is_own = not names_strangers_file(featurizer)
        return KeptNetwork(header, saving.projection_to_arrays(projection), is_own)

    def _labelled(
        self, X: Any
    ) -> tuple[Sequence[Any], np.ndarray, np.ndarray, dict[str, str], np.ndarray]:
        """Return paths, labels, distances, reasons and features of X, or of the images of fit."""
        if X is not None:
            paths = images_of(X)
            featurizer, reducer, clusterer = (step for _, step in self.pipeline_.steps)
            projection = self._label_score.projection
            width = self.cluster_centers_.shape[1] + len(projection.components_)
            both = _both(reducer, projection)
            found, reasons = rows.reduce_all(paths, featurizer, both, width)
            reduced, features = _split(found, projection)
            labels = prediction.predict(clusterer, reduced)
            gaps = prediction.own_distances(reduced, self.cluster_centers_, labels)
            return paths, labels, gaps, _by_name(paths, reasons), features
        if not hasattr(self, "labels_"):
            raise ValueError(
                "The clusterer was loaded from a file, which does not contain the images of its "
                "fit. Nothing was written. Pass the images as X."
            )
        missing = {**self.unreadable_, **self.incomplete_}
        known = self.image_paths_, self.labels_, self.distances_, missing
        return *known, self.image_features_

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the fitted model to a file that contains no code.

        The file contains the parameters, the fitted steps, the names of the clusters and the
        fingerprint of the network, but not the network itself. Three parameters are reset to
        their defaults: `clusterer`, `random_state` unless it is an int, and the cache folder of
        the featurizer. The paths and labels of the images of the fit are not saved; pickle or
        joblib keep them.

        Parameters
        ----------
        path : str or path-like
            The file to write, by convention with the extension ``.safetensors``.

        Raises
        ------
        ModelFileError
            If a step cannot be saved without code, or the file cannot be written.
        """
        check_is_fitted(self)
        check_cluster_names(self.cluster_names_)  # of folders that a person named
        featurizer, reducer, last = (step for _, step in self.pipeline_.steps)
        # JSON cannot represent a RandomState, and predictions do not need it.
        seed = int(self.random_state) if isinstance(self.random_state, Integral) else None
        kept = {name: getattr(self, name) for name in ("n_clusters", "reducer", "unreadable")}
        header = {
            "versions": library_versions("pillow", "numpy", "scikit-learn"),
            **describe_featurizer(featurizer),
            "clusterer": {**kept, "random_state": seed},
            "names": self.cluster_names_,
        }
        is_own = not names_strangers_file(featurizer)
        arrays = saving.to_arrays(reducer, last, self._label_score)
        saving.write_model(path, header, arrays, is_own=is_own)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **featurizer_params: Any) -> ImageFolderClusterer:
        """Load a model that `save` wrote, without running any code from the file.

        The model computes in the precision of its fit, on another machine too. Only bfloat16
        becomes float32 where the processor lacks it: then the labels of the images of the fit
        stay, and those of 10 of 1,000 new photos change.

        Parameters
        ----------
        path : str or path-like
            The file to read.
        **featurizer_params
            Parameters of `ResNetFeaturizer` that replace those in the file, such as
            ``weights=PATH`` on another machine. A file of another user does not choose which
            weights file is opened, and no file chooses the cache, the batch size, the number of
            processes, or how much is printed.

        Returns
        -------
        ImageFolderClusterer
            The fitted model, without the attributes that have one entry per image, such as
            `labels_`.

        Raises
        ------
        ModelFileError
            If the file is not a model file, is damaged, or has a newer format. If there is no
            file, the error is a FileNotFoundError too.
        TypeError
            If a parameter is none of `ResNetFeaturizer`.
        """
        _check_params(featurizer_params)
        header, arrays, is_own = saving.read_model(path)
        with saving.explain_model_errors(path):
            featurizer, fitted = restore_featurizer(header, featurizer_params, is_own)
            model = cls(**header["clusterer"], featurizer=featurizer)
            prepared = prepare_featurizer(featurizer, model.unreadable)
            vars(prepared).update(fitted)
            model._set_steps(prepared, *saving.from_arrays(arrays))
            model._cluster_names = renamed(model.cluster_names_, header["names"])
        return model

    @classmethod
    def from_export(
        cls, folder: str | os.PathLike[str], **featurizer_params: Any
    ) -> ImageFolderClusterer:
        """Return the folders of an export, as they are now, as a fitted clusterer.

        Its clusters are the folders that hold images, with their names, however a person has
        corrected them. It predicts as `add_images` does: by a Gaussian for each folder, with a
        shared covariance, in up to 64 principal components. So a corrected album becomes a
        classifier, which can be saved and pickled.

        Parameters
        ----------
        folder : str or path-like
            The folder of a finished export that `export` wrote.
        **featurizer_params
            Parameters of `ResNetFeaturizer` that replace those that the export keeps, as in
            `load`.

        Returns
        -------
        ImageFolderClusterer
            The fitted clusterer. The images of its fit are those in the folders.

        Raises
        ------
        OutputFolderError
            If the folder is not an export, keeps no network, or has no images in folders.

        Examples
        --------
        >>> from resnet_kmeans import ImageFolderClusterer
        >>> clusterer = ImageFolderClusterer.from_export("clusters")  # doctest: +SKIP
        >>> [clusterer.cluster_names_[i] for i in clusterer.predict("new")]  # doctest: +SKIP
        ['cats', 'dogs', 'cats']
        """
        state = read_export(folder)
        network, found = state.network(), state.model
        if found.gaussians is None:
            raise OutputFolderError(
                f"Expected an export with images in folders, got none in {printable(folder)}. "
                "Nothing was done. Put images back into folders."
            )
        prepared, projection = _restore(folder, network, featurizer_params)
        model = cls(len(found.names), featurizer=clone(prepared))
        features, labels = found.of_folders
        score = clustering.LabelScore.of(projection, features, labels, len(found.names))
        last = clustering.FolderClassifier()
        last.__dict__.update(found.gaussians.__dict__)
        model._set_steps(prepared, projection, last, score)
        model._cluster_names = found.names
        inside, place = np.flatnonzero(found.own[state.positions] >= 0), os.path.abspath(folder)
        images, numbers = [state.images[i] for i in inside], np.array(state.positions)[inside]
        model.image_paths_ = [os.path.join(place, str(row.exported_path)) for row in images]
        model.labels_ = found.own[numbers].astype(np.int32)
        model.distances_ = np.array([row.distance for row in images], np.float32)
        model.unreadable_, model.incomplete_ = {}, {}
        model.image_features_ = found.features[numbers]
        return model

    def _set_steps(
        self, featurizer: Any, reducer: Any, clusterer: Any, label_score: clustering.LabelScore
    ) -> ImageFolderClusterer:
        """Set fitted steps, but none of the attributes that have one entry per image."""
        self.pipeline_ = _pipeline(featurizer, reducer, clusterer)
        self._label_score = label_score
        self.cluster_centers_, self.inertia_ = clusterer.cluster_centers_, clusterer.inertia_
        return self

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


def sample_of(sources: list[Any]) -> list[Any]:
    """Return at most `MAX_ROWS` images, a fixed random sample if there are more."""
    return [sources[i] for i in rows.sample(len(sources), clustering.MAX_ROWS, random_state=0)]


def look_at(
    folder: str | os.PathLike[str],
    network: KeptNetwork,
    paths: Sequence[str],
    featurizer_params: Mapping[str, Any],
) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Look at new images with the network that an export keeps.

    Parameters
    ----------
    folder : str or path-like
        The folder of the export, for error messages.
    network : KeptNetwork
    paths : sequence of str, of length n
    featurizer_params : mapping
        Parameters that replace those that the export keeps.

    Returns
    -------
    features : ndarray of shape (n, c), dtype float32
        Like those that the export keeps; NaN for unreadable images.
    is_foreign : ndarray of shape (n,), dtype bool
        Whether images are of another kind than those of the export.
    reasons : dict of str to str
        Why images are unreadable, by path.
    """
    featurizer, projection = _restore(folder, network, featurizer_params)
    residuals = FunctionTransformer(lambda X: projection.residuals(X)[:, None])
    both, width = _both(projection, residuals), len(projection.components_) + 1
    found, reasons = rows.reduce_all([*paths], featurizer, both, width)
    is_foreign = found[:, -1] > projection.residual_limit_
    return found[:, :-1], is_foreign, _by_name(paths, reasons)


def _restore(
    folder: str | os.PathLike[str], network: KeptNetwork, featurizer_params: Mapping[str, Any]
) -> tuple[Any, clustering.HellingerPCA]:
    """Return the fitted featurizer and projection that an export keeps."""
    _check_params(featurizer_params)
    header, arrays, is_own = network
    with saving.explain_model_errors(folder):
        featurizer, fitted = restore_featurizer(header, featurizer_params, is_own)
        projection = saving.projection_from_arrays(arrays)
        shape = arrays["features"].shape[1], fitted["n_features_out_"]
        if projection.components_.shape != shape:
            raise ValueError(f"Expected axes of shape {shape}")
    prepared = prepare_featurizer(featurizer, "skip")
    vars(prepared).update(fitted)
    return prepared, projection


def _check_params(featurizer_params: Mapping[str, Any]) -> None:
    """Check what a user gave, as a mistake in it is no fault of a file."""
    there = ResNetFeaturizer().get_params()
    if unknown := [printable(name) for name in featurizer_params if name not in there]:
        raise TypeError(
            f"Expected parameters of ResNetFeaturizer ({', '.join(there)}), "
            f"got {', '.join(unknown)}. Nothing was loaded."
        )
    featurizer = ResNetFeaturizer(**featurizer_params)
    featurizer._validate_params()


def _check_features(
    features: np.ndarray, sources: list[Any], reasons: Mapping[int, str], n_clusters: int = 2
) -> None:
    if not len(features):
        raise UnreadableImagesError(_by_name(sources, reasons))
    if n_clusters > 1 and len(features) > 1 and (features == features[0]).all():
        raise ConstantFeaturesError(f"all {len(features)} images")


def _pipeline(featurizer: Any, reducer: Any, clusterer: Any) -> Pipeline:
    return Pipeline([("featurizer", featurizer), ("reducer", reducer), ("clusterer", clusterer)])


def _both(first: Any, then: Any) -> FeatureUnion:
    """Return a transformer with the columns of two."""
    return FeatureUnion([("first", first), ("then", then)])


def _split(found: np.ndarray, projection: clustering.HellingerPCA) -> tuple[np.ndarray, np.ndarray]:
    """Return the reduced rows and the projected rows that `_both` put side by side."""
    width = len(projection.components_)
    # An export keeps the latter; half the precision is enough.
    return np.ascontiguousarray(found[:, :-width]), found[:, -width:].astype(np.float16)


def _by_name(sources: Sequence[Any], reasons: Mapping[int, str]) -> dict[str, str]:
    """Return reasons by the names of images instead of their positions."""
    return {source_name(sources[i], i): reason for i, reason in sorted(reasons.items())}
