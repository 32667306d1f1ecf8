"""Lays rows out as a map in two dimensions."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

MIN_TSNE = 10  # points; t-SNE of fewer shows nothing that PCA does not


def project(rows: np.ndarray, projection: str = "auto") -> tuple[np.ndarray, str]:
    """Return rows as points of a map, and in words how that was made.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    projection : {"auto", "pca", "tsne", "umap"}, default="auto"
        ``"auto"`` is t-SNE, or PCA below 10 rows.

    Returns
    -------
    points : ndarray of shape (n, 2)
        From 0 to 1, in the middle of the square, proportions kept.
    words : str
    """
    if projection not in ("auto", "pca", "tsne", "umap"):
        raise ValueError(
            f"Expected a projection of 'auto', 'pca', 'tsne' or 'umap', got {projection!r}. "
            "Nothing was drawn."
        )
    if min(rows.shape) < 3 or (projection == "auto" and len(rows) < MIN_TSNE):
        projection = "pca"
    points, words = {"umap": _umap, "pca": _pca}.get(projection, _tsne)(rows)
    points = points - points.min(axis=0)
    points = points / max(float(points.max()), 1e-9)
    return points + (1 - points.max(axis=0)) / 2, words


def _pca(rows: np.ndarray) -> tuple[np.ndarray, str]:
    n_components = min(2, *rows.shape)
    points = np.zeros((len(rows), 2))
    if len(rows) > 1:
        points[:, :n_components] = PCA(n_components).fit_transform(rows)
    return points, "PCA: the two directions in which the images differ most"


def _tsne(rows: np.ndarray) -> tuple[np.ndarray, str]:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(rows) - 1) / 3)  # scikit-learn's default, fewer for few rows
    # Its threads wait for each other in a loop: on a busy machine 28 s instead of 4 s.
    with threadpool_limits(1, user_api="openmp"):
        points = TSNE(perplexity=perplexity, random_state=0).fit_transform(rows)
    return points, "t-SNE: neighbours stay together, distances between groups mean little"


def _umap(rows: np.ndarray) -> tuple[np.ndarray, str]:
    try:
        from umap import UMAP
    except ImportError as error:
        message = "projection='umap' needs the umap extra: pip install 'resnet-kmeans[umap]'"
        raise ImportError(message) from error
    n_neighbors = min(15, len(rows) - 1)
    points = UMAP(n_neighbors=n_neighbors, random_state=0, n_jobs=1).fit_transform(rows)
    return points, "UMAP: neighbours stay together, distances between groups mean little"
