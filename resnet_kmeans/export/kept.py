"""What an export keeps of the features of its images, so that it can judge them by itself."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resnet_kmeans._files import HIDDEN_PREFIX
from resnet_kmeans._folder_names import folder_of
from resnet_kmeans.clustering import MAX_COMPONENTS, FolderGaussians, is_readable
from resnet_kmeans.exceptions import ModelFileError, OutputFolderError, printable
from resnet_kmeans.export.journal import Journal, Row, Step
from resnet_kmeans.export.table import ExportedImage
from resnet_kmeans.saving import read_model, write_model

logger = logging.getLogger(__name__)


class KeptNetwork(NamedTuple):
    """Where the features that an export keeps come from.

    Attributes
    ----------
    header : dict
        Describes the clusterer and, if it can be restored without code, the featurizer.
    arrays : dict of str to ndarray
        The projection from the features of the network to those that are kept.
    is_own : bool
        Whether this user vouches for the path of the weights in the header.
    """

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]
    is_own: bool


class FolderModel(NamedTuple):
    """The folders of an export as they are, as a model.

    Attributes
    ----------
    names : list of str, of length n_folders
        The folders that hold images whose features are known.
    gaussians : FolderGaussians or None
        Fitted to these images; None if there are none.
    features : ndarray of shape (n_files, c), dtype float16
        Reduced features of each file of the journal; NaN if unknown.
    own : ndarray of shape (n_files,), dtype int
        Position of its folder in `names`; -1 for a file in none of them.
    """

    names: list[str]
    gaussians: FolderGaussians | None
    features: np.ndarray
    own: np.ndarray

    @property
    def of_folders(self) -> tuple[np.ndarray, np.ndarray]:
        """The features of the images in folders, and these folders."""
        inside = self.own >= 0
        return self.features[inside], self.own[inside]


def name_of_kept(step: int) -> str:
    """Return the name of the file that a step keeps."""
    return f"{HIDDEN_PREFIX}{step}.safetensors"


def keep(
    folder: Path, journal: Journal, features: np.ndarray | None, network: KeptNetwork | None = None
) -> None:
    """Write what the last step of an export keeps: the features of the images that it brings.

    Parameters
    ----------
    folder : Path
    journal : Journal
    features : ndarray of shape (n, c) or None
        In the order of the images. If None, nothing is written.
    network : KeptNetwork, default=None
        Only with the first step.
    """
    if features is None:
        return
    header, arrays, is_own = network or KeptNetwork({}, {}, False)
    header, arrays = {**header, "export": journal.id}, {**arrays, "features": features}
    try:
        write_model(folder / name_of_kept(journal.last.number), header, arrays, is_own=is_own)
    except ModelFileError as error:
        if isinstance(error.__cause__, OSError):  # a full disk, for example
            raise error.__cause__ from error
        raise


def _read_kept(folder: Path, journal: Journal, step: int) -> KeptNetwork | None:
    """Return what a step keeps, or None; a file may be of an export that was begun and killed."""
    file = folder / name_of_kept(step)
    if not file.is_file() or file.is_symlink():
        return None
    found = KeptNetwork(*read_model(file))
    return found if found.header.get("export") == journal.id else None


def read_network(folder: Path, journal: Journal) -> KeptNetwork:
    """Return the network that an export keeps.

    Raises
    ------
    OutputFolderError
        If it keeps none, or only one that cannot be restored without code.
    """
    found = _read_kept(folder, journal, 1)
    if found is not None and "featurizer" in found.header:
        return found
    raise OutputFolderError(
        f"The export in {printable(folder)} keeps no network: it was made from labels alone, or "
        "with a featurizer of its own, which cannot be saved, or its hidden files were removed. "
        "Nothing was done. Export again with ImageFolderClusterer.export and a ResNetFeaturizer."
    )


def _features_of(folder: Path, journal: Journal, step: Step) -> np.ndarray:
    none, n_files = np.empty((0, 0), np.float16), len(step.files)
    if not n_files:
        return none
    try:
        kept = _read_kept(folder, journal, step.number)
        found = none if kept is None else kept.arrays["features"]
        if found.ndim != 2 or found.dtype != np.float16 or len(found) > n_files:
            raise ModelFileError(
                f"Expected {n_files} rows of half precision for step {step.number}."
            )
        if found.shape[1] > MAX_COMPONENTS:
            raise ModelFileError(f"Expected {MAX_COMPONENTS} numbers an image at most.")
    except (ModelFileError, OSError, LookupError) as error:
        logger.warning("Some images cannot be judged: %s", error)
        return none
    return np.where(np.isfinite(found), found, np.float16(np.nan))


def read_features(folder: Path, journal: Journal, edited: Collection[int] = ()) -> np.ndarray:
    """Return the kept features of each file of a journal, (n_files, c); NaN if unknown.

    Files that were edited, by their numbers, have other features now, which are not known.
    """
    kept = [(len(step.files), _features_of(folder, journal, step)) for step in journal.steps]
    width = kept[0][1].shape[1]
    features = np.full((len(journal.files), width), np.nan, np.float16)
    start = 0
    for n_files, known in kept:
        if known.shape[1] == width:
            features[start : start + len(known)] = known
        start += n_files
    features[[*edited]] = np.nan
    return features


def model_folders(features: np.ndarray, rows: Sequence[Row | None]) -> FolderModel:
    """Return the folders of an export as a model, if each of its files has the row given."""
    width = features.shape[1]
    is_known = is_readable(features) if width else np.zeros(len(rows), bool)
    found = [(i, row, folder_of(row.path)) for i, row in enumerate(rows) if row and row.path]
    inside = [(i, row, name) for i, row, name in found if row.cluster >= 0 and name and is_known[i]]
    names = [*dict.fromkeys(name for _, _, name in sorted(inside, key=lambda x: x[1].cluster))]
    own, position = np.full(len(rows), -1), {name: k for k, name in enumerate(names)}
    if not inside:
        return FolderModel([], None, features, own)
    numbers = [i for i, _, _ in inside]
    own[numbers] = [position[name] for _, _, name in inside]
    clusters = np.array([row.cluster for _, row, _ in inside])
    confirmed = np.array([row.is_confirmed for _, row, _ in inside])
    gaussians = FolderGaussians().fit(features[numbers], clusters, own[numbers], confirmed)
    return FolderModel(names, gaussians, features, own)


def judged(
    model: FolderModel,
    images: Sequence[ExportedImage],
    numbers: Sequence[int],
    are_members: bool = True,
) -> list[ExportedImage]:
    """Return images with their distances, doubts and suggestions, as far as they are known."""
    features, own = model.features[numbers], model.own[numbers]
    if model.gaussians is None:
        return [*images]
    found = model.gaussians.judge(features, own, are_members)
    values = zip(*(array.tolist() for array in found), (~is_readable(features)).tolist())
    return [
        image
        if is_unknown
        else ExportedImage(
            *image[:4],
            None if distance != distance else round(distance, 3),
            image.reason,
            None if doubt != doubt else 0.0 if image.is_confirmed else round(doubt, 3),
            model.names[other] if other >= 0 else "",
        )
        for image, (distance, doubt, other, _, is_unknown) in zip(images, values)
    ]
