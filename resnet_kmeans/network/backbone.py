"""Loads the network that a `NetworkSpec` names, compiled once and kept."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from resnet_kmeans.exceptions import NetworkError, UntrainedWeightsWarning
from resnet_kmeans.network.compiled import CompiledNetwork
from resnet_kmeans.network.compiling import NotCompiledError, compile_model
from resnet_kmeans.network.frozen import FrozenNetwork, has_gpu
from resnet_kmeans.network.running import Network
from resnet_kmeans.network.store import find_compiled, keep_compiled
from resnet_kmeans.network.weights import NetworkSpec, build_model

logger = logging.getLogger(__name__)


def load_network(
    spec: NetworkSpec, folder: Path | None = None, n_threads: int | None = None
) -> Network:
    """Return the network of `spec`, loaded once a process, and again when its file has changed.

    Parameters
    ----------
    spec : NetworkSpec
    folder : Path, default=None
        Where compiled networks are kept; None is a folder that goes when the process ends.
    n_threads : int, default=None
        Threads to compute in; None is one for each core.

    Raises
    ------
    WeightsNotFoundError
        If the weights are not there and cannot be downloaded.
    WeightsFileError
        If they do not fit the network.
    NetworkError
        If `layer` or `input_shape` do not fit it, or Keras does not run on TensorFlow.
    """
    # The threads of a network do not survive a fork.
    return _load(spec, spec.identity(), folder, n_threads, os.getpid())


def compiled_spec(spec: NetworkSpec, folder: Path | None = None) -> NetworkSpec:
    """Return a spec of the same network that other processes load without TensorFlow.

    It is `spec` itself where TensorFlow has to compute. Parameters and errors are those of
    `load_network`.
    """
    if not _is_compiled(spec):
        return spec
    if (found := find_compiled(spec, folder)) is None:
        load_network(spec, folder)
        found = find_compiled(spec, folder)
    return spec if found is None else replace(spec, weights=str(found[0]))


def network_of(model: Any, spec: NetworkSpec) -> Network:
    """Return the network of a Keras model that is at hand."""
    return _compiled(model, spec) if _is_compiled(spec) else FrozenNetwork(model, spec)


def _is_compiled(spec: NetworkSpec) -> bool:
    """Return whether OpenVINO computes the network, or TensorFlow on a GPU, which has no int8."""
    return spec.is_compiled or spec.precision == "int8" or not has_gpu()


@lru_cache(maxsize=2)
def _load(
    spec: NetworkSpec, identity: str, folder: Path | None, n_threads: int | None, process: int
) -> Network:
    if spec.weights is None:
        warnings.warn(UntrainedWeightsWarning(), stacklevel=5)
    if not _is_compiled(spec):
        return FrozenNetwork(build_model(spec), spec, n_threads)
    if found := find_compiled(spec, folder):
        return CompiledNetwork(found[1], spec, n_threads)
    logger.info("Preparing %s, once.", spec.name)
    model = build_model(spec)
    return _compiled(model, spec, folder, n_threads, keep=True)


def _compiled(
    model: Any,
    spec: NetworkSpec,
    folder: Path | None = None,
    n_threads: int | None = None,
    keep: bool = False,
) -> Network:
    try:
        compiled = compile_model(model, spec)
    except NotCompiledError as error:
        if spec.precision == "int8":
            raise NetworkError(
                f'Expected a network that OpenVINO can run for precision="int8", got {model.name}: '
                f'{error}. Nothing was computed. Pass precision="auto".'
            ) from error
        logger.warning("TensorFlow computes %s, OpenVINO cannot: %s.", model.name, error)
        return FrozenNetwork(model, spec, n_threads)
    if keep:
        keep_compiled(compiled, spec, folder)
    return CompiledNetwork(compiled, spec, n_threads)
