"""Saves a fitted `ImageFolderClusterer` to a file and loads its parts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Integral
from typing import Any, NamedTuple

from resnet_kmeans.cluster_names import default_cluster_names, renamed
from resnet_kmeans.clustering import from_arrays, read_model, to_arrays, write_model
from resnet_kmeans.exceptions import ModelFileError, printable
from resnet_kmeans.featurizer import ResNetFeaturizer, prepare_featurizer
from resnet_kmeans.versions import library_versions


class SavedClusterer(NamedTuple):
    """The parts of a fitted clusterer.

    Attributes
    ----------
    parameters : dict
        Parameters of `ImageFolderClusterer`.
    featurizer, reducer, clusterer : estimators
        The fitted steps of the pipeline.
    names : list of str
        The names of the clusters.
    """

    parameters: dict[str, Any]
    featurizer: ResNetFeaturizer
    reducer: Any
    clusterer: Any
    names: list[str]


def save_clusterer(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted `ImageFolderClusterer` to a file; see its method `save`."""
    featurizer, reducer, clusterer = (step for _, step in model.pipeline_.steps)
    arrays = to_arrays(reducer, clusterer)
    # A RandomState or None cannot be written as JSON; predictions do not need it.
    seed = model.random_state if isinstance(model.random_state, Integral) else None
    header = {
        "versions": library_versions(),
        **_describe_featurizer(featurizer),
        "names": model.cluster_names_,
        "clusterer": {
            "n_clusters": model.n_clusters,
            "reducer": model.reducer,
            "unreadable": model.unreadable,
            "random_state": seed if seed is None else int(seed),
        },
    }
    write_model(path, header, arrays)


def load_clusterer(
    path: str | os.PathLike[str], featurizer_params: Mapping[str, Any]
) -> SavedClusterer:
    """Read the parts of a clusterer from a file; see `ImageFolderClusterer.load`."""
    ResNetFeaturizer(**featurizer_params)  # a misspelt name is no fault of the file
    header, arrays = read_model(path)
    try:
        given = {**header["featurizer"], **featurizer_params}
        given["input_shape"] = tuple(given["input_shape"])
        parameters = {"featurizer": ResNetFeaturizer(**given), **header["clusterer"]}
        featurizer = prepare_featurizer(parameters["featurizer"], parameters["unreadable"])
        featurizer.fingerprint_ = header["fingerprint"]
        featurizer.n_features_out_ = header["n_features"]
        reducer, clusterer = from_arrays(arrays)
        default = default_cluster_names(len(clusterer.cluster_centers_))
        names = renamed(default, header.get("names", default))  # older files have no names
    except (LookupError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"Expected the parameters and arrays of a model in {printable(path)!r}, got "
            f"others: {printable(error)}. Nothing was loaded. Save the model again."
        ) from error
    return SavedClusterer(parameters, featurizer, reducer, clusterer, names)


def _describe_featurizer(featurizer: Any) -> dict[str, Any]:
    # A subclass needs its own code, which the file cannot contain.
    if type(featurizer) is not ResNetFeaturizer:
        raise ModelFileError(
            f"Expected a ResNetFeaturizer, got {type(featurizer).__name__}, which may need "
            "its own code. Nothing was written. Use joblib.dump(clusterer, path) instead."
        )
    parameters = featurizer.get_params()
    if parameters["weights"] not in (None, "imagenet"):
        parameters["weights"] = os.path.abspath(os.fspath(parameters["weights"]))
    if parameters["cache"] is not None:
        parameters["cache"] = (
            "default"  # a file from elsewhere must not choose a folder to write to
        )
    return {
        "featurizer": parameters,
        "fingerprint": featurizer.fingerprint_,
        "n_features": featurizer.n_features_out_,
    }
