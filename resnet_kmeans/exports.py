"""Functions that change an export after it was written, or write its report."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from resnet_kmeans._folder_names import (
    NOISE,
    NOISE_NAME,
    REPORT,
    SET_ASIDE,
    SET_ASIDE_NAME,
    UNREADABLE,
)
from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.clustering import Evaluation, evaluate_labels, is_readable
from resnet_kmeans.exceptions import (
    OutdatedError,
    OutputFolderError,
    ResNetKMeansError,
    TooFewImagesError,
    printable,
)
from resnet_kmeans.export import (
    ExportedImage,
    ExportState,
    NewImages,
    add_to_export,
    apply_curation,
    check_action,
    export_clusters,
    export_log,
    finish_export,
    folder_of,
    read_export,
    redo_export,
    rename_cluster,
    require_folder,
    select_new,
    split_folder,
    undo_export,
)
from resnet_kmeans.images import images_of, is_image
from resnet_kmeans.report import ExportView, read_facts, write_report
from resnet_kmeans.saving import new_fitted_kmeans

logger = logging.getLogger(__name__)

N_ATTEMPTS = 3  # at what takes long, if other commands change the export meanwhile


def add_images(
    folder: str | os.PathLike[str],
    images: Any,
    *,
    action: str = "copy",
    set_aside: bool = False,
    dry_run: bool = False,
    **featurizer_params: Any,
) -> list[ExportedImage]:
    """Add new images to the clusters of an export.

    The model that `ImageFolderClusterer.export` saved in the folder assigns each image to the
    cluster with the nearest center, whose folder may have been renamed or merged since. What
    counts is the content: images that the export already has, wherever they came from, are
    skipped (the log says where it has them), and another image at a path of before is a new one.

    Parameters
    ----------
    folder : str or path-like
        The folder of a finished export.
    images : str, path-like or sequence of path-like, of length n
        A folder of images, or their paths.
    action : {"copy", "hardlink", "symlink", "move"}, default="copy"
        How images are put into the folders.
    set_aside : bool, default=False
        If True, images that fit badly go to the folder ``_set_aside``: those that are farther
        from the center of their cluster than 99% of the images of the fit. If False, they go to
        the folder of their cluster. In both cases, their `reason` says that they fit badly.
    dry_run : bool, default=False
        If True, nothing is written: only check the images and return what would be done.
    **featurizer_params
        Parameters of `ResNetFeaturizer` that replace those of the saved model, for example
        ``weights=PATH`` if the weights are elsewhere on this machine.

    Returns
    -------
    list of ExportedImage, of length n or less
        The new images with their paths in the export, including unreadable images. Empty if the
        export already has all of them.

    Raises
    ------
    OutputFolderError
        If the folder is not an export or has no model, or another command on it was
        interrupted; in these cases, nothing is done. Also if the command stops midway, for
        example because the disk is full; `finish_export` then completes it.
    ValueError
        If the action is unknown.

    Examples
    --------
    >>> from resnet_kmeans import add_images
    >>> images = add_images("clusters", "new-photos", set_aside=True)  # doctest: +SKIP
    >>> [image.exported_path for image in images]  # doctest: +SKIP
    ['cluster_1/c.jpg', '_set_aside/d.jpg']
    """
    check_action(action)
    paths = [os.fspath(path) for path in images_of(images)]

    def work() -> list[ExportedImage]:
        selected = select_new(folder, paths)
        model = _load(folder, selected.model, featurizer_params)
        if not selected.contents:
            return []
        new = _find_nearest_centers(model, [*selected.contents])
        return add_to_export(
            *(folder, new, selected), action=action, set_aside=set_aside, dry_run=dry_run
        )

    return _repeated(work)


def split_cluster(
    folder: str | os.PathLike[str],
    cluster: int | str,
    n_clusters: int = 2,
    *,
    dry_run: bool = False,
    **featurizer_params: Any,
) -> list[ExportedImage]:
    """Split a cluster of an export into parts, by clustering its images with K-Means.

    The images of the folder ``NAME`` are moved to the new folders ``NAME_1``, ``NAME_2``, …. In
    the model that is kept with the export, the centers of the parts replace the center of the
    cluster.

    Parameters
    ----------
    folder : str or path-like
        The folder of a finished export.
    cluster : int or str
        The label of the cluster, or its present folder.
    n_clusters : int, default=2
        Number of parts.
    dry_run : bool, default=False
        If True, nothing is written: only check the cluster and return what would be done.
    **featurizer_params
        Parameters of `ResNetFeaturizer` that replace those of the saved model, for example
        ``weights=PATH`` if the weights are elsewhere on this machine.

    Returns
    -------
    list of ExportedImage
        All images of the export, with their paths after the split.

    Raises
    ------
    OutputFolderError
        If the folder is not an export or has no model, or another command on it was
        interrupted; in these cases, nothing is done. Also if the command stops midway, for
        example because the disk is full; `finish_export` then completes it.
    CurationError
        If there is no such cluster.
    TooFewImagesError
        If the cluster has fewer readable images than parts.

    Examples
    --------
    >>> from resnet_kmeans import split_cluster
    >>> images = split_cluster("clusters", "cats", 3)  # doctest: +SKIP
    """
    return _repeated(lambda: _split(folder, cluster, n_clusters, dry_run, featurizer_params))


def _split(
    folder: str | os.PathLike[str],
    cluster: int | str,
    n_clusters: int,
    dry_run: bool,
    featurizer_params: Mapping[str, Any],
) -> list[ExportedImage]:
    state = read_export(folder)
    named = require_folder(state.images, state.folders, cluster)
    model = _load(folder, state.model, featurizer_params)
    inside = [image for image in state.images if image.name == named]
    places = [image.exported_path for image in inside if image.exported_path]
    reduced, _ = model._reduce([os.path.join(folder, place) for place in places])
    readable = is_readable(reduced)
    if readable.sum() < n_clusters:
        raise TooFewImagesError(int(readable.sum()), n_clusters)
    parts = KMeans(n_clusters, n_init=10, random_state=0).fit(reduced[readable])
    distances = parts.transform(reduced[readable]).min(axis=1)
    # Merged clusters share the folder, so the parts replace the centers of all of them.
    kept = [i for i, label in enumerate(state.centers) if state.folders[label] != named]
    found = zip(np.flatnonzero(readable), parts.labels_, distances)
    return split_folder(
        folder,
        named,
        {places[i]: (int(part), float(distance)) for i, part, distance in found},
        model=_with_parts(model, kept, parts.cluster_centers_),
        centers=kept,
        revision=state.revision,
        dry_run=dry_run,
    )


def _repeated(work: Callable[[], list[ExportedImage]]) -> list[ExportedImage]:
    """Do work on an export that takes long; do it again if another command came in between."""
    for _ in range(N_ATTEMPTS - 1):
        with suppress(OutdatedError):
            return work()
    return work()


def write_export_report(
    folder: str | os.PathLike[str],
    *,
    model: ImageFolderClusterer | None = None,
    **featurizer_params: Any,
) -> Path:
    """Write an HTML page that shows the clusters of an export, and where they can be corrected.

    The page shows the present contents of the folder and lists the changes made by hand. It
    saves corrections as ``curation.json``, which `apply_curation` applies. An older report is
    replaced.

    Parameters
    ----------
    folder : str or path-like
        The folder of a finished export.
    model : fitted ImageFolderClusterer, default=None
        Computes the features for the map and the silhouettes; None uses the model that was
        saved with the export. Without a model that works on this machine, the page has neither,
        and says why.
    **featurizer_params
        Parameters of `ResNetFeaturizer` that replace those of the saved model, for example
        ``weights=PATH`` if the weights are elsewhere on this machine.

    Returns
    -------
    Path
        Path of the page: ``report.html`` in the folder.

    Raises
    ------
    OutputFolderError
        If the folder is not an export, or a command on it was interrupted.
    FileExistsError
        If ``report.html`` in the folder is not a report.

    Examples
    --------
    >>> from resnet_kmeans import write_export_report
    >>> write_export_report("clusters")  # doctest: +SKIP
    PosixPath('clusters/report.html')
    """
    output = Path(folder)
    state = read_export(output)
    added = [path for path in state.added if folder_of(path) and is_image(path)]
    rows = state.images + [ExportedImage(UNREADABLE, "", path, path) for path in added]
    if not rows:
        raise OutputFolderError(
            f"No image of the export in {printable(folder)} can be found there. Nothing was "
            "written. Put the images back; links of another user are not followed."
        )
    paths = [row.exported_path if _folder(row) else None for row in rows]
    labels, names = _label(state, rows)
    images = [output / path if path else row.source_path for path, row in zip(paths, rows)]
    reasons = {row.source_path: row.reason or "in none of the folders" for row in rows}
    features, bad, facts = _features_and_facts(
        output, state, images, labels, model, featurizer_params
    )
    for i, reason in bad.items():  # files that were added by hand, or edited
        labels[i], paths[i], reasons[str(images[i])] = UNREADABLE, None, reason
    return write_report(
        labels,
        output / REPORT,
        images=images,
        distances=[np.nan if row.distance is None else row.distance for row in rows],
        reasons=reasons,
        features=features,
        names=names,
        export=ExportView(
            *(state.id, state.revision, output, paths),
            added=set(state.added),
            differences=describe_differences(state),
        ),
        facts=facts,
    )


def evaluate_export(
    folder: str | os.PathLike[str], classes: Mapping[str, str] | None = None
) -> Evaluation:
    """Compare the folders of an export with the true classes of its images.

    Parameters
    ----------
    folder : str or path-like
        The folder of a finished export. Images that were set aside, or that no folder holds, are
        not counted; noise counts as a cluster.
    classes : mapping of str to str, default=None
        Class of each image by its source path, its path in the folder or its file name; other
        images are not counted. None uses the name of the folder that each image came from.

    Returns
    -------
    Evaluation
        ``ami``, ``ari``, ``accuracy``, and the table of ``counts`` with the names of its rows
        (``classes``) and columns (``clusters``).

    Raises
    ------
    OutputFolderError
        If the folder is not a finished export.
    ValueError
        If no image has a class.

    Examples
    --------
    >>> from resnet_kmeans import evaluate_export
    >>> evaluate_export("clusters").ami  # doctest: +SKIP
    0.94
    """
    pairs = []
    for row in read_export(Path(folder)).images:
        source, path = Path(row.source_path), row.exported_path or ""
        names = (row.source_path, path, source.name)
        known = source.parent.name if classes is None else _first_known(classes, names)
        if known and _folder(row) not in ("", SET_ASIDE_NAME):
            pairs.append((known, _folder(row)))
    if not pairs:
        raise ValueError(
            f"Expected classes of images in {printable(folder)}, got none. Nothing was computed. "
            "Check that the paths or file names are those of clusters.csv."
        )
    return evaluate_labels(*zip(*pairs))


def _first_known(classes: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((classes[name] for name in names if name in classes), None)


def _load(
    folder: str | os.PathLike[str], file: Path | None, featurizer_params: Mapping[str, Any]
) -> ImageFolderClusterer:
    """Return the model that was saved with an export.

    Raises
    ------
    OutputFolderError
        If there is none.
    """
    if file is None:
        raise OutputFolderError(
            f"The export in {printable(folder)} has no model: it was made from labels alone, or "
            "the model has a custom step, which cannot be saved. Nothing was done. Export again "
            "with ImageFolderClusterer.export, or assign the images to a new folder with a saved "
            "model."
        )
    return ImageFolderClusterer.load(file, **featurizer_params)


def _find_nearest_centers(model: ImageFolderClusterer, paths: Sequence[str]) -> NewImages:
    """Return images with their nearest centers in a model, and why some are unreadable."""
    _, labels, distances, reasons = model._labelled(paths)
    return NewImages(paths, labels.tolist(), distances.tolist(), reasons)


def _with_parts(
    model: ImageFolderClusterer, kept: list[int], centers: np.ndarray
) -> ImageFolderClusterer:
    """Return a model with the centers at the positions `kept`, followed by `centers`."""
    centers = np.concatenate([model.cluster_centers_[kept], centers]).astype(np.float32)
    changed = ImageFolderClusterer(**model.get_params(deep=False))
    changed.set_params(n_clusters=len(centers))
    featurizer, reducer, _ = (step for _, step in model.pipeline_.steps)
    kmeans = new_fitted_kmeans(centers, model.inertia_)
    return changed._set_steps(featurizer, reducer, kmeans, model._label_score)


def _features_and_facts(
    output: Path,
    state: ExportState,
    images: list[Any],
    labels: np.ndarray,
    model: ImageFolderClusterer | None,
    featurizer_params: Mapping[str, Any],
) -> tuple[np.ndarray | None, dict[int, str], dict[str, str]]:
    """Return reduced features, the reasons for unreadable images, and facts about the model.

    Without a model that works on this machine, the features are None, and a fact says why.
    """
    placed = np.flatnonzero(labels != UNREADABLE).tolist()
    try:
        model = model or _load(output, state.model, featurizer_params)
        # Features of the fit come from the cache, so the network runs only on new images.
        rows, reasons = model._reduce([images[i] for i in placed])
    except ResNetKMeansError as error:
        logger.warning("The report has no map: %s", error)
        return None, {}, {"Map": f"none: {error}"}
    features = np.full((len(labels), rows.shape[1]), np.nan, dtype=np.float32)
    features[placed] = rows
    return features, {placed[i]: why for i, why in reasons.items()}, read_facts(model)


def describe_differences(state: ExportState) -> list[str]:
    """Return a sentence for each change by hand in the folder of an export."""
    pairs = [(folder_of(old), folder_of(new), old, new) for old, new in state.moved.items()]
    moved = Counter((before, now) for before, now, _, _ in pairs if before != now)
    return [
        *(_moved(before, now, n) for (before, now), n in moved.items()),
        *(f"{old} is now called {new}" for before, now, old, new in pairs if before == now),
        *(f"{path} is missing; it came from {source}" for path, source in state.missing.items()),
        *(f"{path} was added by hand" for path in state.added),
    ]


def _moved(before: str, now: str, n: int) -> str:
    images, left = "1 image is" if n == 1 else f"{n} images are", before or "the export itself"
    return f"{images} now in {now or 'no folder'}, no longer in {left}"


def _label(state: ExportState, rows: list[ExportedImage]) -> tuple[np.ndarray, dict[int, str]]:
    """Return the label of each image by its folder, and the folder of each label."""
    of = {SET_ASIDE_NAME: SET_ASIDE, NOISE_NAME: NOISE}
    for label, folder in enumerate(state.folders):
        of.setdefault(folder, label)
    for folder in filter(None, map(_folder, rows)):
        of.setdefault(folder, len(state.folders) + len(of))
    labels = [of.get(_folder(row), UNREADABLE) for row in rows]
    return np.array(labels), {label: folder for folder, label in of.items()}


def _folder(row: ExportedImage) -> str:
    return folder_of(row.exported_path or "")
