"""`ClusterDiscriminantAnalysis`: a space learnt from rows without labels."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from resnet_kmeans.clustering.mixture import TiedMixture, fit_tied_mixture
from resnet_kmeans.clustering.shared_work import shared
from resnet_kmeans.clustering.spectral import n_vectors, spectral_labels, spectrum
from resnet_kmeans.clustering.threads import one_thread, one_thread_if_small

PCA_COMPONENTS = 64
ROWS_PER_COMPONENT = 5  # at least; a covariance of more dimensions is mostly noise
BLOCK_ROWS = 4_096  # that are scaled at a time, 32 MiB for 2048 features


class ClusterDiscriminantAnalysis(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Learn the directions that tell the clusters of rows apart, without labels.

    Linear discriminant analysis on labels that the data give themselves, in two rounds.
    Rows are scaled (square root of each feature, then unit length: the Hellinger kernel)
    and shortened by PCA. First labels come from spectral clustering of the graph of
    nearest neighbours. Expectation maximisation of a Gaussian mixture with one shared
    covariance begins from these; rows are whitened by that covariance, and neighbours,
    graph, labels and mixture computed once more, in the whitened space. What is left of
    all this is one linear map, onto the directions in which the mixture's means differ.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters that the directions are to tell apart.
    max_rows : int, default=5000
        Rows that the map is learnt from; of more rows a sample, always the same. Time and
        memory grow no further from there on.
    random_state : int, RandomState instance or None, default=None
        Of the starts of KMeans within spectral clustering. An int makes a fit repeatable.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features_in_)
        Directions, n_components = min(n_clusters - 1, 64) unless rows are few.
    intercept_ : ndarray of shape (n_components,)
        Added to scaled rows times `components_`; it moves their mean to zero.
    n_features_in_ : int
        Number of features of the fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where `X` has names that are all strings.

    See Also
    --------
    sklearn.discriminant_analysis.LinearDiscriminantAnalysis : The same with given labels.

    Notes
    -----
    Of the same rows, PCA and the first round's eigenvectors are computed once a process:
    fits that differ in `n_clusters` alone share them.

    References
    ----------
    C. Ding and T. Li (2007), Adaptive dimension reduction using discriminant analysis and
    K-means clustering (LDA-KM), ICML.

    U. von Luxburg (2007), A tutorial on spectral clustering, Statistics and Computing 17.

    C. Fraley and A. E. Raftery (2002), Model-based clustering, discriminant analysis, and
    density estimation, Journal of the American Statistical Association 97.

    R. Arandjelovic and A. Zisserman (2012), Three things everyone should know to improve
    object retrieval, CVPR: the square root of features.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.pipeline import make_pipeline
    >>> from resnet_kmeans import ClusterDiscriminantAnalysis
    >>> X = np.random.default_rng(0).gamma(1.0, size=(90, 20))
    >>> X[:45, :4] += 3
    >>> pipeline = make_pipeline(ClusterDiscriminantAnalysis(2), KMeans(2, random_state=0))
    >>> labels = pipeline.fit_predict(X)
    >>> int((labels[:45] == labels[0]).sum()), int((labels[45:] == labels[0]).sum())
    (45, 0)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "max_rows": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, n_clusters: int = 8, *, max_rows: int = 5_000, random_state: Any = None):
        self.n_clusters = n_clusters
        self.max_rows = max_rows
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> ClusterDiscriminantAnalysis:
        """Learn the map.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Features, as a network gives them.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        ClusterDiscriminantAnalysis
            Itself, fitted.
        """
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        rows = select_training_rows(X, self.max_rows)
        n_clusters = min(self.n_clusters, len(rows))
        axes, mean, reduced, reference, vectors = first_round(rows, n_clusters)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with one_thread():  # products are of 64 columns
            labels = spectral_labels(reference, vectors, n_clusters, reference, seed)
            mixture = fit_tied_mixture(reduced, labels, n_clusters)
            again = spectrum(reduced @ mixture.whitening, n_vectors(n_clusters))
            labels = spectral_labels(*again, n_clusters, reference, seed)
            directions = _directions(fit_tied_mixture(reduced, labels, n_clusters))
        components = directions.T @ axes
        self.components_ = components.astype(X.dtype)
        self.intercept_ = (-(components @ mean)).astype(X.dtype)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Project rows onto the learnt directions.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Features, as for `fit`.

        Returns
        -------
        ndarray of shape (n, n_components), dtype float32 or float64 as `X`
            Their means are zero over the rows of the fit.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        projected = np.empty((len(X), len(self.components_)), dtype=X.dtype)
        for block in gen_batches(len(X), BLOCK_ROWS):
            projected[block] = _scaled(X[block]) @ self.components_.T + self.intercept_
        return projected

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def select_training_rows(features: np.ndarray, max_rows: int) -> np.ndarray:
    """Return the rows that a space is learnt from: all, or a sample that is always the same."""
    if len(features) <= max_rows:
        return features
    drawn = np.random.RandomState(0).choice(len(features), max_rows, replace=False)
    return features[np.sort(drawn)]


def first_round(rows: np.ndarray, n_clusters: int) -> tuple[np.ndarray, ...]:
    """Return what the first round computes of rows before it makes clusters of them.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    n_clusters : int

    Returns
    -------
    axes : ndarray of shape (r, d)
        Of PCA on scaled rows.
    mean : ndarray of shape (d,)
    reduced : ndarray of shape (n, r), dtype float64
    neighbours, vectors : ndarray
        As `spectrum` returns them.
    """
    return shared(_compute_first_round, rows, n_vectors(n_clusters))


def _compute_first_round(rows: np.ndarray, n_vectors: int) -> tuple[np.ndarray, ...]:
    scaled = _scaled(rows)
    n_components = max(1, min(PCA_COMPONENTS, rows.shape[1], len(rows) // ROWS_PER_COMPONENT))
    pca = PCA(n_components, random_state=0, iterated_power=7)
    with one_thread_if_small(len(rows)):
        reduced = pca.fit_transform(scaled).astype(np.float64)
        return pca.components_, pca.mean_, reduced, *spectrum(rows, n_vectors)


def _scaled(rows: np.ndarray) -> np.ndarray:
    roots: np.ndarray = normalize(np.copysign(np.sqrt(np.abs(rows)), rows), copy=False)
    return roots


def _directions(mixture: TiedMixture) -> np.ndarray:
    """Return the directions in which the means differ, for whitened rows; shape (d, c)."""
    weights, means, whitening = mixture
    spread = ((means - weights @ means) @ whitening) * np.sqrt(weights)[:, None]
    _, _, axes = np.linalg.svd(spread, full_matrices=False)
    directions: np.ndarray = whitening @ axes[: max(1, len(means) - 1)].T
    return directions
