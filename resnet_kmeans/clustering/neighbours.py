"""Graphs of nearest neighbours, with what they say about a clustering."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

# Similarities that are held at a time, 4 bytes each: 32 MiB, for memory that does not grow
# with the square of the rows.
BLOCK_CELLS = 2**23


def nearest(rows: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Return the nearest other rows of each row by cosine, exactly.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    n_neighbors : int
        At most n - 1 are returned.

    Returns
    -------
    ndarray of shape (n, min(n_neighbors, n - 1)), dtype int32
        Positions, the nearest first.
    """
    unit = normalize(rows.astype(np.float32, copy=False))
    n_rows, n_found = len(unit), min(n_neighbors, len(unit) - 1)
    found = np.empty((n_rows, n_found), dtype=np.int32)
    for block in gen_batches(n_rows, max(1, BLOCK_CELLS // max(1, n_rows))):
        far = -(unit[block] @ unit.T)
        own = np.arange(block.start, block.stop)
        far[own - block.start, own] = np.inf  # a row is not its own neighbour
        first = np.argpartition(far, max(0, n_found - 1), axis=1)[:, :n_found]
        order = np.take_along_axis(far, first, axis=1).argsort(axis=1, kind="stable")
        found[block] = np.take_along_axis(first, order, axis=1)
    return found


def jaccard_graph(neighbours: np.ndarray) -> csr_matrix:
    """Return the graph whose edges weigh what two rows' neighbourhoods have in common.

    The weight is the Jaccard index of the neighbourhoods, rows themselves included (Levine
    et al. 2015, PhenoGraph): an edge between groups, which have few neighbours in common,
    weighs little.

    Parameters
    ----------
    neighbours : ndarray of shape (n, m)
        As `nearest` returns them.

    Returns
    -------
    csr_matrix of shape (n, n)
        Symmetric; a row is linked to itself with weight 1.
    """
    n_rows = len(neighbours)
    around = np.column_stack([np.arange(n_rows, dtype=np.int32), neighbours])
    width = around.shape[1]
    weights = np.empty(around.shape)
    for block in gen_batches(n_rows, max(1, BLOCK_CELLS // width**3)):
        own, others = around[block, None, :, None], around[around[block]][:, :, None, :]
        shared = (own == others).sum(axis=(2, 3))
        weights[block] = shared / (2 * width - shared)
    starts = np.arange(0, around.size + 1, width)
    graph = csr_matrix((weights.ravel(), around.ravel(), starts), shape=(n_rows, n_rows))
    return graph.maximum(graph.T).tocsr()


def modularity(neighbours: np.ndarray, labels: np.ndarray, resolution: float = 1.0) -> float:
    """Return how many more edges lie within clusters than would by chance.

    Newman and Girvan (2004), Finding and evaluating community structure in networks, with
    the resolution of Reichardt and Bornholdt (2006).

    Parameters
    ----------
    neighbours : ndarray of shape (n, m)
        As `nearest` returns them.
    labels : ndarray of shape (n,), dtype int
        From 0 on.
    resolution : float, default=1
        Above 1, more and smaller clusters are preferred.

    Returns
    -------
    float
        At most 1.
    """
    n_rows, n_neighbors = neighbours.shape
    degrees = np.bincount(neighbours.ravel(), minlength=n_rows) + n_neighbors
    shares = np.bincount(labels, weights=degrees) / degrees.sum()
    inside = (labels[:, None] == labels[neighbours]).mean()
    return float(inside - resolution * (shares**2).sum())
