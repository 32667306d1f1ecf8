"""Builds nearest-neighbour graphs to judge clusterings by."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from resnet_kmeans.clustering.shared_work import shared

# Similarities held at a time, 4 bytes each: 32 MiB, so that memory does not grow with the
# square of the number of rows.
BLOCK_CELLS = 2**23


def nearest(rows: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Return the nearest neighbours of each row by cosine similarity.

    The search is exact. A row is not its own neighbour.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    n_neighbors : int
        Number of neighbours; at most n - 1 are returned.

    Returns
    -------
    ndarray of shape (n, min(n_neighbors, n - 1)), dtype int32
        Positions of the neighbours of each row, the nearest first.
    """
    unit = normalize(rows.astype(np.float32, copy=False))
    n_rows, n_found = len(unit), min(n_neighbors, len(unit) - 1)
    found = np.empty((n_rows, n_found), dtype=np.int32)
    for block in gen_batches(n_rows, max(1, BLOCK_CELLS // max(1, n_rows))):
        far = -(unit[block] @ unit.T)
        own = np.arange(block.start, block.stop)
        far[own - block.start, own] = np.inf
        # Partitioning finds the neighbours in linear time; only these are sorted.
        first = np.argpartition(far, max(0, n_found - 1), axis=1)[:, :n_found]
        order = np.take_along_axis(far, first, axis=1).argsort(axis=1, kind="stable")
        found[block] = np.take_along_axis(first, order, axis=1)
    return found


def shared_nearest(rows: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Return `nearest`, cached in memory for later calls with the same rows."""
    (neighbours,) = shared(_compute_nearest, rows, n_neighbors)
    return neighbours


def _compute_nearest(rows: np.ndarray, n_neighbors: int) -> tuple[np.ndarray, ...]:
    return (nearest(rows, n_neighbors),)


def jaccard_graph(neighbours: np.ndarray) -> csr_matrix:
    """Return the neighbour graph with the similarity of neighbourhoods as weights.

    The weight of an edge is the Jaccard index of the neighbourhoods of its two rows, the rows
    included (Levine et al. 2015, PhenoGraph). Rows of different groups have few neighbours
    in common, so the edge between them has a small weight.

    Parameters
    ----------
    neighbours : ndarray of shape (n, m)
        Result of `nearest`.

    Returns
    -------
    csr_matrix of shape (n, n)
        A symmetric matrix with ones on its diagonal.
    """
    n_rows = len(neighbours)
    around = np.column_stack([np.arange(n_rows, dtype=np.int32), neighbours])
    width = around.shape[1]
    weights = np.empty(around.shape)
    for block in gen_batches(n_rows, max(1, BLOCK_CELLS // width**3)):
        # Each neighbour of a row is compared with each neighbour of its neighbours: shape
        # (rows of the block, width, width, width).
        own, others = around[block, None, :, None], around[around[block]][:, :, None, :]
        n_common = (own == others).sum(axis=(2, 3))
        weights[block] = n_common / (2 * width - n_common)
    starts = np.arange(0, around.size + 1, width)
    graph = csr_matrix((weights.ravel(), around.ravel(), starts), shape=(n_rows, n_rows))
    # The Jaccard index is symmetric, being a neighbour is not.
    return graph.maximum(graph.T).tocsr()


def modularity(neighbours: np.ndarray, labels: np.ndarray, resolution: float = 1.0) -> float:
    """Return the modularity of labels on a nearest-neighbour graph.

    Modularity is the share of edges within clusters, minus the share expected by chance.

    Parameters
    ----------
    neighbours : ndarray of shape (n, m)
        Result of `nearest`.
    labels : ndarray of shape (n,), dtype int
        Labels from 0 on.
    resolution : float, default=1
        Weight of the share expected by chance. Values above 1 favour more and smaller
        clusters.

    Returns
    -------
    float
        At most 1; higher is better.

    References
    ----------
    M. E. J. Newman and M. Girvan (2004), Finding and evaluating community structure in
    networks, Physical Review E 69.

    J. Reichardt and S. Bornholdt (2006), Statistical mechanics of community detection,
    Physical Review E 74: the resolution.
    """
    n_rows, n_neighbors = neighbours.shape
    # A link counts at both of its ends.
    degrees = np.bincount(neighbours.ravel(), minlength=n_rows) + n_neighbors
    shares = np.bincount(labels, weights=degrees) / degrees.sum()
    inside = (labels[:, None] == labels[neighbours]).mean()
    return float(inside - resolution * (shares**2).sum())
