"""Imports a KerasHub preset as a file that contains a network and its preprocessing."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from resnet_kmeans._files import replacing
from resnet_kmeans.exceptions import ExtraNotInstalledError, NetworkError, printable
from resnet_kmeans.network.libraries import import_tensorflow

# Networks whose authors use the first token as the embedding of the whole image.
WITH_CLASS_TOKEN = ("ViTBackbone", "DeiTBackbone", "DINOV2Backbone", "DINOV3Backbone")


class ImportedPreset(NamedTuple):
    """A file written by `import_preset`, and the input shape of its network."""

    file: Path
    input_shape: tuple[int, int]

    @property
    def usage(self) -> str:
        """A line of Python code that uses the file."""
        return (
            f"ResNetFeaturizer(weights={os.fspath(self.file)!r}, input_shape={self.input_shape}, "
            'preprocess="none")'
        )


def import_preset(preset: str, file: str | os.PathLike[str]) -> ImportedPreset:
    """Write a pretrained KerasHub network to a ``.keras`` file that takes pixels from 0 to 255.

    The output of the network is its usual embedding: the first token of ViT, DeiT, DINOv2 and
    DINOv3, the mean token of other transformers, the image embedding of CLIP and SigLIP, and
    the mean of the last feature maps of other networks.

    Parameters
    ----------
    preset : str
        Anything that KerasHub accepts: a name, ``kaggle://...``, ``hf://...`` or a folder.
    file : str or path-like
        The file to write. It must not exist yet, and have the extension ``.keras``.

    Raises
    ------
    ExtraNotInstalledError
        If keras-hub is not installed.
    NetworkError
        If the preset does not exist or does not take images, or `file` exists already.
    """
    file = Path(file)
    if file.suffix != ".keras" or file.exists():
        raise NetworkError(
            f"Expected a new file with the extension .keras, got {printable(file)}. Nothing was "
            "written. Choose another name."
        )
    backbone, converter = _load(preset)
    shape = _input_shape(preset, backbone, converter)
    model = _build(preset, backbone, converter, shape)
    with replacing(file) as part:
        model.save(part)
    return ImportedPreset(file, shape)


def _load(preset: str) -> tuple[Any, Any]:
    import_tensorflow()
    try:
        import keras_hub
    except ImportError as error:
        what = "the networks of presets"
        raise ExtraNotInstalledError("keras-hub", "hub", what) from error
    try:
        # Some presets have half precision; `ResNetFeaturizer.precision` decides about it later.
        backbone = keras_hub.models.Backbone.from_preset(preset, dtype="float32")
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # KerasHub, Kaggle and Hugging Face raise unrelated errors
        raise _refused(preset, str(error).strip().split("\n")[0]) from error
    if converter is None:
        raise _refused(preset, "it does not state how its pixels are scaled")
    return backbone, converter


def _refused(preset: str, reason: str) -> NetworkError:
    return NetworkError(
        f"Expected a KerasHub preset that takes images, got {printable(preset)!r}: "
        f"{printable(reason)}. Nothing was written. Choose another preset, or build the "
        "network with Keras and save it as a .keras file."
    )


def _input_shape(preset: str, backbone: Any, converter: Any) -> tuple[int, int]:
    """Return the height and width that a network requires, or else those of its preset."""
    inputs = backbone.input
    if isinstance(inputs, dict):  # CLIP also takes text; DINOv3 has another key
        inputs = inputs["images"] if "images" in inputs else next(iter(inputs.values()))
    shape: tuple[int | None, ...] = tuple(getattr(inputs, "shape", ()))
    if len(shape) != 4:
        raise _refused(preset, "its input is not a single image")
    _, height, width, _ = shape
    if height is None or width is None:
        height, width = converter.image_size or (224, 224)
    return int(height), int(width)


def _build(preset: str, backbone: Any, converter: Any, shape: tuple[int, int]) -> Any:
    keras = import_tensorflow().keras
    pixels = keras.Input((*shape, 3))
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    scaled = keras.layers.Rescaling(scale, offset, name="preprocessing")(pixels)
    if hasattr(backbone, "get_vision_embeddings"):
        return keras.Model(pixels, backbone.get_vision_embeddings(scaled))
    return keras.Model(pixels, _pool(preset, backbone, _apply(preset, backbone, scaled)))


def _apply(preset: str, backbone: Any, images: Any) -> Any:
    """Return the last output of a backbone."""
    keras = import_tensorflow().keras
    if isinstance(backbone.input, dict) and len(backbone.input) > 1:
        raise _refused(preset, f"it takes {' and '.join(backbone.input)}")
    outputs = backbone.output
    if isinstance(outputs, dict):  # one output per stage, the last one last
        outputs = list(outputs.values())[-1]
    # A model that consists only of Keras' own layers can be loaded without keras-hub.
    if all(type(layer).__module__.startswith("keras.") for layer in backbone.layers):
        return keras.Model(backbone.inputs, outputs)(images)
    given = dict.fromkeys(backbone.input, images) if isinstance(backbone.input, dict) else images
    found = backbone(given)
    return list(found.values())[-1] if isinstance(found, dict) else found


def _pool(preset: str, backbone: Any, output: Any) -> Any:
    layers = import_tensorflow().keras.layers
    if len(output.shape) == 2:
        return output
    if len(output.shape) == 4:
        return layers.GlobalAveragePooling2D(data_format="channels_last")(output)
    if len(output.shape) != 3:
        raise _refused(preset, f"its output has the shape {output.shape[1:]} per image")
    has_class_token = getattr(backbone, "use_class_token", True)  # ViT may have none
    if type(backbone).__name__ in WITH_CLASS_TOKEN and has_class_token:
        return output[:, 0]
    return layers.GlobalAveragePooling1D(data_format="channels_last")(output)
