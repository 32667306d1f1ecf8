"""Compiles a Keras model to what OpenVINO runs."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans.network.compiled_file import CompiledFile
from resnet_kmeans.network.extractor import build_extractor
from resnet_kmeans.network.frozen import freeze, hash_weights
from resnet_kmeans.network.quantizing import quantize
from resnet_kmeans.network.telemetry import import_openvino
from resnet_kmeans.network.weights import NetworkSpec

# Of the largest feature; ResNet50 was seen to differ by 4e-7, a wrong conversion by far more.
MAX_DIFFERENCE = 1e-4


class NotCompiledError(Exception):
    """OpenVINO cannot run a network; TensorFlow can."""


def compile_model(model: Any, spec: NetworkSpec) -> CompiledFile:
    """Compile a Keras model, with preprocessing and pooling inside.

    Parameters
    ----------
    model : keras.Model
    spec : NetworkSpec

    Returns
    -------
    CompiledFile

    Raises
    ------
    NetworkError
        If `spec` does not fit the model.
    NotCompiledError
        If OpenVINO has not all the operations of the model, computes something else by them, or
        is not there.
    """
    extractor = build_extractor(model, spec)
    try:
        compiled = _compile(extractor)
    # OpenVINO raises RuntimeError and errors of its own that share no class with it.
    except Exception as error:
        raise NotCompiledError(str(error).strip().splitlines()[-1]) from error
    _check(compiled, extractor)
    if spec.precision == "int8":
        return replace(compiled, graph=quantize(compiled.graph, spec.input_shape))
    return compiled


def _compile(extractor: Any) -> CompiledFile:
    openvino = import_openvino()
    with tempfile.TemporaryDirectory() as folder:
        frozen = Path(folder, "frozen.pb")
        frozen.write_bytes(freeze(extractor).graph.as_graph_def().SerializeToString())
        graph = openvino.Core().read_model(frozen)
    _fold(graph)
    return CompiledFile(graph, hash_weights(extractor), int(extractor.output_shape[1]))


def _fold(graph: Any) -> None:
    """Fold normalisations into convolutions now, which saves memory whenever it is run."""
    with contextlib.suppress(ImportError):  # private; without it they are folded at every start
        from openvino._offline_transformations import apply_moc_transformations

        apply_moc_transformations(graph, cf=False, smart_reshape=False)


def _check(compiled: CompiledFile, extractor: Any) -> None:
    """Compare the features of an image with those of Keras."""
    shape = (1, *extractor.input_shape[1:])
    pixels = np.random.RandomState(0).randint(256, size=shape, dtype=np.uint8)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    network = import_openvino().Core().compile_model(compiled.graph, "CPU", exact)
    rows, expected = network([pixels])[0], np.asarray(extractor(pixels))
    difference = float(np.abs(rows - expected).max() / max(np.abs(expected).max(), 1e-30))
    if not difference <= MAX_DIFFERENCE:  # NaN too
        raise NotCompiledError(f"its features differ by {difference:.1g} from those of Keras")
