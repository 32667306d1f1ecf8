"""Runs pixels through a network in batches of one shape."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod

import numpy as np

from resnet_kmeans.network.weights import NetworkSpec


class Network(ABC):
    """A network that is called with pixels and returns features; threads may share it.

    Parameters
    ----------
    spec : NetworkSpec
        What the network is.
    weights_hash : str
        Hash of its weights' values.
    n_features : int
        Width of a row.
    batch_size : int
        Images that it computes at a time.
    precision : {"float32", "bfloat16", "int8"}
        The type that it computes in.
    n_streams : int
        Batches that it computes at the same time, when threads ask for them.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        *,
        weights_hash: str,
        n_features: int,
        batch_size: int,
        precision: str,
        n_streams: int,
    ):
        self.fingerprint = _fingerprint(spec, weights_hash)
        self.n_features = n_features
        self.batch_size = batch_size
        self.precision = precision
        self.n_streams = n_streams

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the features of images.

        Parameters
        ----------
        pixels : ndarray of shape (n, height, width, 3), dtype uint8
            RGB. The network sees them `batch_size` at a time and the last ones padded, so
            always in one shape: a row does not depend on its neighbours.

        Returns
        -------
        ndarray of shape (n, n_features), dtype float32
        """
        size = self.batch_size
        batches = [pixels[start : start + size] for start in range(0, len(pixels), size)]
        missing = size - len(batches[-1])
        if missing:
            batches[-1] = np.pad(batches[-1], ((0, missing), (0, 0), (0, 0), (0, 0)))
        rows = np.concatenate([self._compute(batch) for batch in batches])
        return rows[: len(pixels)]

    @abstractmethod
    def _compute(self, batch: np.ndarray) -> np.ndarray:
        """Return the features of `batch_size` images."""


def _fingerprint(spec: NetworkSpec, weights_hash: str) -> str:
    """Return a hash of the weights' values and all else that shapes features.

    A model fitted in bfloat16 serves on a machine that only has float32: the features agree
    to a cosine above 0.999. Those of int8 do not.
    """
    shape: tuple[object, ...]
    shape = (spec.layer, spec.pooling, spec.input_shape, spec.resize, spec.preprocess)
    if spec.precision == "int8":
        shape = (*shape, spec.precision)
    return hashlib.sha256(f"{weights_hash} {shape!r}".encode()).hexdigest()
