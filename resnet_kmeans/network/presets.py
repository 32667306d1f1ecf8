"""Imports a KerasHub preset as a file that contains a network and its preprocessing."""

import contextlib
import difflib
import hashlib
import logging
import os
import re
import shutil
import sys
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from resnet_kmeans._files import replacing
from resnet_kmeans.exceptions import ExtraNotInstalledError, NetworkError, printable
from resnet_kmeans.network.compiled_files import make_room, places_of
from resnet_kmeans.network.libraries import import_tensorflow
from resnet_kmeans.network.weights import BACKBONE_VARIABLE, BACKBONES, NetworkSpec, state_of

logger = logging.getLogger(__name__)

# Networks whose authors use the first token as the embedding of the whole image.
WITH_CLASS_TOKEN = ("ViTBackbone", "DeiTBackbone", "DINOV2Backbone", "DINOV3Backbone")
OWN_SHAPE = (224, 224)  # the default of `ResNetFeaturizer`, which stands for that of the preset


def preset_spec(spec: NetworkSpec, folder: Path | None) -> NetworkSpec:
    """Return the spec of the file of a preset, which is imported at its first use.

    Pooled by "avg", its output is the usual embedding: the first token of ViT, DeiT, DINOv2 and
    DINOv3, the mean token of other transformers, the image embedding of CLIP and SigLIP, and the
    mean of the last feature maps of other networks.

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
    places = [*places_of(_file_name(preset, wanted), folder)]
    for file in places:
        if shape := _shape_in(file):
            return replace(spec, weights=os.fspath(file), input_shape=shape)
    if not is_folder:
        _check_name(preset)
    logger.info("Importing %s (first use only).", printable(preset))
    model, shape = _build(preset, wanted)
    for file in places:
        with contextlib.suppress(OSError):  # the folder may be read-only
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as part:
                model.save(part)
            make_room(file.parent)
            break
    return replace(spec, weights=os.fspath(file), input_shape=shape)


def import_preset(preset: str, file: str | os.PathLike[str]) -> NetworkSpec:
    """Write a KerasHub preset to a new ``.keras`` file and return the spec that uses it.

    Raises
    ------
    ExtraNotInstalledError, NetworkError
        As `preset_spec`, or if `file` exists already or has another extension.
    """
    file = Path(file)
    if file.suffix != ".keras" or file.exists():
        raise NetworkError(
            f"Expected a new file with the extension .keras, got {printable(file)}. Nothing was "
            "written. Choose another name."
        )
    spec = preset_spec(NetworkSpec(backbone=preset, preprocess="none"), None)
    with replacing(file) as part:
        shutil.copyfile(spec.file, part)
    return replace(spec, weights=os.fspath(file))


def _file_name(preset: str, wanted: tuple[int, int] | None) -> str:
    """Return the name of the file of a preset, another one if a folder has changed."""
    inside = [state_of(path) for path in sorted(Path(preset).rglob("*")) if path.is_file()]
    about = repr((preset, wanted, inside)).encode(errors="surrogateescape")
    key = hashlib.blake2b(about, digest_size=8).hexdigest()
    return f"{re.sub(r'[^a-zA-Z0-9._-]+', '_', preset)[-60:]}-{key}.keras"


def _shape_in(file: Path) -> tuple[int, int] | None:
    """Return the input shape of an imported file, or None if it is missing or damaged."""
    with contextlib.suppress(OSError, LookupError, zipfile.BadZipFile):
        config = zipfile.ZipFile(file).read("config.json")
        if found := re.search(rb'"batch_shape": \[null, (\d+), (\d+), 3\]', config):
            return int(found[1]), int(found[2])
    return None


def _named(preset: str) -> str:
    """Return a backbone for messages, with the variable that it comes from."""
    is_default = os.environ.get(BACKBONE_VARIABLE) == preset
    return f"{printable(preset)!r}{f' (the value of {BACKBONE_VARIABLE})' if is_default else ''}"


def _check_name(preset: str) -> None:
    """Raise an error at once if a name is misspelled, without waiting for a download."""
    if "://" in preset:
        return
    names = [*BACKBONES]
    with contextlib.suppress(ExtraNotInstalledError):
        names += _import_hub().models.Backbone.presets
    if preset not in names:
        close = difflib.get_close_matches(preset, names, n=3)
        guess = f" Did you mean {' or '.join(close)}?" if close else ""
        raise NetworkError(
            f"Expected the name of a backbone, got {_named(preset)}. Nothing was computed.{guess} "
            f"Known are {', '.join(BACKBONES)}, and KerasHub's presets and folders of them, which "
            "need keras-hub: pip install 'resnet-kmeans[hub]'. A file of a network is passed as "
            "weights= (--weights)."
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
    """Return a network that takes pixels from 0 to 255, and its input shape."""
    backbone, converter = _load(preset)
    shape = _input_shape(preset, backbone, converter, wanted)
    keras = import_tensorflow().keras
    pixels = keras.Input((*shape, 3))
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    scaled = keras.layers.Rescaling(scale, offset, name="preprocessing")(pixels)
    if hasattr(backbone, "get_vision_embeddings"):
        return keras.Model(pixels, backbone.get_vision_embeddings(scaled)), shape
    return keras.Model(pixels, _apply(preset, backbone, scaled)), shape


def _apply(preset: str, backbone: Any, images: Any) -> Any:
    """Return the last output of a backbone, or only its class token."""
    given = images
    if isinstance(backbone.input, dict):
        given = dict.fromkeys(backbone.input, images)
        if len(given) > 1:
            raise _refused(preset, f"it takes {' and '.join(given)}")
    # A model that consists only of Keras' own layers can be loaded without keras-hub.
    is_plain = all(type(layer).__module__.startswith("keras.") for layer in backbone.layers)
    model = import_tensorflow().keras.Model
    found = (model(backbone.input, backbone.output) if is_plain else backbone)(given)
    if isinstance(found, dict):  # one output per stage, the last one last
        found = list(found.values())[-1]
    has_class_token = getattr(backbone, "use_class_token", True)  # ViT may have none
    if type(backbone).__name__ in WITH_CLASS_TOKEN and has_class_token:
        return found[:, 0]
    return found
