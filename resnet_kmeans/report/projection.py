"""Projects rows onto a map in two dimensions."""

import numpy as np

from resnet_kmeans.exceptions import ExtraNotInstalledError

MIN_TSNE = 10  # rows; for fewer, t-SNE shows no more than PCA


def project(rows: np.ndarray, projection: str = "auto") -> tuple[np.ndarray, str]:
    """Return the points of a map, with a caption that names the method.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    projection : {"auto", "pca", "tsne", "umap"}, default="auto"
        ``"auto"`` uses t-SNE, or PCA for fewer than 10 rows. Fewer than 3 rows or columns
        always use PCA.

    Returns
    -------
    points : ndarray of shape (n, 2)
        Coordinates from 0 to 1. The aspect ratio is kept, and the shorter side is centered.
    caption : str

    Raises
    ------
    ImportError
        If `projection` is ``"umap"`` and umap-learn is not installed.
    ValueError
        If `projection` is unknown.
    """
    if projection not in ("auto", "pca", "tsne", "umap"):
        raise ValueError(
            f"Expected projection to be 'auto', 'pca', 'tsne' or 'umap', got {projection!r}. "
            "Nothing was drawn. Choose one of these."
        )
    are_equal = bool((rows == rows[0]).all())  # t-SNE of equal rows crashes
    if are_equal or min(rows.shape) < 3 or (projection == "auto" and len(rows) < MIN_TSNE):
        projection = "pca"
    points, words = {"umap": _umap, "pca": _pca}.get(projection, _tsne)(rows)
    points = points - points.min(axis=0)
    points = points / max(float(points.max()), 1e-9)  # equal rows are all at 0
    return points + (1 - points.max(axis=0)) / 2, words


def _pca(rows: np.ndarray) -> tuple[np.ndarray, str]:
    from sklearn.decomposition import PCA

    n_components = min(2, *rows.shape)
    points = np.zeros((len(rows), 2))
    if len(rows) > 1:
        with np.errstate(invalid="ignore"):  # equal rows have no variance
            points[:, :n_components] = PCA(n_components).fit_transform(rows)
    return points, "PCA: the two directions of greatest variance"


def _tsne(rows: np.ndarray) -> tuple[np.ndarray, str]:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    # 30 is scikit-learn's default; the perplexity must be smaller than the number of rows.
    perplexity = min(30.0, (len(rows) - 1) / 3)
    # One thread, because OpenMP threads wait in busy loops: on a loaded machine, t-SNE took 28 s
    # instead of 4 s.
    with threadpool_limits(1, user_api="openmp"):
        points = TSNE(perplexity=perplexity, random_state=0).fit_transform(rows)
    return points, "t-SNE: neighbors stay together; distances between groups mean little"


def _umap(rows: np.ndarray) -> tuple[np.ndarray, str]:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ExtraNotInstalledError("umap-learn", "umap", "projection='umap'") from error
    n_neighbors = min(15, len(rows) - 1)
    points = UMAP(n_neighbors=n_neighbors, random_state=0, n_jobs=1).fit_transform(rows)
    return points, "UMAP: neighbors stay together; distances between groups mean little"
