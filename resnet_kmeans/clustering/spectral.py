"""Clusters rows by the eigenvectors of their neighbour graph."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import eigsh
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import normalize

from resnet_kmeans.clustering.neighbours import jaccard_graph, modularity, nearest
from resnet_kmeans.clustering.threads import one_thread

# Measured over labelled sets, as all constants of this module: 10 to 20 neighbours do alike.
N_NEIGHBORS = 15
POWER = 2  # of an eigenvalue, which damps eigenvectors that tell less of the groups
SMOOTHED = 5  # rows, itself and the nearest, whose embeddings are averaged
MAX_VECTORS = 64
DENSE_UP_TO = 4 * MAX_VECTORS  # rows; ARPACK finds no more than some of all eigenvectors
# Of two embeddings the one of more dimensions, unless its clusters have clearly less
# modularity: two scenes in 120 crops of photos, of which each falls into parts.
TOLERANCE = 0.98


def n_vectors(n_clusters: int) -> int:
    """Return how many eigenvectors serve for so many clusters; few different numbers."""
    return MAX_VECTORS if 4 * n_clusters > MAX_VECTORS else MAX_VECTORS // 2


def spectrum(rows: np.ndarray, n_vectors: int) -> tuple[np.ndarray, np.ndarray]:
    """Return neighbours of rows, and the leading eigenvectors of their graph.

    The graph is that of the nearest neighbours, weighted by `jaccard_graph`; eigenvectors
    are those of its random walk (Shi and Malik 2000; von Luxburg 2007), times their
    eigenvalues to the power of two.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    n_vectors : int
        At most n are returned.

    Returns
    -------
    neighbours : ndarray of shape (n, m), dtype int32
    vectors : ndarray of shape (n, n_vectors), dtype float32
        The leading one first.
    """
    neighbours = nearest(rows, N_NEIGHBORS)
    graph = jaccard_graph(neighbours)
    roots = np.sqrt(np.asarray(graph.sum(axis=1)).ravel())
    values, vectors = _leading(diags(1 / roots) @ graph @ diags(1 / roots), n_vectors)
    vectors = vectors / roots[:, None]
    vectors *= np.maximum(values, 0) ** POWER / np.linalg.norm(vectors, axis=0)
    return neighbours, vectors.astype(np.float32)


def _leading(matrix: csr_matrix, n_vectors: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalues of a symmetric matrix, falling, with their vectors."""
    n_rows = matrix.shape[0]
    if n_rows <= DENSE_UP_TO:
        values, vectors = np.linalg.eigh(matrix.toarray())
    else:
        begin = np.random.RandomState(0).rand(n_rows)  # ARPACK's own changes with each call
        with one_thread():
            values, vectors = eigsh(matrix, k=n_vectors, which="LA", v0=begin, tol=1e-4)
    leading = np.argsort(-values, kind="stable")[:n_vectors]
    return values[leading], vectors[:, leading]


def embed(neighbours: np.ndarray, vectors: np.ndarray, n_dimensions: int) -> np.ndarray:
    """Return a spectral embedding: eigenvectors averaged over neighbours, of unit length.

    Parameters
    ----------
    neighbours, vectors : ndarray
        As `spectrum` returns them.
    n_dimensions : int

    Returns
    -------
    ndarray of shape (n, n_dimensions), dtype float32
    """
    leading = vectors[:, :n_dimensions]
    near = leading[neighbours[:, : SMOOTHED - 1]].sum(axis=1)
    embedded: np.ndarray = normalize(leading + near)
    return embedded


def spectral_labels(
    neighbours: np.ndarray, vectors: np.ndarray, n_clusters: int, reference: np.ndarray, seed: int
) -> np.ndarray:
    """Return clusters of the embedding of 2k dimensions, or of k where those are better.

    Parameters
    ----------
    neighbours, vectors : ndarray
        As `spectrum` returns them.
    n_clusters : int
        k.
    reference : ndarray of shape (n, m)
        Neighbours on which modularity says which embedding is the better one.
    seed : int

    Returns
    -------
    ndarray of shape (n,), dtype int32
    """
    widths = sorted({min(width, vectors.shape[1]) for width in (n_clusters, 2 * n_clusters)})
    kmeans = KMeans(n_clusters, n_init=10, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of rows that are all alike
        found = [kmeans.fit(embed(neighbours, vectors, width)).labels_ for width in widths]
    scores = [modularity(reference, labels) for labels in found]
    labels: np.ndarray = found[-1] if scores[-1] >= TOLERANCE * max(scores) else found[0]
    return labels
