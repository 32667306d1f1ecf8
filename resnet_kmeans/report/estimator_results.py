"""Reads the results of a fitted clusterer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from resnet_kmeans._folder_names import UNREADABLE
from resnet_kmeans._versions import library_versions

BLOCK = 4096  # images whose unreduced features are in memory at a time


def read_clusterer(clusterer: Any, images: Any = None, features: Any = None) -> dict[str, Any]:
    """Return the results of a fitted clusterer, as arguments of `summarize`.

    Parameters
    ----------
    clusterer : fitted ImageFolderClusterer
        Any other clusterer needs only the attribute `labels_`, in which negative labels are
        noise. The attributes `image_paths_`, `distances_`, `unreadable_`, `cluster_names_` and
        `pipeline_` are used if they exist.
    images : sequence of length n, default=None
        The images of the fit, which are needed if they were in memory or have been moved.
    features : ndarray of shape (n, d), default=None
        The rows that were clustered; None computes them.

    Returns
    -------
    dict
        Arguments of `summarize`.

    Raises
    ------
    ValueError
        If the clusterer has no labels.
    """
    if not hasattr(clusterer, "labels_"):
        raise ValueError(
            "Expected a clusterer with the labels of its images, got a "
            f"{type(clusterer).__name__} without labels_: it was not fitted, or was loaded from "
            "a model file. Nothing was drawn. Fit it, or pass the images, with "
            "clusterer.predict(images) as labels."
        )
    names = {
        "images": "image_paths_",
        "labels": "labels_",
        "distances": "distances_",
        "reasons": "unreadable_",
        "names": "cluster_names_",
    }
    known = {n: getattr(clusterer, name) for n, name in names.items() if hasattr(clusterer, name)}
    if images is not None:
        known["images"] = images
    images = known.get("images")
    if features is None and images is not None and hasattr(clusterer, "pipeline_"):
        known["features"] = read_features(clusterer.pipeline_, images, known["labels"])
    return known


def read_features(pipeline: Any, images: Sequence[Any], labels: np.ndarray) -> np.ndarray:
    """Return the input of the last step of a pipeline, with NaN for unreadable images."""
    readable = np.flatnonzero(np.asarray(labels) != UNREADABLE)
    blocks = [readable[start : start + BLOCK] for start in range(0, len(readable), BLOCK)]
    rows = [pipeline[:-1].transform([images[i] for i in block]) for block in blocks]
    features = np.full((len(labels), rows[0].shape[1]), np.nan, dtype=np.float32)
    features[readable] = np.concatenate(rows)
    return features


def read_facts(clusterer: Any) -> dict[str, str]:
    """Return a description of a clustering: parameters, fitted steps, network, versions."""
    facts: dict[str, Any] = {"Clusters": len(getattr(clusterer, "cluster_centers_", [])) or None}
    if hasattr(clusterer, "pipeline_"):
        featurizer, *steps = (step for _, step in clusterer.pipeline_.steps)
        facts["Weights"] = getattr(featurizer, "weights", type(featurizer).__name__)
        facts["Network"] = getattr(featurizer, "fingerprint_", None)
        facts["Recipe"] = "\n".join(repr(step) for step in steps)
    facts["Seed"] = getattr(clusterer, "random_state", None)
    facts["Clusterer"] = repr(clusterer)
    facts["Versions"] = ", ".join(f"{name} {number}" for name, number in library_versions().items())
    return {name: str(value) for name, value in facts.items()}
