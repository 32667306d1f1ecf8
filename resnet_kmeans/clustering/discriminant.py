"""Defines `ClusterDiscriminantAnalysis`, linear discriminant analysis without labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

from resnet_kmeans._parameters import RANDOM_STATE, Whole
from resnet_kmeans.clustering.hellinger import (
    MAX_ROWS,
    principal_components,
    scaled,
    select_training_rows,
)
from resnet_kmeans.clustering.memory_cache import cached
from resnet_kmeans.clustering.mixture import TiedMixture, fit_tied_mixture
from resnet_kmeans.clustering.neighbors import jaccard_graph, nearest
from resnet_kmeans.clustering.rows import MAX_COMPONENTS
from resnet_kmeans.clustering.spectral import n_vectors, spectral_labels, spectrum
from resnet_kmeans.clustering.threads import one_thread, one_thread_if_small

# Chosen, as the constants of the rounds, by measurements on labeled sets.
N_NEIGHBORS = (10, 15, 25)  # of the graphs whose mean is clustered
REFERENCE = 15  # neighbors on whose graph labels of one round are compared
N_ROUNDS = 3
MANY = 32  # with more clusters, all components are whitened, otherwise the first half
FIRST_SHARE = 0.25  # of the first graph in those of later rounds
BLOCK_ROWS = 4_096  # rows scaled at a time: 32 MiB for 2048 float32 features


class ClusterDiscriminantAnalysis(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Linear discriminant analysis with labels found by clustering.

    Rows are scaled by the Hellinger map (the square root of each feature, then unit length),
    and their dimension is reduced by PCA. Labels are then found in three rounds. In the first
    round, spectral clustering of a mean of three nearest-neighbor graphs gives initial labels,
    and a mixture of Gaussians with a shared covariance is fitted to them. Each further round
    repeats both steps on rows whitened by that covariance. `transform` projects rows onto the
    directions in which the means of the last mixture differ.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters to separate.
    max_rows : int, default=5000
        Maximum number of rows to learn from. If there are more, a fixed random sample is used,
        so that time and memory no longer grow with the number of rows.
    random_state : int, RandomState instance or None, default=None
        Determines the initializations of KMeans in spectral clustering. Use an int for
        reproducible results.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features_in_)
        The directions; n_components is min(n_clusters - 1, 128), or less if there are few rows.
    intercept_ : ndarray of shape (n_components,)
        Added to the product of scaled rows and directions, so that the projected rows of the
        fit have a mean of zero.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of features seen during `fit`. Defined only if `X` has feature names that are all
        strings.

    See Also
    --------
    sklearn.discriminant_analysis.LinearDiscriminantAnalysis : The same with given labels.

    Notes
    -----
    PCA and the first graph do not depend on `n_clusters`, and the eigenvectors of the graph
    depend on it only in their number, which is 32, 64 or 128. All are cached in memory, so that
    fits to the same rows in one process share them.

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
    >>> X[:45, :4] += 8
    >>> reducer = ClusterDiscriminantAnalysis(2, random_state=0)
    >>> pipeline = make_pipeline(reducer, KMeans(2, random_state=0))
    >>> labels = pipeline.fit_predict(X)
    >>> int((labels[:45] == labels[0]).sum()), int((labels[45:] == labels[0]).sum())
    (45, 0)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "n_clusters": [Whole(1)],
        "max_rows": [Whole(2)],
        "random_state": RANDOM_STATE,
    }

    def __init__(self, n_clusters: int = 8, *, max_rows: int = MAX_ROWS, random_state: Any = None):
        self.n_clusters = n_clusters
        self.max_rows = max_rows
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> ClusterDiscriminantAnalysis:
        """Learn the directions.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows to learn from, such as features of a network.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        ClusterDiscriminantAnalysis
            The fitted transformer itself.
        """
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        rows = select_training_rows(X, self.max_rows)
        n_clusters = min(self.n_clusters, len(rows))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        axes, mean, reduced = principal_components(rows)
        labels = cluster_in_rounds(
            rows, reduced, lambda into, _: into(n_clusters), n_clusters, seed
        )
        with one_thread():
            directions = _directions(fit_tied_mixture(reduced, labels, n_clusters))
        components = directions.T @ axes
        self.components_ = components.astype(X.dtype)
        self.intercept_ = (-(components @ mean)).astype(X.dtype)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Project rows onto the learned directions.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows to project, with the same features as in `fit`.

        Returns
        -------
        ndarray of shape (n, n_components), dtype float32 or float64 as `X`
            Projected rows. The projected rows of the fit have a mean of zero.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        projected = np.empty((len(X), len(self.components_)), dtype=X.dtype)
        for block in gen_batches(len(X), BLOCK_ROWS):
            projected[block] = scaled(X[block]) @ self.components_.T + self.intercept_
        return projected

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def cluster_in_rounds(
    rows: np.ndarray,
    reduced: np.ndarray,
    choose: Callable[[Callable[[int], np.ndarray], bool], np.ndarray],
    max_clusters: int,
    seed: int,
) -> np.ndarray:
    """Cluster rows by the spectrum of a graph that gets better from round to round.

    The graph is the mean of three, of the 10, 15 and 25 nearest neighbors of each row. In the
    first round, neighbors are those of the features. In each further round, they are those of
    rows whitened by the covariance within the clusters of the round before, and the first graph
    is mixed in.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    reduced : ndarray of shape (n, r)
        Their `principal_components`, which are whitened.
    choose : callable
        Called once a round with a function from a number of clusters to labels of the rows,
        and with whether it is the last round; returns the labels to go on with.
    max_clusters : int
        Largest number of clusters that `choose` asks for.
    seed : int
        Random state of KMeans.

    Returns
    -------
    ndarray of shape (n,), dtype int32
        Labels from 0 on.
    """
    width = n_vectors(max_clusters)
    neighbors, first_graph = _first_graph(rows)
    (vectors,) = cached(_compute_first_vectors, rows, width)
    # Only modularities on the same graph can be compared.
    reference = neighbors[:, :REFERENCE]
    with one_thread():  # for products with 128 columns, threads cost more than they save
        for n_rounds in range(1, N_ROUNDS + 1):
            into = partial(spectral_labels, neighbors, vectors, reference, seed)
            labels = choose(into, n_rounds == N_ROUNDS)
            if n_rounds == N_ROUNDS:
                break
            n_clusters = labels.max() + 1
            some = reduced if n_clusters > MANY else reduced[:, : MAX_COMPONENTS // 2]
            mixture = fit_tied_mixture(some, labels, n_clusters)
            neighbors = nearest(some @ mixture.whitening, max(N_NEIGHBORS))
            graph = FIRST_SHARE * first_graph + (1 - FIRST_SHARE) * _mean_graph(neighbors)
            vectors = spectrum(graph.tocsr(), width)
    return labels


def _first_graph(rows: np.ndarray) -> tuple[np.ndarray, csr_matrix]:
    neighbors, *parts = cached(_compute_first_graph, rows)
    return neighbors, csr_matrix(tuple(parts), shape=(len(rows), len(rows)))


def _compute_first_graph(rows: np.ndarray) -> tuple[np.ndarray, ...]:
    with one_thread_if_small(len(rows)):
        neighbors = nearest(rows, max(N_NEIGHBORS))
    graph = _mean_graph(neighbors)
    return neighbors, graph.data, graph.indices, graph.indptr


def _compute_first_vectors(rows: np.ndarray, n_vectors: int) -> tuple[np.ndarray, ...]:
    return (spectrum(_first_graph(rows)[1], n_vectors),)


def _mean_graph(neighbors: np.ndarray) -> csr_matrix:
    graphs = [jaccard_graph(neighbors[:, :n]) for n in N_NEIGHBORS]
    return (sum(graphs[1:], graphs[0]) / len(graphs)).tocsr()


def _directions(mixture: TiedMixture) -> np.ndarray:
    """Return the directions in which the means of a mixture differ, of shape (d, c)."""
    weights, means, whitening = mixture
    # After whitening within clusters, the discriminant directions are the principal axes of the
    # means (as in `_solve_svd` of LinearDiscriminantAnalysis).
    spread = ((means - weights @ means) @ whitening) * np.sqrt(weights)[:, None]
    _, _, axes = np.linalg.svd(spread, full_matrices=False)
    return whitening @ axes[: max(1, len(means) - 1)].T
