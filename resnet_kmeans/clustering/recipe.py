"""Makes the steps between features and labels."""

import logging
import re
from inspect import signature
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import ClusterMixin, clone
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer

from resnet_kmeans._versions import library_versions
from resnet_kmeans.clustering.discriminant import MANY, ClusterDiscriminantAnalysis
from resnet_kmeans.clustering.hellinger import MAX_ROWS
from resnet_kmeans.clustering.prediction import NearestLabels
from resnet_kmeans.clustering.rows import first_copies
from resnet_kmeans.exceptions import ExtraNotInstalledError

logger = logging.getLogger(__name__)

REDUCERS = {"auto", "discriminant", "pca", "umap"}  # reducers with a name
# With at least so many rows, "auto" means "discriminant". Measured on parts of labeled sets:
# fewer rows gain little on average, and clear groups of 8 images get worse (64 drawn pictures:
# an adjusted Rand index of 0.82 instead of 1.00), since most of the 15 neighbors of an image
# belong to other groups.
LEARNT_FROM = 100
LEARNT_FROM_PER_CLUSTER = 10
PCA_COMPONENTS = 64  # chosen by measurements on labeled sets
N_INIT = 10  # of KMeans; 1 costs 0.01 to 0.02 of adjusted mutual information on average
MINI_BATCH_FROM = 100_000  # with at least so many rows, MiniBatchKMeans saves minutes


def new_reducer(
    reducer: Any, shape: tuple[int, int], n_clusters: int | None, random_state: Any
) -> Any:
    """Return an unfitted reducer for rows of a given shape.

    Parameters
    ----------
    reducer : {"auto", "discriminant", "pca", "umap"}, transformer or None
        The parameter of `ImageFolderClusterer`. If a transformer that is not a clusterer has a
        parameter `n_clusters`, it is set.
    shape : tuple of int
        Number of rows and number of features.
    n_clusters : int or None
        Number of clusters; None if the clusterer finds the number itself.
    random_state : int, RandomState instance or None
    """
    if reducer is None:
        return FunctionTransformer()
    if reducer == "umap" and shape[0] > 2:  # UMAP needs two neighbors
        return _new_umap(shape[0], random_state)
    if _learns_directions(reducer, shape[0], n_clusters):
        reducer = ClusterDiscriminantAnalysis(random_state=random_state)
    if not isinstance(reducer, str):
        new = clone(reducer)
        if n_clusters is not None and depends_on_n_clusters(new):
            new.set_params(n_clusters=n_clusters)
        return new
    # Directions in fewer dimensions than these cannot separate many clusters.
    n_components = PCA_COMPONENTS if (n_clusters or 0) <= MANY else 2 * PCA_COMPONENTS
    if min(shape) <= n_components:  # PCA cannot have more components than rows or columns
        return make_pipeline(Normalizer())
    return make_pipeline(Normalizer(), PCA(n_components, random_state=random_state))


def depends_on_n_clusters(reducer: Any) -> bool:
    """Return whether the parameter `n_clusters` of a reducer means clusters of rows."""
    # In FeatureAgglomeration, or a clusterer used as a transformer, it is the number of columns.
    is_clusterer = isinstance(reducer, ClusterMixin)
    return "n_clusters" in reducer.get_params(deep=False) and not is_clusterer


def _learns_directions(reducer: Any, n_rows: int, n_clusters: int | None) -> bool:
    """Return whether a reducer means `ClusterDiscriminantAnalysis` for so many rows."""
    if reducer != "auto" or n_clusters is None:
        return bool(reducer == "discriminant")
    return min(n_rows, MAX_ROWS) >= max(LEARNT_FROM, LEARNT_FROM_PER_CLUSTER * n_clusters)


def require_reducer(reducer: Any) -> None:
    """Raise an error before anything is computed if the package of a reducer is missing.

    Raises
    ------
    ExtraNotInstalledError
    """
    if isinstance(reducer, str) and reducer == "umap":
        try:
            import umap  # noqa: F401
        except ImportError as error:
            raise ExtraNotInstalledError("umap-learn", "umap", "reducer='umap'") from error


def _new_umap(n_rows: int, random_state: Any) -> Any:
    from umap import UMAP

    logger.info("Preparing UMAP, which compiles its code.")
    # umap-learn's documentation recommends min_dist=0 for clustering. Its spectral
    # initialization needs n_components + 1 < n_rows. With a seed it uses one thread, and warns
    # unless n_jobs=1.
    return UMAP(
        n_components=min(10, max(1, n_rows - 2)),
        n_neighbors=min(15, n_rows - 1),
        metric="cosine",
        min_dist=0.0,
        random_state=random_state,
        n_jobs=1 if random_state is not None else -1,
    )


def new_clusterer(clusterer: Any, n_clusters: int, n_rows: int, random_state: Any) -> Any:
    """Return an unfitted clusterer that has `predict`.

    Parameters
    ----------
    clusterer : clusterer or None
        The parameter of `ImageFolderClusterer`.
    n_clusters : int
        Number of clusters; ignored if the clusterer finds the number itself.
    n_rows : int
        Number of rows to fit.
    random_state : int, RandomState instance or None
        Used only if `clusterer` is None.
    """
    if clusterer is not None:
        name, new = _n_clusters_name(clusterer), clone(clusterer)
        if name is not None:
            new.set_params(**{name: n_clusters})
        return new if hasattr(new, "predict") else NearestLabels(new)
    if n_rows >= MINI_BATCH_FROM:
        return MiniBatchKMeans(
            n_clusters, batch_size=4096, n_init=N_INIT, random_state=random_state
        )
    return KMeans(n_clusters, n_init=N_INIT, random_state=random_state)


def cluster_rows(rows: np.ndarray, n_clusters: int) -> np.ndarray:
    """Cluster rows with K-Means, with a fixed random state; equal rows have the same label."""
    labels = KMeans(n_clusters, n_init=N_INIT, random_state=0).fit_predict(rows)
    return np.asarray(labels)[first_copies(rows)]


def takes_n_clusters(clusterer: Any) -> bool:
    """Return whether a clusterer, or the default one, takes the number of clusters."""
    return clusterer is None or _n_clusters_name(clusterer) is not None


def own_n_clusters(clusterer: Any) -> int | None:
    """Return the number of clusters that a user gave to a clusterer, or None."""
    name = None if clusterer is None else _n_clusters_name(clusterer)
    if name is None:
        return None
    given = clusterer.get_params()[name]
    default = signature(type(clusterer)).parameters[name].default
    return int(given) if isinstance(given, Integral) and given != default else None


def _n_clusters_name(clusterer: Any) -> str | None:
    """Return the name of the parameter for the number of clusters, or None.

    If the value of the parameter is None, AgglomerativeClustering and Birch find the number
    themselves, so None is returned too.
    """
    parameters = clusterer.get_params()
    inner = "clusterer__" if isinstance(clusterer, NearestLabels) else ""
    # SpectralClustering has both parameters; its n_components is the embedding's dimension.
    names = [inner + name for name in ("n_clusters", "n_components") if inner + name in parameters]
    return names[0] if names and parameters[names[0]] is not None else None


# A path that is absolute on any system, as a whole or in quotes, and its last part.
_ABSOLUTE = re.compile(r"""(^|['"])(?:[A-Za-z]:)?[/\\][^'"\n]*[/\\]([^'"/\\\n]+)""", re.MULTILINE)


def describe_fit(clusterer: Any) -> dict[str, str]:
    """Return a description of a clustering: parameters, fitted steps, network, versions."""
    facts: dict[str, Any] = {"Clusters": len(getattr(clusterer, "cluster_centers_", [])) or None}
    if hasattr(clusterer, "pipeline_"):
        featurizer, *steps = (step for _, step in clusterer.pipeline_.steps)
        facts["Weights"] = getattr(featurizer, "weights", type(featurizer).__name__)
        facts["Network"] = getattr(featurizer, "fingerprint_", None)
        facts["Recipe"] = "\n".join(repr(step) for step in steps)
    facts["Seed"] = getattr(clusterer, "random_state", None)
    facts["Clusterer"] = repr(clusterer)
    versions = library_versions("pillow", "numpy", "scikit-learn")
    facts["Versions"] = ", ".join(f"{name} {number}" for name, number in versions.items())
    # The description is part of pages that are sent to somebody, whom folders do not concern.
    return {name: _ABSOLUTE.sub(r"\1\2", str(value)) for name, value in facts.items()}
