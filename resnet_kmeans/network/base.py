"""Defines `Network`, the base class of networks, which always run on batches of one shape."""

import hashlib
from abc import ABC, abstractmethod

import numpy as np

from resnet_kmeans.network.weights import INT8_VERSION, NetworkSpec


class Network(ABC):
    """A network that maps pixels to features and may be shared by threads.

    Parameters
    ----------
    spec : NetworkSpec
        Describes the network.
    weights_hash : str
        Hash of the weight values.
    n_features : int
        Number of features per image.
    batch_size : int
        Number of images per batch.
    n_streams : int
        Number of batches that the network can compute concurrently.
    library : str
        The library that computes, with its version and device.

    Attributes
    ----------
    numbers : str
        What else the numbers depend on, besides the fingerprint: the precision and the library.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        *,
        weights_hash: str,
        n_features: int,
        batch_size: int,
        n_streams: int,
        library: str,
    ):
        self.fingerprint = _fingerprint(spec, weights_hash)
        self.n_features = n_features
        self.batch_size = batch_size
        self.n_streams = n_streams
        self.numbers = f"{spec.precision} {library}"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the features of images.

        Parameters
        ----------
        pixels : ndarray of shape (n, height, width, 3), dtype uint8
            RGB images.

        Returns
        -------
        ndarray of shape (n, n_features), dtype float32
        """
        size = self.batch_size
        batches = [pixels[start : start + size] for start in range(0, len(pixels), size)]
        # The last batch is padded, because libraries choose other algorithms for other shapes:
        # so a row does not depend on how many images are in its batch.
        missing = size - len(batches[-1])
        if missing:
            batches[-1] = np.pad(batches[-1], ((0, missing), (0, 0), (0, 0), (0, 0)))
        rows = np.concatenate([self._compute(batch) for batch in batches])
        return rows[: len(pixels)]

    @abstractmethod
    def _compute(self, batch: np.ndarray) -> np.ndarray:
        """Return the features of `batch_size` images."""


def _fingerprint(spec: NetworkSpec, weights_hash: str) -> str:
    """Return a hash of the weights and of everything else that determines the features."""
    # bfloat16 and float32 share a fingerprint, because their features have a mean cosine of
    # 0.999, so a model fitted in one type can predict in the other, if it must: 1% of the labels
    # of new photos change. Those of int8 differ more.
    shape: tuple[object, ...]
    shape = (spec.layer, spec.pooling, spec.input_shape, spec.resize, spec.preprocess)
    if spec.precision == "int8":
        shape = (*shape, spec.precision, INT8_VERSION)
    return hashlib.sha256(f"{weights_hash} {shape!r}".encode()).hexdigest()
