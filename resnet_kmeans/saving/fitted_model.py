"""Converts the fitted steps of a clusterer to arrays and back."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer

from resnet_kmeans.clustering import (
    ClusterDiscriminantAnalysis,
    ClusterStatistics,
    FolderClassifier,
    HellingerPCA,
    LabelScore,
    NearestLabels,
    TiedMixture,
)
from resnet_kmeans.exceptions import ModelFileError, printable

KNOWN_REDUCERS = (  # the reducers that can be saved as arrays, by the types of their steps
    [FunctionTransformer],
    [Normalizer],
    [Normalizer, PCA],
    [ClusterDiscriminantAnalysis],
)


@contextmanager
def explain_model_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn errors in what a model file contains into one that names the file.

    Raises
    ------
    ModelFileError
    """
    try:
        yield
    except ModelFileError:
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"The parameters or arrays of the model in {printable(path)!r} are invalid: "
            f"{printable(error)}. Nothing was loaded. Save the model again."
        ) from error


def to_arrays(reducer: Any, clusterer: Any, label_score: LabelScore) -> dict[str, np.ndarray]:
    """Return the arrays of a fitted reducer, its clusterer and its score, for `from_arrays`.

    Raises
    ------
    ModelFileError
        If a step is of another type, or has settings that `from_arrays` cannot restore.
    """
    arrays = projection_to_arrays(label_score.projection) | label_score.statistics._asdict()
    arrays["inertia"] = np.array([getattr(clusterer, "inertia_", np.nan)])
    if type(clusterer) is FolderClassifier:  # of ImageFolderClusterer.from_export
        mixture = {f"gaussian_{n}": array for n, array in clusterer.mixture_._asdict().items()}
        return arrays | mixture | {"gaussian_folders": clusterer.folders_.astype(np.float32)}
    steps = [step for _, step in reducer.steps] if isinstance(reducer, Pipeline) else [reducer]
    reducers = [type(step) for step in steps]
    known = reducers in KNOWN_REDUCERS and all(_is_default(step) for step in steps)
    if not known or type(clusterer) not in (KMeans, MiniBatchKMeans):
        step = clusterer if known else reducer
        custom = type(step.clusterer if isinstance(step, NearestLabels) else step).__name__
        raise ModelFileError(
            "Expected the reducers 'auto', 'discriminant', 'pca' or None with KMeans or "
            f"MiniBatchKMeans, which can be saved without code, got {custom}. Nothing was "
            "written. Use joblib.dump(clusterer, path), and load such files only if you trust them."
        )
    arrays["cluster_centers"] = clusterer.cluster_centers_.astype(np.float32)
    arrays["normalize"] = np.array([reducers[0] is Normalizer])
    if ClusterDiscriminantAnalysis in reducers:
        arrays |= {"components": reducer.components_, "intercept": reducer.intercept_}
    if PCA in reducers:
        pca = reducer.steps[-1][1]
        arrays |= {"pca_components": pca.components_, "pca_mean": pca.mean_}
    return arrays


def _is_default(step: Any) -> bool:
    """Return whether a step has the settings that `from_arrays` assumes."""
    settings = {"func": None, "norm": "l2", "whiten": False}
    parameters = step.get_params()
    return all(parameters.get(name, value) == value for name, value in settings.items())


def from_arrays(arrays: Mapping[str, np.ndarray]) -> tuple[Any, Any, LabelScore]:
    """Return the fitted reducer and clusterer whose arrays were saved, and their score.

    Raises
    ------
    LookupError, ValueError
        If an array is missing, or has a type or shape that does not fit the others.
    """
    # Each step is fitted to a placeholder, then its public attributes are set. So its private
    # attributes exist in every version of scikit-learn.
    score = _label_score_of(arrays)
    if "gaussian_means" in arrays:
        return score.projection, _folder_gaussians_of(arrays), score
    centers = _checked(arrays, "cluster_centers", (None, None))
    clusterer = new_fitted_kmeans(centers, float(arrays["inertia"][0]))
    return _reducer_of(arrays, centers.shape[1]), clusterer, score


def _folder_gaussians_of(arrays: Mapping[str, np.ndarray]) -> FolderClassifier:
    means = _checked(arrays, "gaussian_means", (None, len(arrays["axes"])))
    n_gaussians, width = means.shape
    weights = _checked(arrays, "gaussian_weights", (n_gaussians,))
    whitening = _checked(arrays, "gaussian_whitening", (width, width))
    folders = _checked(arrays, "gaussian_folders", (n_gaussians,)).astype(int)
    if folders[0] != 0 or not np.isin(np.diff(folders), (0, 1)).all() or weights.min() <= 0:
        raise ValueError("Expected folders from 0 without gaps, and positive weights")
    model = FolderClassifier()
    model.set_gaussians(TiedMixture(weights, means, whitening), folders, np.arange(n_gaussians))
    model.inertia_ = float(arrays["inertia"][0])
    return model


def _label_score_of(arrays: Mapping[str, np.ndarray]) -> LabelScore:
    counts, sums = _checked(arrays, "counts", (None,)), _checked(arrays, "sums", (None, None))
    width = sums.shape[1]
    if len(sums) != len(counts):
        raise ValueError(f"Expected {len(counts)} rows of sums, got {len(sums)}")
    products = _checked(arrays, "products", (width, width))
    statistics = ClusterStatistics(*(a.astype(np.float64) for a in (counts, sums, products)))
    return LabelScore(projection_from_arrays(arrays), statistics)


def projection_to_arrays(projection: HellingerPCA) -> dict[str, np.ndarray]:
    """Return the arrays of a fitted projection, for `projection_from_arrays`."""
    return {
        "axes": projection.components_,
        "axes_mean": projection.mean_,
        "residual_limit": np.array([projection.residual_limit_]),
    }


def projection_from_arrays(arrays: Mapping[str, np.ndarray]) -> HellingerPCA:
    """Return the fitted projection whose arrays were saved.

    Raises
    ------
    LookupError, ValueError
        If an array is missing, or has a type or shape that does not fit the other.
    """
    axes = _checked(arrays, "axes", (None, None))
    projection = HellingerPCA(len(axes))
    projection.components_ = axes
    projection.mean_ = _checked(arrays, "axes_mean", axes.shape[1:])
    projection.residual_limit_ = float(_checked(arrays, "residual_limit", (1,))[0])
    return projection


def _reducer_of(arrays: Mapping[str, np.ndarray], width: int) -> Any:
    if "components" in arrays:
        discriminant = ClusterDiscriminantAnalysis()
        discriminant.components_ = _checked(arrays, "components", (width, None))
        discriminant.intercept_ = _checked(arrays, "intercept", (width,))
        discriminant.n_features_in_ = discriminant.components_.shape[1]
        return discriminant
    is_normalized = bool(arrays["normalize"][0])
    if is_normalized and "pca_components" in arrays:
        components = _checked(arrays, "pca_components", (width, None))
        stand_in = np.eye(2, components.shape[1], dtype=np.float32)
        reducer = make_pipeline(Normalizer(), PCA(1)).fit(stand_in)
        pca = reducer.steps[-1][1].set_params(n_components=width)
        pca.components_, pca.n_components_ = components, width
        pca.mean_ = _checked(arrays, "pca_mean", components.shape[1:])
        return reducer
    reducer = make_pipeline(Normalizer()) if is_normalized else FunctionTransformer()
    return reducer.fit(np.ones((1, width)))


def _checked(
    arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int | None, ...]
) -> np.ndarray:
    """Return an array as float32 after checking that it is finite and of a shape."""
    array = arrays[name]
    pairs = zip(array.shape, shape)
    is_shape = array.ndim == len(shape) and all(m in (n, None) for n, m in pairs)
    if not (is_shape and array.size and array.dtype.kind == "f" and np.isfinite(array).all()):
        raise ValueError(
            f"Expected {name} as finite numbers of shape {shape}, got {array.dtype} of "
            f"{array.shape}"
        )
    return array.astype(np.float32, copy=False)


def new_fitted_kmeans(centers: np.ndarray, inertia: float) -> Any:
    """Return a fitted KMeans with given centers.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_reduced), dtype float32
    inertia : float
        Sum of squared distances of the rows of the fit to their centers.
    """
    # Fitted to one row: to all centers, it would take minutes if there are many.
    clusterer = KMeans(1, n_init=1, max_iter=1).fit(centers[:1])
    clusterer.set_params(n_clusters=len(centers), init=centers)
    clusterer.cluster_centers_ = centers
    clusterer.labels_ = np.arange(len(centers), dtype=np.int32)
    clusterer.inertia_ = inertia
    return clusterer
