"""Compiles a Keras model for OpenVINO."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans.exceptions import ConstantFeaturesError
from resnet_kmeans.network.compiled_file import CompiledFile
from resnet_kmeans.network.extractor import build_extractor
from resnet_kmeans.network.quantizing import quantize
from resnet_kmeans.network.telemetry import import_openvino
from resnet_kmeans.network.tensorflow_network import freeze, hash_weights
from resnet_kmeans.network.weights import NetworkSpec

# Relative to the largest feature. ResNet50 differs by 4e-7; a wrong conversion by far more.
MAX_DIFFERENCE = 1e-4


class NotCompiledError(Exception):
    """OpenVINO cannot run this network; TensorFlow can."""


def compile_model(model: Any, spec: NetworkSpec) -> CompiledFile:
    """Compile a Keras model, including its preprocessing and pooling.

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
        If `spec` does not fit the model, or the features do not depend on the image.
    NotCompiledError
        If OpenVINO is not installed, lacks an operation of the model, or computes different
        features.
    """
    extractor = build_extractor(model, spec)
    try:
        compiled = _compile(extractor)
    # OpenVINO raises RuntimeError and its own errors, which share no base class.
    except Exception as error:
        raise NotCompiledError(str(error).strip().splitlines()[-1]) from error
    _check(compiled, extractor)
    if spec.precision == "int8":
        return replace(compiled, graph=quantize(compiled.graph, spec.input_shape))
    return compiled


def _compile(extractor: Any) -> CompiledFile:
    openvino = import_openvino()
    with tempfile.TemporaryDirectory() as folder:
        # `read_model`, unlike `convert_model`, reports no usage to OpenVINO's maker.
        frozen = Path(folder, "frozen.pb")
        frozen.write_bytes(freeze(extractor).graph.as_graph_def().SerializeToString())
        graph = openvino.Core().read_model(frozen)
    _fold(graph)
    return CompiledFile(graph, hash_weights(extractor), int(extractor.output_shape[1]))


def _fold(graph: Any) -> None:
    """Fold batch normalisations into convolutions, which saves memory at every start."""
    # This module of OpenVINO is private. Without it, OpenVINO folds at every start instead.
    with contextlib.suppress(ImportError):
        from openvino._offline_transformations import apply_moc_transformations

        apply_moc_transformations(graph, cf=False, smart_reshape=False)


def _check(compiled: CompiledFile, extractor: Any) -> None:
    """Check that the compiled network returns the features of Keras, and no constant."""
    shape = (2, *extractor.input_shape[1:])
    pixels = np.random.RandomState(0).randint(256, size=shape, dtype=np.uint8)
    pixels[1] = 0
    # Compared in float32 whatever the precision asked for: bfloat16 differs by design.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    network = import_openvino().Core().compile_model(compiled.graph, "CPU", exact)
    rows, expected = network([pixels])[0], np.asarray(extractor(pixels))
    difference = float(np.abs(rows - expected).max() / max(np.abs(expected).max(), 1e-30))
    if not difference <= MAX_DIFFERENCE:  # also true for NaN
        raise NotCompiledError(f"its features differ from those of Keras by {difference:.1g}")
    if (rows[0] == rows[1]).all():
        raise ConstantFeaturesError("a black image and noise")
