"""Builds nearest-neighbor graphs."""

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from resnet_kmeans.clustering.memory_cache import cached

# Similarities in memory at a time, 4 bytes each: 32 MiB. Without a limit, memory would grow with
# the square of the number of rows.
BLOCK_CELLS = 2**23


def nearest(rows: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Return the nearest neighbors of each row by cosine similarity.

    The search is exact. A row is not its own neighbor.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    n_neighbors : int
        Number of neighbors; at most n - 1 are returned.

    Returns
    -------
    ndarray of shape (n, min(n_neighbors, n - 1)), dtype int32
        Positions of the neighbors of each row, the nearest first.
    """
    unit = normalize(rows.astype(np.float32, copy=False))
    n_rows, n_found = len(unit), min(n_neighbors, len(unit) - 1)
    found = np.empty((n_rows, n_found), dtype=np.int32)
    for block in gen_batches(n_rows, max(1, BLOCK_CELLS // max(1, n_rows))):
        far = -(unit[block] @ unit.T)
        own = np.arange(block.start, block.stop)
        far[own - block.start, own] = np.inf
        # Partitioning finds the neighbors in linear time; only these are sorted.
        first = np.argpartition(far, max(0, n_found - 1), axis=1)[:, :n_found]
        order = np.take_along_axis(far, first, axis=1).argsort(axis=1, kind="stable")
        found[block] = np.take_along_axis(first, order, axis=1)
    return found


def cached_nearest(rows: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Return `nearest`, cached in memory for later calls with the same rows."""
    (neighbors,) = cached(_compute_nearest, rows, n_neighbors)
    return neighbors


def _compute_nearest(rows: np.ndarray, n_neighbors: int) -> tuple[np.ndarray, ...]:
    return (nearest(rows, n_neighbors),)


def jaccard_graph(neighbors: np.ndarray) -> csr_matrix:
    """Return the neighbor graph, weighted by the similarity of neighborhoods.

    The weight of an edge is the Jaccard index of the neighborhoods of its two rows, including
    the rows themselves (Levine et al. 2015, PhenoGraph). Rows of different groups have few
    neighbors in common, so an edge between them has a small weight.

    Parameters
    ----------
    neighbors : ndarray of shape (n, m)
        Result of `nearest`.

    Returns
    -------
    csr_matrix of shape (n, n)
        A symmetric matrix with ones on its diagonal.
    """
    n_rows = len(neighbors)
    around = np.column_stack([np.arange(n_rows, dtype=np.int32), neighbors])
    width = around.shape[1]
    weights = np.empty(around.shape)
    for block in gen_batches(n_rows, max(1, BLOCK_CELLS // width**3)):
        # Each neighbor of a row is compared with each neighbor of its neighbors: shape
        # (rows of the block, width, width, width).
        own, others = around[block, None, :, None], around[around[block]][:, :, None, :]
        n_common = (own == others).sum(axis=(2, 3))
        weights[block] = n_common / (2 * width - n_common)
    starts = np.arange(0, around.size + 1, width)
    graph = csr_matrix((weights.ravel(), around.ravel(), starts), shape=(n_rows, n_rows))
    # The Jaccard index is symmetric, but the nearest-neighbor relation is not.
    return graph.maximum(graph.T).tocsr()
