"""Imports a KerasHub preset as a file that contains a network and its preprocessing."""

import contextlib
import difflib
import hashlib
import json
import logging
import os
import re
import sys
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from resnet_kmeans._files import replacing
from resnet_kmeans.exceptions import ExtraNotInstalledError, NetworkError, printable
from resnet_kmeans.network.compiled_files import make_room, places_of
from resnet_kmeans.network.libraries import import_tensorflow
from resnet_kmeans.network.weights import BACKBONE_VARIABLE, BACKBONES, NetworkSpec, state_of

logger = logging.getLogger(__name__)

# Networks whose authors use the first token as the embedding of the whole image.
WITH_CLASS_TOKEN = ("ViTBackbone", "DeiTBackbone", "DINOV2Backbone", "DINOV3Backbone")
OWN_SHAPE = (224, 224)  # the default of `ResNetFeaturizer`, which stands for that of the preset


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


def preset_spec(spec: NetworkSpec, folder: Path | None) -> NetworkSpec:
    """Return the spec of the file of a preset, which is imported at its first use.

    Parameters
    ----------
    spec : NetworkSpec
        Its backbone is the preset. An `input_shape` of (224, 224) stands for that of the preset.
    folder : Path or None
        Where the file is kept; None uses a temporary folder.

    Raises
    ------
    ExtraNotInstalledError
        If the preset is not imported yet, and keras-hub is not installed.
    NetworkError
        If there is no such preset, or `spec` does not fit it.
    """
    if (spec.weights, spec.preprocess) != ("imagenet", "none"):
        raise NetworkError(
            f'Expected weights="imagenet" and preprocess="auto" for the preset '
            f"{_named(spec.backbone)}, which stand for its own, got weights={spec.weights!r} and "
            f"preprocess={spec.preprocess!r}. Nothing was computed. Leave both out, or pass one of "
            f"the backbones {', '.join(BACKBONES)}."
        )
    is_folder = os.path.isdir(os.path.expanduser(spec.backbone))
    preset = os.path.abspath(os.path.expanduser(spec.backbone)) if is_folder else spec.backbone
    wanted = None if spec.input_shape == OWN_SHAPE else spec.input_shape
    for file in places_of(_file_name(preset, wanted), folder):
        if shape := _shape_in(file):
            return replace(spec, weights=os.fspath(file), input_shape=shape)
    if not is_folder:
        _check_name(preset)
    logger.info("Importing %s (first use only).", printable(preset))
    model, shape = _build(preset, wanted)
    for file in places_of(_file_name(preset, wanted), folder):
        with contextlib.suppress(OSError):  # the folder may be read-only
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(model, file)
            make_room(file.parent)
            break
    return replace(spec, weights=os.fspath(file), input_shape=shape)


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
    model, shape = _build(preset, None)
    _write(model, file)
    return ImportedPreset(file, shape)


def _write(model: Any, file: Path) -> None:
    with replacing(file) as part:
        model.save(part)


def _file_name(preset: str, wanted: tuple[int, int] | None) -> str:
    """Return the name of the file of a preset, another one if a folder has changed."""
    inside = sorted(Path(preset).rglob("*")) if os.path.isdir(preset) else []
    about = preset, wanted, [state_of(path) for path in inside if path.is_file()]
    key = hashlib.blake2b(repr(about).encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return f"{re.sub(r'[^a-zA-Z0-9._-]+', '_', preset)[-60:]}-{key}.keras"


def _shape_in(file: Path) -> tuple[int, int] | None:
    """Return the input shape of an imported file, or None if it is missing or damaged."""
    try:
        with zipfile.ZipFile(file) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        _, height, width, _ = layers[0]["config"]["batch_shape"]
        return int(height), int(width)
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile):
        return None


def _named(preset: str) -> str:
    """Return a backbone for messages, with the variable that it comes from."""
    is_default = os.environ.get(BACKBONE_VARIABLE) == preset
    return f"{printable(preset)!r}{f' (the value of {BACKBONE_VARIABLE})' if is_default else ''}"


def _check_name(preset: str) -> None:
    """Raise an error at once if a name is misspelled, without waiting for a download."""
    if "://" in preset:
        return
    names, note = [*BACKBONES], "a preset of KerasHub needs pip install 'resnet-kmeans[hub]'"
    with contextlib.suppress(ExtraNotInstalledError):
        presets = _import_hub().models.Backbone.presets
        names, note = [*BACKBONES, *presets], "so are the presets of KerasHub, and folders of them"
    if preset not in names:
        close = difflib.get_close_matches(preset, names, n=3)
        guess = f" Did you mean {' or '.join(close)}?" if close else ""
        raise NetworkError(
            f"Expected the name of a backbone, got {_named(preset)}. Nothing was computed.{guess} "
            f"Known are {', '.join(BACKBONES)}; {note}."
        )


def _import_hub() -> Any:
    if find_spec("keras_hub") is None:  # TensorFlow is not imported in vain
        raise ExtraNotInstalledError("keras-hub", "hub", "the networks of presets")
    import_tensorflow()
    import keras_hub

    return keras_hub


def _load(preset: str) -> tuple[Any, Any]:
    hub = _import_hub()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is reserved for results
            # Some presets have half precision; `ResNetFeaturizer.precision` decides later.
            backbone = hub.models.Backbone.from_preset(preset, dtype="float32")
            converter = hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # KerasHub, Kaggle and Hugging Face raise unrelated errors
        raise _refused(preset, str(error).strip().split("\n")[0].rstrip(".")) from error
    if converter is None:
        raise _refused(preset, "it does not state how its pixels are scaled")
    return backbone, converter


def _refused(preset: str, reason: str) -> NetworkError:
    return NetworkError(
        f"Expected a KerasHub preset that takes images, got {_named(preset)}: "
        f"{printable(reason)}. Nothing was written. Check its name and the connection to the "
        "internet, choose another preset, or build the network with Keras and save it as a "
        ".keras file."
    )


def _input_shape(
    preset: str, backbone: Any, converter: Any, wanted: tuple[int, int] | None
) -> tuple[int, int]:
    """Return the height and width that a network requires, or else those of its preset."""
    inputs = backbone.input
    if isinstance(inputs, dict):  # CLIP also takes text; DINOv3 has another key
        inputs = inputs["images"] if "images" in inputs else next(iter(inputs.values()))
    shape: tuple[int | None, ...] = tuple(getattr(inputs, "shape", ()))
    if len(shape) != 4:
        raise _refused(preset, "its input is not a single image")
    _, height, width, _ = shape
    if height is None or width is None:
        height, width = wanted or converter.image_size or OWN_SHAPE
    if wanted not in (None, (height, width)):
        raise NetworkError(
            f"Expected input_shape=({height}, {width}), the only one that the preset "
            f"{_named(preset)} takes, got {wanted}. Nothing was computed. Leave it out."
        )
    return int(height), int(width)


def _build(preset: str, wanted: tuple[int, int] | None) -> tuple[Any, tuple[int, int]]:
    """Return a network from pixels to embeddings, and its input shape."""
    backbone, converter = _load(preset)
    shape = _input_shape(preset, backbone, converter, wanted)
    keras = import_tensorflow().keras
    pixels = keras.Input((*shape, 3))
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    scaled = keras.layers.Rescaling(scale, offset, name="preprocessing")(pixels)
    if hasattr(backbone, "get_vision_embeddings"):
        rows = backbone.get_vision_embeddings(scaled)
    else:
        rows = _pool(preset, backbone, _apply(preset, backbone, scaled))
    return keras.Model(pixels, rows), shape


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
