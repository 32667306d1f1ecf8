"""Clusters rows by the eigenvectors of their nearest-neighbor graph."""

import warnings
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import eigsh
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import normalize

from resnet_kmeans.clustering.rows import sample
from resnet_kmeans.clustering.scores import modularity
from resnet_kmeans.clustering.threads import one_thread

# The constants of this module were chosen by measurements on labeled sets.
POWER = 2  # eigenvectors are scaled by this power of their eigenvalues, which damps later ones
SMOOTHED = 5  # rows averaged in the embedding: a row and its 4 nearest neighbors
MAX_VECTORS = 128
DENSE_UP_TO = 4 * MAX_VECTORS  # rows; ARPACK needs more rows than eigenvectors
N_INIT = 3  # of KMeans; 10 gave no better labels
SEED_ROWS = 10  # for each cluster, rows among which KMeans looks for its initial centers
# The embedding of 2k dimensions is used if its modularity is at least this share of that of k
# dimensions. It is clearly worse if clusters consist of distinct parts, as in 120 crops of two
# scenes.
TOLERANCE = 0.98


def n_vectors(n_clusters: int) -> int:
    """Return the number of eigenvectors to compute for a number of clusters."""
    # Few different numbers, so that fits with different n_clusters share the vectors.
    return next((n for n in (32, 64) if n >= 2 * n_clusters), MAX_VECTORS)


def spectrum(graph: csr_matrix, n_vectors: int) -> np.ndarray:
    """Return the leading eigenvectors of a graph.

    They are those of the random walk on it (Shi and Malik 2000; von Luxburg 2007), each scaled
    by the square of its eigenvalue.

    Parameters
    ----------
    graph : csr_matrix of shape (n, n)
        Symmetric weights.
    n_vectors : int
        Number of eigenvectors; at most n are returned.

    Returns
    -------
    ndarray of shape (n, n_vectors), dtype float32
        Eigenvectors in descending order of the eigenvalues.
    """
    # The symmetric matrix has the same eigenvalues as the random walk. Its eigenvectors, divided
    # by the square roots of the degrees, are those of the random walk.
    roots = np.sqrt(np.asarray(graph.sum(axis=1)).ravel())
    values, vectors = _leading(diags(1 / roots) @ graph @ diags(1 / roots), n_vectors)
    vectors = vectors / roots[:, None]
    vectors *= np.maximum(values, 0) ** POWER / np.linalg.norm(vectors, axis=0)
    return vectors.astype(np.float32)


def _leading(matrix: csr_matrix, n_vectors: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalues of a symmetric matrix, descending, and their vectors."""
    n_rows = matrix.shape[0]
    if n_rows <= DENSE_UP_TO:
        values, vectors = np.linalg.eigh(matrix.toarray())
    else:
        begin = np.random.RandomState(0).rand(n_rows)  # ARPACK's default start is random
        with one_thread():
            values, vectors = eigsh(matrix, k=n_vectors, which="LA", v0=begin, tol=1e-4)
    leading = np.argsort(-values, kind="stable")[:n_vectors]
    return values[leading], vectors[:, leading]


def embed(neighbors: np.ndarray, vectors: np.ndarray, n_dimensions: int) -> np.ndarray:
    """Return the spectral embedding, averaged over neighbors and scaled to unit length.

    Parameters
    ----------
    neighbors : ndarray of shape (n, m)
        Result of `nearest`.
    vectors : ndarray of shape (n, n_vectors)
        Result of `spectrum`.
    n_dimensions : int
        Number of eigenvectors to use.

    Returns
    -------
    ndarray of shape (n, n_dimensions), dtype float32
    """
    leading = vectors[:, :n_dimensions]
    # The sum has the direction of the mean; its length does not matter.
    near = leading[neighbors[:, : SMOOTHED - 1]].sum(axis=1)
    return normalize(leading + near)


def _seeds(rows: np.ndarray, n_clusters: int, random_state: Any) -> np.ndarray:
    """Return initial centers, by k-means++ on a part of the rows."""
    # On all rows, it would take most of the time if there are many, and gave no better labels.
    drawn = sample(len(rows), SEED_ROWS * n_clusters, random_state)
    return np.asarray(kmeans_plusplus(rows[drawn], n_clusters, random_state=random_state)[0])


def spectral_labels(
    neighbors: np.ndarray, vectors: np.ndarray, reference: np.ndarray, seed: int, n_clusters: int
) -> np.ndarray:
    """Return the labels of spectral clustering into k clusters.

    The embeddings of k and of 2k dimensions are both clustered. The labels of the latter are
    returned unless their modularity is clearly lower.

    Parameters
    ----------
    neighbors : ndarray of shape (n, m)
        Result of `nearest`.
    vectors : ndarray of shape (n, n_vectors)
        Result of `spectrum`.
    reference : ndarray of shape (n, m)
        The nearest-neighbor graph on which modularity is computed.
    seed : int
        Random state of KMeans.
    n_clusters : int
        k.

    Returns
    -------
    ndarray of shape (n,), dtype int32
    """
    widths = sorted({min(width, vectors.shape[1]) for width in (n_clusters, 2 * n_clusters)})
    kmeans = KMeans(n_clusters, init=_seeds, n_init=N_INIT, random_state=seed)
    with warnings.catch_warnings():
        # KMeans warns if fewer than k rows are distinct.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = [kmeans.fit(embed(neighbors, vectors, width)).labels_ for width in widths]
    scores = [modularity(reference, labels) for labels in found]
    return found[-1] if scores[-1] >= TOLERANCE * max(scores) else found[0]
