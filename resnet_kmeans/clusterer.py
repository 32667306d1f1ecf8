"""`ImageFolderClusterer`: from a folder to clusters, and back for new images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from resnet_kmeans.cluster_names import UNREADABLE, default_cluster_names, renamed
from resnet_kmeans.clustering import (
    MAX_ROWS,
    REDUCERS,
    choose,
    fit_reducer,
    modularity_score,
    new_clusterer,
    new_reducer,
    number_name,
    one_thread_if_small,
    reduce_blocks,
    rows,
)
from resnet_kmeans.exceptions import (
    ConstantFeaturesError,
    TooFewImagesError,
    UnreadableImagesError,
)
from resnet_kmeans.images import as_sources, reason_unreadable, require_images, source_name
from resnet_kmeans.persistence import load_clusterer, prepare_featurizer, save_clusterer

MAX_CHOSEN = 30  # clusters; as `choose_n_clusters` tries by default


class ImageFolderClusterer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    """Group the images of a folder, or of any sequence, by what they look like.

    A meta-estimator: it clones what it is given and fits the clones, featurizer, reducer
    and clusterer, one after the other. An image that cannot be read gets the label -1 and
    a reason; it never stops the others.

    Parameters
    ----------
    n_clusters : int or "auto", default=5
        Number of clusters; passed on to a `clusterer` that takes one. ``"auto"`` takes the
        one from 2 to 30 that `choose_n_clusters` does; without a cache the images pass the
        network twice then.
    featurizer : transformer, default=None
        Turns images into rows; None is ``ResNetFeaturizer()``.
    reducer : {"auto", "discriminant", "pca", "umap"}, transformer or None, default="auto"
        Shortens rows before they are clustered. ``"discriminant"``: the directions that
        tell clusters apart, learnt by `ClusterDiscriminantAnalysis`. ``"pca"``:
        L2-normalise, then PCA to 64 dimensions. ``"auto"``: the former from 100 images and
        10 a cluster on, else the latter, and wherever a clusterer finds its own number.
        ``"umap"``: 10 dimensions, cosine, min_dist 0 (`umap` extra); slower. None: the raw
        rows. A transformer with a parameter `n_clusters` gets that of this estimator. Chosen
        by measurement, see ``examples/benchmarks/quality.py``.
    clusterer : clusterer, default=None
        None is KMeans with 10 starts, and MiniBatchKMeans from 100,000 images on. Any other
        gets `n_clusters` as its own `n_clusters`, or `n_components`, where it has one that
        is not None; DBSCAN, HDBSCAN, OPTICS or MeanShift find their own number. A new image
        gets its label by `predict`, or of one without it (Agglomerative, Spectral) the
        label that weighs most among its 5 nearest images of the fit, by inverse distance.
    unreadable : {"skip", "raise"}, default="skip"
        Whether images that cannot be read get the label -1, or one error that names all.
    random_state : int, RandomState instance or None, default=None
        Makes a fit repeatable.

    Attributes
    ----------
    pipeline_ : Pipeline
        The fitted steps ``featurizer``, ``reducer`` and ``clusterer``.
    image_paths_ : list of length n
        The images of the fit; for a folder in the order of `find_images`.
    labels_ : ndarray of shape (n,), dtype int32
        The cluster of each image; -1 for an unreadable one, -2 for noise, which is what
        the clusterer put in no cluster.
    distances_ : ndarray of shape (n,), dtype float32
        Distance of each image to the centre of its cluster; NaN without one.
    unreadable_ : dict of str to str
        Path and reason of each unreadable image.
    cluster_centers_ : ndarray of shape (n_clusters, n_reduced), dtype float32
        In the space of the reducer; means, where the clusterer knows no centres.
    cluster_names_ : list of str, of length n_clusters
        ``"cluster_0"``, … until `set_cluster_names` gives others.
    inertia_ : float
        Sum of squared distances to the centres, in the space of the reducer.

    Notes
    -----
    Rows that would not fit in scikit-learn's ``working_memory`` with the copies that
    reducing them makes (1024 MiB by default, so 32,768 rows of 2048) are never held
    together: the reducer is fitted on a random sample of that size, and rows are reduced as
    they come. ``sklearn.config_context(working_memory=...)`` moves that border.

    Examples
    --------
    >>> import numpy as np
    >>> from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer
    >>> images = [np.full((64, 64, 3), grey, dtype=np.uint8) for grey in (0, 4, 250, 255)]
    >>> featurizer = ResNetFeaturizer(weights=None, input_shape=(64, 64), cache=None)
    >>> clusterer = ImageFolderClusterer(2, featurizer=featurizer, random_state=0)
    >>> labels = clusterer.fit_predict(images)
    >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "featurizer": [HasMethods(["fit", "transform"]), None],
        "reducer": [StrOptions(REDUCERS), HasMethods(["fit", "transform"]), None],
        "clusterer": [HasMethods(["fit", "predict"]), HasMethods(["fit_predict"]), None],
        "unreadable": [StrOptions({"skip", "raise"})],
        "random_state": ["random_state"],
    }

    _cluster_names: list[str] | None = None  # None: the default ones

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

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> ImageFolderClusterer:
        """Cluster images.

        Parameters
        ----------
        X : str, path-like or sequence of length n
            A folder, or images as `ResNetFeaturizer.transform` takes them.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        ImageFolderClusterer
            Itself, fitted.

        Raises
        ------
        NoImagesError, TooFewImagesError
            If there are no images, or fewer readable ones than clusters.
        UnreadableImagesError
            If images cannot be read and ``unreadable="raise"``.
        """
        sources = self._sources(X)
        n_clusters = self._number(sources)
        featurizer = prepare_featurizer(self.featurizer, self.unreadable).fit(sources)
        fitted = fit_reducer(
            sources,
            featurizer,
            lambda features: self._reducer_for(features, n_clusters),
            self.random_state,
        )
        if fitted is None:
            raise UnreadableImagesError(_reasons(sources))
        reducer, reduced = fitted
        readable, clusterer = self._to_cluster(reduced, n_clusters)
        if number_name(clusterer) and len(readable) < n_clusters:
            raise TooFewImagesError(len(readable), n_clusters)
        with one_thread_if_small(len(readable)):
            clusterer.fit(readable)
        self._cluster_names = None
        self.pipeline_ = _pipeline(featurizer, reducer, clusterer)
        self._describe(sources, reduced)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the cluster of each image.

        Parameters
        ----------
        X : str, path-like or sequence of length n
            As for `fit`.

        Returns
        -------
        ndarray of shape (n,), dtype int32
            -1 for an image that cannot be read; -2 for noise, with a clusterer that knows
            noise where most of the nearest images of the fit are that.

        Raises
        ------
        WeightsMismatchError
            If the network at hand is not the one of the fit.
        """
        check_is_fitted(self)
        clusterer = self.pipeline_["clusterer"]
        reduced = self._reduced(X)
        return np.concatenate([rows.predict(clusterer, block) for block in reduced])

    def transform(self, X: Any) -> np.ndarray:
        """Return the distances of images to the cluster centres.

        Parameters
        ----------
        X : str, path-like or sequence of length n
            As for `fit`.

        Returns
        -------
        ndarray of shape (n, n_clusters), dtype float32
            In the space of the reducer; NaN for an image that cannot be read.
        """
        check_is_fitted(self)
        centers = self.cluster_centers_
        return np.concatenate([rows.distances(block, centers) for block in self._reduced(X)])

    def score(self, X: Any, y: Any = None) -> float:
        """Return the modularity of the predicted labels on the images' neighbour graph.

        Newman and Girvan (2004), resolution 1.5, on the graph of the 3 nearest neighbours
        of each image in the space of the features. KMeans' own score grows with
        `n_clusters`, and silhouettes pick far too few; with this GridSearchCV picks a
        sensible number. Above 10,000 images it is that of 10,000 drawn at random.

        Parameters
        ----------
        X : str, path-like or sequence of length n
            As for `fit`.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        float
            From -1 to 1; -1 where all images are in one cluster, or fewer than 3.
        """
        return modularity_score(*self.features_and_labels(X))

    def features_and_labels(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the features and labels of readable images, of at most 10,000 drawn at random.

        Parameters
        ----------
        X : str, path-like or sequence of length n
            As for `fit`.

        Returns
        -------
        features : ndarray of shape (n_readable, d), dtype float32
            What the network makes of them.
        labels : ndarray of shape (n_readable,), dtype int32
            As `predict` returns them.
        """
        check_is_fitted(self)
        featurizer, reducer, clusterer = (step for _, step in self.pipeline_.steps)
        sources = self._sources(X)
        drawn = [sources[i] for i in rows.sample(len(sources), MAX_ROWS, random_state=0)]
        features = rows.features_of(featurizer, drawn)
        labels = rows.predict(clusterer, rows.reduce(reducer, features))
        readable = labels != UNREADABLE
        return features[readable], labels[readable]

    @property
    def cluster_names_(self) -> list[str]:
        """Names of the clusters; two clusters of one name are one folder."""
        return self._cluster_names or default_cluster_names(len(self.cluster_centers_))

    def set_cluster_names(self, names: Sequence[str] | Mapping[int, str]) -> ImageFolderClusterer:
        """Name the clusters; labels and centres stay as they are.

        Equal names merge clusters where folders are written or shown. The next `fit`
        forgets all names.

        Parameters
        ----------
        names : sequence of str, of length n_clusters, or mapping of int to str
            All names, or those of some labels.

        Returns
        -------
        ImageFolderClusterer
            Itself.

        Raises
        ------
        ClusterNameError
            If some system takes no folder of such a name, or there is no such cluster.
        """
        check_is_fitted(self)
        self._cluster_names = renamed(self.cluster_names_, names)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file that holds no code.

        It holds parameters, centres, names and the network's fingerprint; neither the network nor
        the images of the fit with their labels. Pickle and joblib keep those too.

        Parameters
        ----------
        path : str or path-like
            ``.safetensors`` by custom.

        Raises
        ------
        ModelFileError
            If a step is a custom one, or the file cannot be written.
        """
        check_is_fitted(self)
        save_clusterer(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **featurizer_params: Any) -> ImageFolderClusterer:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : str or path-like
            A file, which is read without running any code from it.
        **featurizer_params
            Parameters of `ResNetFeaturizer` that differ here, ``weights=PATH`` for example.

        Raises
        ------
        ModelFileError
            If it is no whole and unchanged model file of a known format.
        """
        saved = load_clusterer(path, featurizer_params)
        model = cls(**saved.parameters)
        model.pipeline_ = _pipeline(saved.featurizer, saved.reducer, saved.clusterer)
        model.cluster_centers_ = saved.clusterer.cluster_centers_
        model.inertia_ = saved.clusterer.inertia_
        model._cluster_names = saved.names
        return model

    def _sources(self, X: Any) -> list[Any]:
        if not isinstance(X, (str, os.PathLike)):
            return as_sources(X)
        return list(require_images(X))

    def features_to_choose_by(self, X: Any) -> np.ndarray:
        """Return the features of readable images, of at most 10,000 drawn at random.

        Parameters
        ----------
        X : str, path-like or sequence of length n
            As for `fit`.

        Returns
        -------
        ndarray of shape (n_readable, d), dtype float32
            What the network makes of them.
        """
        sources = self._sources(X)
        drawn = [sources[i] for i in rows.sample(len(sources), MAX_ROWS, random_state=0)]
        features = rows.features_of(
            prepare_featurizer(self.featurizer, self.unreadable).fit(drawn), drawn
        )
        readable = rows.select_readable(features, rows.is_readable(features))
        if not len(readable):
            raise UnreadableImagesError(_reasons(sources))
        return readable

    def new_steps(self, shape: tuple[int, int], n_clusters: int) -> Pipeline:
        """Return the unfitted steps from features of this shape to labels.

        Parameters
        ----------
        shape : tuple of int
            Number of rows, number of features.
        n_clusters : int
            Number of clusters, in place of that of the parameters.

        Returns
        -------
        Pipeline
            Of the steps ``reducer`` and ``clusterer``.
        """
        reducer = self._new_reducer(shape, n_clusters)
        clusterer = new_clusterer(self.clusterer, n_clusters, shape[0], self.random_state)
        return Pipeline([("reducer", reducer), ("clusterer", clusterer)])

    def _number(self, sources: list[Any]) -> int:
        """Return the number of clusters, chosen where it is "auto"."""
        if not isinstance(self.n_clusters, str):
            return self.n_clusters
        if not self._takes_number():
            return 2  # the clusterer finds its own
        features = self.features_to_choose_by(sources)
        candidates = range(2, MAX_CHOSEN + 1)
        return choose(features, candidates, lambda k: self.new_steps(features.shape, k)).n_clusters

    def _to_cluster(self, reduced: np.ndarray, n_clusters: int) -> tuple[np.ndarray, Any]:
        """Return the readable rows and the unfitted clusterer for so many."""
        readable = rows.select_readable(reduced, rows.is_readable(reduced))
        n_rows = len(readable)
        return readable, new_clusterer(self.clusterer, n_clusters, n_rows, self.random_state)

    def _reducer_for(self, features: np.ndarray, n_clusters: int) -> Any:
        """Return an unfitted reducer for features, unless they are all the same."""
        if n_clusters != 1 and len(features) > 1 and (features == features[0]).all():
            raise ConstantFeaturesError(len(features))
        return self._new_reducer(features.shape, n_clusters)

    def _new_reducer(self, shape: tuple[int, int], n_clusters: int) -> Any:
        known = n_clusters if self._takes_number() else None
        return new_reducer(self.reducer, shape, known, self.random_state)

    def _takes_number(self) -> bool:
        return self.clusterer is None or number_name(self.clusterer) is not None

    def _reduced(self, X: Any) -> Iterator[np.ndarray]:
        featurizer, reducer, _ = (step for _, step in self.pipeline_.steps)
        width = self.cluster_centers_.shape[1]
        return reduce_blocks(self._sources(X), featurizer, reducer, width)

    def _describe(self, sources: list[Any], reduced: np.ndarray) -> None:
        self.image_paths_ = [
            source if isinstance(source, (str, os.PathLike)) else source_name(source, i)
            for i, source in enumerate(sources)
        ]
        clusterer = self.pipeline_["clusterer"]
        self.labels_ = rows.labels_of_fit(clusterer, reduced)
        self.unreadable_ = _reasons(sources, np.flatnonzero(self.labels_ == UNREADABLE))
        self.cluster_centers_ = rows.centers_of(clusterer, reduced, self.labels_)
        self.distances_ = rows.own_distances(reduced, self.cluster_centers_, self.labels_)
        self.inertia_ = float(getattr(clusterer, "inertia_", np.nansum(self.distances_**2)))

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.allow_nan = False
        return tags


def _pipeline(featurizer: Any, reducer: Any, clusterer: Any) -> Pipeline:
    return Pipeline([("featurizer", featurizer), ("reducer", reducer), ("clusterer", clusterer)])


def _reasons(sources: list[Any], positions: Any = None) -> dict[str, str]:
    """Return why images cannot be read, by reading them once more."""
    changed = "it can be read now: the network gives NaN for it, or it was mended meanwhile"
    positions = range(len(sources)) if positions is None else positions
    found = {source_name(sources[i], i): reason_unreadable(sources[i]) for i in positions}
    return {name: reason or changed for name, reason in found.items()}
