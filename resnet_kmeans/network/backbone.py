"""Loads the network that a `NetworkSpec` describes, compiling it on first use."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from resnet_kmeans.exceptions import NetworkError, UntrainedWeightsWarning
from resnet_kmeans.network.base import Network
from resnet_kmeans.network.compiling import NotCompiledError, compile_model
from resnet_kmeans.network.openvino_network import CompiledNetwork
from resnet_kmeans.network.store import find_compiled, save_compiled
from resnet_kmeans.network.tensorflow_network import FrozenNetwork, has_gpu
from resnet_kmeans.network.weights import NetworkSpec, build_model

logger = logging.getLogger(__name__)


def load_network(
    spec: NetworkSpec, folder: Path | None = None, n_threads: int | None = None
) -> Network:
    """Return the network of `spec`; a process loads it once, and again if its file changes.

    Parameters
    ----------
    spec : NetworkSpec
    folder : Path, default=None
        Where compiled networks are cached; None uses a temporary folder that is deleted when
        the process ends.
    n_threads : int, default=None
        Number of computing threads; None uses one per core.

    Raises
    ------
    WeightsNotFoundError
        If the weights are missing and cannot be downloaded.
    WeightsFileError
        If the weights do not fit the network.
    NetworkError
        If `layer` or `input_shape` does not fit the network, or Keras does not run on
        TensorFlow.
    """
    # The process id is part of the key because a network's threads do not survive a fork.
    return _load(spec, spec.identity(), folder, n_threads, os.getpid())


def compiled_spec(spec: NetworkSpec, folder: Path | None = None) -> NetworkSpec:
    """Return a spec of the same network that other processes can load without TensorFlow.

    If TensorFlow has to run the network, `spec` itself is returned. Parameters and errors are
    those of `load_network`.
    """
    if not _uses_openvino(spec):
        return spec
    if (found := find_compiled(spec, folder)) is None:
        load_network(spec, folder)
        found = find_compiled(spec, folder)
    return spec if found is None else replace(spec, weights=str(found[0]))


def network_of(model: Any, spec: NetworkSpec) -> Network:
    """Return the network of a Keras model that is already in memory."""
    return _compile_or_freeze(model, spec) if _uses_openvino(spec) else FrozenNetwork(model, spec)


def _uses_openvino(spec: NetworkSpec) -> bool:
    """Return whether OpenVINO runs the network; otherwise TensorFlow runs it on a GPU."""
    # TensorFlow has no int8 here, so an int8 network runs on the processor even beside a GPU.
    return spec.is_compiled or spec.precision == "int8" or not has_gpu()


# A network takes 100 MB of memory or more, so only the last two stay loaded.
@lru_cache(maxsize=2)
def _load(
    spec: NetworkSpec, identity: str, folder: Path | None, n_threads: int | None, process: int
) -> Network:
    if spec.weights is None:
        warnings.warn(UntrainedWeightsWarning(), stacklevel=5)
    if not _uses_openvino(spec):
        return FrozenNetwork(build_model(spec), spec, n_threads)
    if found := find_compiled(spec, folder):
        return CompiledNetwork(found[1], spec, n_threads)
    logger.info("Preparing %s (first use only).", spec.name)
    model = build_model(spec)
    return _compile_or_freeze(model, spec, folder, n_threads, save=True)


def _compile_or_freeze(
    model: Any,
    spec: NetworkSpec,
    folder: Path | None = None,
    n_threads: int | None = None,
    save: bool = False,
) -> Network:
    """Return a network that OpenVINO runs, or TensorFlow if OpenVINO cannot."""
    try:
        compiled = compile_model(model, spec)
    except NotCompiledError as error:
        if spec.precision == "int8":
            raise NetworkError(
                f'Expected a network that OpenVINO can run for precision="int8", got {model.name}: '
                f'{error}. Nothing was computed. Pass precision="auto".'
            ) from error
        logger.warning("OpenVINO cannot run %s, so TensorFlow does: %s.", model.name, error)
        return FrozenNetwork(model, spec, n_threads)
    if save:
        save_compiled(compiled, spec, folder)
    return CompiledNetwork(compiled, spec, n_threads)
