"""The steps between features and labels: which by default, how they become arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer

from resnet_kmeans.clustering.discriminant import PCA_COMPONENTS, ClusterDiscriminantAnalysis
from resnet_kmeans.clustering.nearest import NearestLabels
from resnet_kmeans.exceptions import ModelFileError

REDUCERS = {"auto", "discriminant", "pca", "umap"}  # by name
# Measured over parts of labelled sets: fewer rows gain little in the mean, and clear groups of
# 8 lose (64 drawn pictures, adjusted Rand index 0.82 for 1.00): most of 15 neighbours are others.
LEARNT_FROM = 100  # rows
LEARNT_FROM_PER_CLUSTER = 10  # rows
N_INIT = 10  # starts of KMeans; one start loses 0.01 to 0.02 AMI in the mean
MINI_BATCH_FROM = 100_000  # rows; from here on MiniBatchKMeans spares minutes
KNOWN_REDUCERS = (  # that become arrays
    [FunctionTransformer],
    [Normalizer],
    [Normalizer, PCA],
    [ClusterDiscriminantAnalysis],
)


def new_reducer(
    reducer: Any, shape: tuple[int, int], n_clusters: int | None, random_state: Any
) -> Any:
    """Return an unfitted reducer for rows of this shape.

    Parameters
    ----------
    reducer : {"auto", "discriminant", "pca", "umap"}, transformer or None
        As `ImageFolderClusterer` takes it. A transformer with a parameter `n_clusters` gets
        it.
    shape : tuple of int
        Number of rows, number of features.
    n_clusters : int or None
        None where the clusterer finds its own number: there is none to learn a space for.
    random_state : int, RandomState instance or None
    """
    if reducer is None:
        return FunctionTransformer()
    if reducer == "umap":
        return _new_umap(shape[0], random_state)
    if reducer == "discriminant" or (reducer == "auto" and _can_learn(shape[0], n_clusters)):
        reducer = ClusterDiscriminantAnalysis(random_state=random_state)
    if not isinstance(reducer, str):
        takes_number = n_clusters is not None and depends_on_n_clusters(reducer)
        return clone(reducer).set_params(**({"n_clusters": n_clusters} if takes_number else {}))
    if min(shape) <= PCA_COMPONENTS:  # nothing to shorten
        return make_pipeline(Normalizer())
    return make_pipeline(Normalizer(), PCA(PCA_COMPONENTS, random_state=random_state))


def depends_on_n_clusters(reducer: Any) -> bool:
    """Return whether a reducer is made for one number of clusters."""
    return "n_clusters" in reducer.get_params(deep=False)


def _can_learn(n_rows: int, n_clusters: int | None) -> bool:
    if n_clusters is None:
        return False
    n_learnt_from = min(n_rows, ClusterDiscriminantAnalysis().max_rows)
    return n_learnt_from >= max(LEARNT_FROM, LEARNT_FROM_PER_CLUSTER * n_clusters)


def _new_umap(n_rows: int, random_state: Any) -> Any:
    try:
        from umap import UMAP
    except ImportError as error:
        message = "reducer='umap' needs the umap extra: pip install 'resnet-kmeans[umap]'"
        raise ImportError(message) from error
    # min_dist 0 packs clusters tightly, as umap-learn's documentation advises for clustering.
    return UMAP(
        n_components=min(10, max(2, n_rows - 2)),
        n_neighbors=min(15, n_rows - 1),
        metric="cosine",
        min_dist=0.0,
        random_state=random_state,
        n_jobs=1 if random_state is not None else -1,
    )


def new_clusterer(clusterer: Any, n_clusters: int, n_rows: int, random_state: Any) -> Any:
    """Return an unfitted clusterer that can predict, with `n_clusters` where it takes a number."""
    if clusterer is not None:
        new = with_n_clusters(clusterer, n_clusters)
        return new if hasattr(new, "predict") else NearestLabels(new)
    if n_rows >= MINI_BATCH_FROM:
        return MiniBatchKMeans(
            n_clusters, batch_size=4096, n_init=N_INIT, random_state=random_state
        )
    return KMeans(n_clusters, n_init=N_INIT, random_state=random_state)


def with_n_clusters(clusterer: Any, n_clusters: int) -> Any:
    """Return a clone with another number of clusters, or as it is where it finds its own."""
    name = number_name(clusterer)
    return clone(clusterer).set_params(**({name: n_clusters} if name else {}))


def number_name(clusterer: Any) -> str | None:
    """Return the name of the parameter that is the number of clusters, None if there is none.

    AgglomerativeClustering and Birch find their own number where `n_clusters` is None.
    """
    parameters = clusterer.get_params()
    inner = "clusterer__" if isinstance(clusterer, NearestLabels) else ""
    # SpectralClustering has both; its n_components are those of the embedding.
    names = [inner + name for name in ("n_clusters", "n_components") if inner + name in parameters]
    return names[0] if names and parameters[names[0]] is not None else None


def to_arrays(reducer: Any, clusterer: Any) -> dict[str, np.ndarray]:
    """Return fitted default steps as arrays, from which `from_arrays` builds them again.

    Raises
    ------
    ModelFileError
        If a step is not one of the default ones.
    """
    steps = [step for _, step in reducer.steps] if isinstance(reducer, Pipeline) else [reducer]
    reducers = [type(step) for step in steps]
    known = reducers in KNOWN_REDUCERS and all(_is_default(step) for step in steps)
    if not known or type(clusterer) not in (KMeans, MiniBatchKMeans):
        step = clusterer if known else reducer
        custom = type(step.clusterer if isinstance(step, NearestLabels) else step).__name__
        raise ModelFileError(
            "Expected the reducers 'auto', 'discriminant', 'pca' or None with KMeans or "
            f"MiniBatchKMeans, which can be saved without code, got {custom}. Nothing was "
            "written. Use joblib.dump(clusterer, path), for those who trust the file."
        )
    arrays = {
        "cluster_centers": clusterer.cluster_centers_.astype(np.float32),
        "inertia": np.array([clusterer.inertia_]),
        "normalize": np.array([reducers[0] is Normalizer]),
    }
    if ClusterDiscriminantAnalysis in reducers:
        arrays |= {"components": reducer.components_, "intercept": reducer.intercept_}
    if PCA in reducers:
        pca = reducer.steps[-1][1]
        arrays |= {"pca_components": pca.components_, "pca_mean": pca.mean_}
    return arrays


def _is_default(step: Any) -> bool:
    """Return whether `from_arrays` would build a step that does the same."""
    settings = {"func": None, "norm": "l2", "whiten": False}
    parameters = step.get_params()
    return all(parameters.get(name, value) == value for name, value in settings.items())


def from_arrays(arrays: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
    """Return the fitted reducer and clusterer that `to_arrays` took apart.

    Built by fitting and then setting public attributes alone, so that no version of
    scikit-learn but the one at hand matters.
    """
    centers = arrays["cluster_centers"]
    clusterer = new_fitted_kmeans(centers, float(arrays["inertia"][0]))
    if "components" in arrays:
        return _new_fitted_discriminant(arrays["components"], arrays["intercept"]), clusterer
    if not arrays["normalize"][0]:
        return FunctionTransformer().fit(centers), clusterer
    if "pca_components" not in arrays:
        return make_pipeline(Normalizer()).fit(centers), clusterer
    components = arrays["pca_components"]
    stand_in = np.eye(len(components) + 1, components.shape[1], dtype=np.float32)
    reducer = make_pipeline(Normalizer(), PCA(len(components))).fit(stand_in)
    reducer.steps[-1][1].components_ = components
    reducer.steps[-1][1].mean_ = arrays["pca_mean"]
    return reducer, clusterer


def _new_fitted_discriminant(components: np.ndarray, intercept: np.ndarray) -> Any:
    reducer = ClusterDiscriminantAnalysis()
    reducer.components_, reducer.intercept_ = components, intercept
    reducer.n_features_in_ = components.shape[1]
    return reducer


def new_fitted_kmeans(centers: np.ndarray, inertia: float) -> Any:
    """Return a KMeans fitted to just these centres.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_reduced), dtype float32
    inertia : float
        Sum of squared distances of the rows of the fit to their centres.
    """
    clusterer = KMeans(len(centers), init=centers, n_init=1, max_iter=1).fit(centers)
    clusterer.cluster_centers_ = centers
    clusterer.inertia_ = inertia
    return clusterer
