"""Loads the network that a `NetworkSpec` describes, compiling it on first use."""

import contextlib
import ctypes
import logging
import os
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans.exceptions import (
    ConstantFeaturesError,
    NetworkError,
    ResNetKMeansError,
    UntrainedWeightsWarning,
    WeightsFileError,
    warn_caller,
)
from resnet_kmeans.network.base import Network
from resnet_kmeans.network.compiled_files import (
    DAMAGES,
    CompiledFile,
    find_compiled,
    save_compiled,
)
from resnet_kmeans.network.efficientnet_lite import LITES
from resnet_kmeans.network.extractor import build_extractor
from resnet_kmeans.network.libraries import (
    has_bfloat16,
    has_gpu,
    import_openvino,
    import_tensorflow,
)
from resnet_kmeans.network.lite_graph import build_graph
from resnet_kmeans.network.onnx_graph import build_onnx_graph, reason_of
from resnet_kmeans.network.openvino_network import CompiledNetwork
from resnet_kmeans.network.quantizing import quantize
from resnet_kmeans.network.tensorflow_network import (
    FrozenNetwork,
    freeze,
    gpu_precision,
    hash_network,
)
from resnet_kmeans.network.weights import NetworkSpec, build_model, read_lites

logger = logging.getLogger(__name__)

# Largest difference between the features of OpenVINO and Keras, relative to the largest feature.
# It is 4e-7 for ResNet50, and far larger if a conversion is wrong.
MAX_DIFFERENCE = 1e-4


def load_network(
    spec: NetworkSpec, folder: Path | None = None, n_threads: int | None = None
) -> Network:
    """Return the network of `spec`, which is loaded once per process, or if its file changes.

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
    return _load(spec, spec.identity(), folder, n_threads)


def used_precision(spec: NetworkSpec) -> str:
    """Return the type in which this machine runs a network: "float32", "bfloat16" or "int8"."""
    if spec.precision in ("float32", "int8"):
        return spec.precision
    if not _uses_openvino(spec):
        return gpu_precision(spec)
    return "bfloat16" if has_bfloat16() else "float32"


def compiled_spec(spec: NetworkSpec, folder: Path | None = None) -> NetworkSpec:
    """Return a spec with which other processes can load the same network without TensorFlow.

    If only TensorFlow can run the network, `spec` itself is returned. Parameters and errors are
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
    compiled = _compile_keras(model, spec)
    return CompiledNetwork(compiled, spec) if compiled else FrozenNetwork(model, spec)


def _uses_openvino(spec: NetworkSpec) -> bool:
    """Return whether OpenVINO runs the network; otherwise TensorFlow runs it on a GPU."""
    # Only OpenVINO has the small networks, those of ONNX files, and int8; these run on the
    # processor even if there is a GPU.
    is_its_own = spec.is_compiled or spec.is_lite or spec.is_onnx
    return is_its_own or spec.precision == "int8" or not has_gpu()


# A network takes 100 MB of memory or more, so only the last two stay loaded.
@lru_cache(maxsize=2)
def _load(spec: NetworkSpec, identity: str, folder: Path | None, n_threads: int | None) -> Network:
    if spec.weights is None:
        warn_caller(UntrainedWeightsWarning())
    if _uses_openvino(spec) and (found := find_compiled(spec, folder)):
        return CompiledNetwork(found[1], spec, n_threads)
    logger.info("Preparing %s (first use only).", spec.name)
    compiled: CompiledFile | None
    if spec.is_lite or spec.is_onnx:
        compiled = _compile_lites(spec) if spec.is_lite else _compile_onnx(spec)
    elif (compiled := _compile_keras(model := build_model(spec), spec)) is None:
        return FrozenNetwork(model, spec, n_threads)
    save_compiled(compiled, spec, folder)
    return CompiledNetwork(compiled, spec, n_threads)


def _compile_lites(spec: NetworkSpec) -> CompiledFile:
    graph = build_graph(spec, read_lites(spec))
    # The files are known by their hashes.
    hashes = [lite.sha256 for lite in LITES[spec.backbone]] if spec.weights else [spec.backbone]
    return _finished(graph, " ".join(hashes), graph.output(0).partial_shape[1].get_length(), spec)


def _compile_onnx(spec: NetworkSpec) -> CompiledFile:
    pixels = _noise_and_black(spec.input_shape)
    try:
        graph = build_onnx_graph(spec, 1)
        rows = np.concatenate([_run(graph, pixels[i : i + 1]) for i in range(len(pixels))])
        # A network that was exported for one image may refuse more, or mix them up.
        with contextlib.suppress(NetworkError, RuntimeError):
            for_any = build_onnx_graph(spec)
            if _difference(_run(for_any, pixels), rows) <= MAX_DIFFERENCE:
                graph = for_any
    except DAMAGES as error:
        if isinstance(error, ResNetKMeansError):
            raise
        raise WeightsFileError(spec.file, "an ONNX network", reason_of(error)) from error
    _check_varies(rows, spec)
    # The files are hashed: the same weights in other files are another network.
    return _finished(graph, " ".join(spec.hashes()), rows.shape[1], spec)


def _finished(graph: Any, weights_hash: str, n_features: int, spec: NetworkSpec) -> CompiledFile:
    """Return a graph as it is run and kept."""
    # Folding batch normalizations into convolutions saves memory at every start. This module of
    # OpenVINO is private. If it is missing, OpenVINO folds at every start instead.
    with contextlib.suppress(ImportError):
        from openvino._offline_transformations import apply_moc_transformations

        apply_moc_transformations(graph, cf=False, smart_reshape=False)
    if spec.precision == "int8":
        graph = quantize(graph, spec.input_shape)
    return CompiledFile(graph, weights_hash, n_features)


def _forget_networks() -> None:
    """Load networks again in a fork, which lacks the threads of those of its parent."""
    global _load
    # Never freed, not even at the exit: the destructor of a network would wait for its threads.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_load))
    _load = lru_cache(maxsize=2)(_load.__wrapped__)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_networks)


def _compile_keras(model: Any, spec: NetworkSpec) -> CompiledFile | None:
    """Return a Keras model compiled for OpenVINO, or None if TensorFlow runs it."""
    if not _uses_openvino(spec):
        return None
    extractor = build_extractor(model, spec)
    try:
        graph = _converted(extractor)
        pixels = _noise_and_black(spec.input_shape)
        rows = _run(graph, pixels)
        _check_varies(rows, spec)
        # TensorFlow alone lacks convolutions with the channels first on a processor.
        with contextlib.suppress(import_tensorflow().tensorflow.errors.UnimplementedError):
            difference = _difference(rows, np.asarray(extractor(pixels, training=False)))
            if not difference <= MAX_DIFFERENCE:  # also true for NaN
                raise ValueError(f"its features differ from those of Keras by {difference:.1g}")
    except NetworkError:  # not even TensorFlow can run it
        raise
    # OpenVINO raises RuntimeError and its own errors, which share no base class.
    except Exception as error:
        reason = str(error).strip().splitlines()[-1]
        if spec.precision == "int8":
            raise NetworkError(
                f'precision="int8" needs OpenVINO, which cannot run {model.name}: {reason}. '
                'Nothing was computed. Pass precision="auto".'
            ) from error
        logger.warning("OpenVINO cannot run %s, so TensorFlow does (%s).", model.name, reason)
        return None
    return _finished(graph, hash_network(extractor, spec), rows.shape[1], spec)


def _converted(extractor: Any) -> Any:
    """Return the OpenVINO graph of a Keras model."""
    with tempfile.TemporaryDirectory() as folder:
        # `read_model`, unlike `convert_model`, sends no usage statistics.
        frozen, function = Path(folder, "frozen.pb"), freeze(extractor)
        frozen.write_bytes(function.graph.as_graph_def().SerializeToString())
        graph = import_openvino().Core().read_model(frozen)
    _embed_arrays(graph, function)
    return graph


def _embed_arrays(graph: Any, function: Any) -> None:
    """Make constants of the large arrays that layers keep besides their weights."""
    # TensorFlow makes inputs of them: of the positions of Swin, for example.
    names = (given.name for given in function.graph.inputs[1:])
    arrays = dict(zip(names, function.captured_inputs))
    for parameter in graph.get_parameters():
        for name in arrays.keys() & parameter.output(0).get_names():
            constant = import_openvino().opset13.constant(arrays[name].numpy())
            for target in parameter.output(0).get_target_inputs():
                target.replace_source_output(constant.output(0))
            graph.remove_parameter(parameter)


def _noise_and_black(shape: tuple[int, int]) -> np.ndarray:
    pixels = np.random.RandomState(0).randint(256, size=(2, *shape, 3), dtype=np.uint8)
    pixels[1] = 0
    return pixels


def _run(graph: Any, pixels: np.ndarray) -> np.ndarray:
    # In float32 for any precision, because bfloat16 differs by design.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    network = import_openvino().Core().compile_model(graph, "CPU", exact)
    return np.asarray(network([pixels])[0])


def _difference(rows: np.ndarray, expected: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):  # infinite rows
        return float(np.abs(rows - expected).max() / max(np.abs(expected).max(), 1e-30))


def _check_varies(rows: np.ndarray, spec: NetworkSpec) -> None:
    if np.isnan(rows).any(axis=1).all():
        raise NetworkError(
            f"Expected numbers from {spec.name}, got NaN for noise and for a black image. Nothing "
            "was computed. Check preprocess= (--preprocess) and the weights."
        )
    if (rows[0] == rows[1]).all():
        raise ConstantFeaturesError("a black image and noise")
