"""Rewrites a Keras graph into one that computes the same in less time."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from resnet_kmeans.network.weights import import_tensorflow


class Graph:
    """A functional Keras model, looked at for what it computes without need.

    Batch normalisation after a linear convolution is a factor and a shift, which fit into
    the convolution's weights. And where only every second row and column of an output is
    read, as at the end of each stage of a ResNet, the others are not computed: that saves
    10 % of ResNet50.

    Parameters
    ----------
    model : keras.Model
        With layers of Keras' own, each called once. `is_readable` tells.
    """

    def __init__(self, model: Any):
        self._model = model
        self._keras = import_tensorflow().keras
        self._producer = {id(layer.output): layer for layer in model.layers}
        self._readers = defaultdict(list)
        for layer in model.layers:
            for tensor in self._keras.tree.flatten(layer.input):
                self._readers[id(tensor)].append(layer)
        for tensor in model.outputs:
            self._readers[id(tensor)].append(None)
        self._folded = self._find_folded()
        self._steps: dict[str, int] = {}
        for layer in reversed(model.layers):  # readers come before what they read
            self._steps[layer.name] = 2 if self._is_thinned(layer) else 1

    @property
    def n_folded(self) -> int:
        """Batch normalisations that fit into convolutions."""
        return len(self._folded)

    @property
    def n_thinned(self) -> int:
        """Layers that need only every second row and column of their output."""
        return sum(step == 2 for step in self._steps.values())

    def rewrite(self, precision: str) -> Any:
        """Return a model that computes the same in `precision`, with weights of its own."""
        normalisations = {layer.name for layer in self._folded.values()}

        made = {"dtype": precision, "data_format": "channels_last"}

        def clone(layer: Any) -> Any:
            config = {**layer.get_config(), "dtype": precision}
            # Weights follow; drawing random ones first took 0.3 s of ResNet50.
            config |= {name: "zeros" for name in config if name.endswith("_initializer")}
            if layer.name in self._folded:
                config["use_bias"] = True
            if self._is_convolution(layer):
                config["strides"] = self._strides(layer)
            if self._is_padded_apart(layer):
                config["padding"] = "valid"
            return type(layer).from_config(config)

        def call(new: Any, inputs: Any, *others: Any, **keywords: Any) -> Any:
            layer = self._model.get_layer(new.name)
            if self._is_padded_apart(layer):
                margin = [size // 2 for size in layer.kernel_size]
                inputs = self._keras.layers.ZeroPadding2D(margin, **made)(inputs)
            elif self._steps[layer.name] == 2 and self._is_elementwise(layer):
                drop = self._keras.layers.MaxPooling2D(pool_size=1, strides=2, **made)
                inputs = self._thin(layer, inputs, drop)
            return inputs if new.name in normalisations else new(inputs, *others, **keywords)

        cloned = self._keras.models.clone_model(
            self._model, clone_function=clone, call_function=call
        )
        for new in cloned.layers:
            if new.weights:
                layer = self._model.get_layer(new.name)
                new.set_weights(_folded_weights(layer, self._folded.get(layer.name)))
        return cloned

    def _find_folded(self) -> dict[str, Any]:
        """Return the batch normalisation to fold into each convolution, by its name."""
        folded = {}
        for layer in self._model.layers:
            is_normalisation = isinstance(layer, self._keras.layers.BatchNormalization)
            if is_normalisation and self._is_elementwise(layer):
                (before,) = self._sources(layer)
                alone = len(self._readers[id(layer.input)]) == 1
                if alone and self._is_convolution(before) and _is_linear(before):
                    folded[before.name] = layer
        return folded

    def _is_thinned(self, layer: Any) -> bool:
        """Return whether only every second row and column of the output is to be computed."""
        can = self._is_elementwise(layer) or (
            self._is_convolution(layer)
            and layer.dilation_rate == (1, 1)
            and (layer.padding == "valid" or self._is_centred(layer))
        )
        return can and all(map(self._reads_thinned, self._readers[id(layer.output)]))

    def _reads_thinned(self, reader: Any) -> bool:
        """Return whether a layer reads, or can be made to read, every second row and column."""
        if reader is None:
            return False
        step = self._steps[reader.name]
        if self._is_convolution(reader):
            return _is_pointwise(reader) and {s * step % 2 for s in reader.strides} == {0}
        return self._is_elementwise(reader) and step == 2

    def _strides(self, layer: Any) -> tuple[int, ...]:
        (before,) = self._sources(layer)
        done = self._steps[before.name] if _is_pointwise(layer) else 1
        return tuple(s * self._steps[layer.name] // done for s in layer.strides)

    def _thin(self, layer: Any, inputs: Any, drop: Any) -> Any:
        """Drop every second row and column of those inputs that still have them."""
        steps = [self._steps[before.name] for before in self._sources(layer)]
        flat = self._keras.tree.flatten(inputs)
        thinned = [t if step == 2 else drop(t) for t, step in zip(flat, steps)]
        return self._keras.tree.pack_sequence_as(inputs, thinned)

    def _sources(self, layer: Any) -> list[Any]:
        return [self._producer[id(t)] for t in self._keras.tree.flatten(layer.input)]

    def _is_padded_apart(self, layer: Any) -> bool:
        """Return whether "same" would pad otherwise once every second row is skipped."""
        thinned = self._steps[layer.name] == 2 and self._is_convolution(layer)
        return thinned and not _is_pointwise(layer) and layer.padding == "same"

    def _is_convolution(self, layer: Any) -> bool:
        is_own = type(layer) is self._keras.layers.Conv2D
        return is_own and layer.data_format == "channels_last"

    def _is_centred(self, layer: Any) -> bool:
        sizes_are_odd = all(size % 2 for size in layer.kernel_size)
        return _is_pointwise(layer) or (sizes_are_odd and layer.strides == (1, 1))

    def _is_elementwise(self, layer: Any) -> bool:
        """Return whether each row and column of the output needs only that of the inputs."""
        layers = self._keras.layers
        if isinstance(layer, layers.BatchNormalization):
            return layer.axis in (-1, 3)
        if isinstance(layer, layers.Add):
            return len({tensor.shape for tensor in layer.input}) == 1
        return isinstance(layer, (layers.ReLU, layers.Activation))


def is_readable(model: Any) -> bool:
    """Return whether a `Graph` can be made of a model.

    Not of one with layers that are shared, models themselves, or not Keras' own.
    """
    keras = import_tensorflow().keras
    if not getattr(model, "outputs", None):  # subclassed: there is no graph
        return False
    own = all(type(layer).__module__.startswith("keras.") for layer in model.layers)
    if not own or any(isinstance(layer, keras.Model) for layer in model.layers):
        return False
    read = [tensor for layer in model.layers for tensor in keras.tree.flatten(layer.input)]
    produced = {id(layer.output) for layer in model.layers}
    return {id(tensor) for tensor in [*read, *model.outputs]} <= produced


def _is_pointwise(convolution: Any) -> bool:
    return bool(convolution.kernel_size == (1, 1))


def _is_linear(convolution: Any) -> bool:
    return bool(convolution.get_config()["activation"] == "linear")


def _folded_weights(layer: Any, normalisation: Any | None) -> list[np.ndarray]:
    weights = layer.get_weights()
    if normalisation is None:
        return list(weights)
    named = {v.name: np.asarray(v, dtype=np.float64) for v in normalisation.weights}
    scale = named.get("gamma", 1) / np.sqrt(named["moving_variance"] + normalisation.epsilon)
    bias = weights[1] if layer.use_bias else 0
    shifted = (bias - named["moving_mean"]) * scale + named.get("beta", 0)
    return [(weights[0] * scale).astype(np.float32), shifted.astype(np.float32)]
