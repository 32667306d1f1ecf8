"""Functions that change an export after it was written, or write its report."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnet_kmeans._folder_names import (
    NOISE,
    NOISE_NAME,
    REPORT,
    SET_ASIDE,
    SET_ASIDE_NAME,
    UNREADABLE,
    folder_of,
)
from resnet_kmeans.exceptions import OutputFolderError, ResNetKMeansError, printable
from resnet_kmeans.export import (
    ExportedImage,
    ExportState,
    NewImages,
    add_to_export,
    apply_curation,
    check_action,
    confirm_images,
    export_clusters,
    export_log,
    finish_export,
    read_export,
    redo_export,
    rename_cluster,
    select_new,
    split_cluster,
    undo_export,
)
from resnet_kmeans.images import images_of, is_image, reason_unreadable
from resnet_kmeans.report import MAX_SHOWN, ClusteringSummary, ExportView, summarize

# scikit-learn, which most of these functions do not need, takes seconds to import.
if TYPE_CHECKING:
    from resnet_kmeans.clustering import Evaluation

logger = logging.getLogger(__name__)

BY_HAND = 10**9  # from here on, images that were added by hand have their numbers


def add_images(
    folder: str | os.PathLike[str],
    images: Any,
    *,
    action: str = "copy",
    set_aside: bool = False,
    dry_run: bool = False,
    **featurizer_params: Any,
) -> list[ExportedImage]:
    """Add new images to the folders of an export.

    The folders as they are now decide, also those that were renamed, merged, split or made by
    hand: each image goes to the folder in which it is most probable, by a Gaussian for each
    folder with a shared covariance. Images that a person confirmed or moved weigh more. What
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
        If True, images that no folder claims go to the folder ``_set_aside``: those that are
        more unusual than 95% of the images in folders, by the relative Mahalanobis distance to
        their folder or by what the principal components do not hold. If False, they go to
        their folder. In both cases, their `reason` says so. On labeled sets, 6% of the images of
        known classes were set aside, and half of those of unknown classes.
    dry_run : bool, default=False
        If True, nothing is written: only check the images and return what would be done.
    **featurizer_params
        Parameters of `ResNetFeaturizer` that replace those that the export keeps, for example
        ``weights=PATH`` if the weights are elsewhere on this machine.

    Returns
    -------
    list of ExportedImage, of length n or less
        The new images with their paths in the export, including unreadable images. Empty if the
        export already has all of them.

    Raises
    ------
    OutputFolderError
        If the folder is not an export or keeps no network, or another command on it was
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
    from resnet_kmeans.clusterer import look_at

    check_action(action)
    paths = [os.fspath(path) for path in images_of(images)]
    export, network, contents = select_new(folder, paths)
    if not contents:
        return []
    new = NewImages(export, contents, *look_at(folder, network, [*contents], featurizer_params))
    return add_to_export(folder, new, action=action, set_aside=set_aside, dry_run=dry_run)


def write_export_report(folder: str | os.PathLike[str]) -> Path:
    """Write an HTML page that shows the clusters of an export, and where they can be corrected.

    The page shows the present contents of the folder, marks the images that the other folders
    would rather have, and lists the changes made by hand. It saves corrections as
    ``curation.json``, which `apply_curation` applies. An older report is replaced. No network is
    needed, because an export keeps reduced features of its images; one that was made from labels
    alone has neither a map nor doubts.

    Parameters
    ----------
    folder : str or path-like
        The folder of a finished export.

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
    from resnet_kmeans.report import write_page

    output = Path(folder)
    summary, view = summarize_export(output, read_export(output))
    return write_page(summary, output / REPORT, view)


def summarize_export(
    folder: str | os.PathLike[str],
    state: ExportState,
    *,
    max_shown: int | None = MAX_SHOWN,
    projection: str | None = "auto",
) -> tuple[ClusteringSummary, ExportView]:
    """Summarize the present contents of an export, for a page.

    Parameters
    ----------
    folder : str or path-like
    state : ExportState
        What `read_export` returned.
    max_shown : int or None, default=1000
        Number of images that the page shows; None shows all.
    projection : {"auto", "pca", "tsne", "umap"} or None, default="auto"
        Method that computes the map; None computes none.

    Raises
    ------
    OutputFolderError
        If no image is there.
    """
    output, root = Path(folder), os.path.abspath(folder)
    added = [path for path in state.added if folder_of(path) and is_image(path)]
    rows = state.images + [_row_by_hand(output, path) for path in added]
    if not rows:
        raise OutputFolderError(
            f"No image of the export in {printable(folder)} can be found there. Nothing was "
            "written. Put the images back; links of another user are not followed."
        )
    folders = [row.name for row in rows]
    paths = [row.exported_path if inside else None for row, inside in zip(rows, folders)]
    labels, names = _label(state, folders)
    label_of = {name: label for label, name in names.items()}
    features = np.full((len(rows), state.model.features.shape[1]), np.nan, np.float32)
    features[: len(state.images)] = state.model.features[state.positions]
    numbers = [*state.positions, *range(BY_HAND, BY_HAND + len(added))]
    summary = summarize(
        [f"{root}/{path}" if path else row.source_path for path, row in zip(paths, rows)],
        labels,
        features=features if features.size else None,
        distances=[np.nan if row.distance is None else row.distance for row in rows],
        doubts=[np.nan if row.doubt is None else row.doubt for row in rows],
        suggestions=[label_of.get(row.suggestion, -1) for row in rows],
        reasons={row.source_path: row.reason or "in none of the folders" for row in rows},
        names=names,
        facts=_facts(state) if features.size else {"Map": "none: the export keeps no features"},
        projection=projection,
        max_shown=max_shown,
    )
    return summary, ExportView(
        *(state.id, state.revision, output, paths, numbers),
        confirmed={number for number, row in zip(numbers, rows) if row.is_confirmed},
        added=set(state.added),
        differences=describe_differences(state, os.path.basename),
    )


def _row_by_hand(output: Path, path: str) -> ExportedImage:
    """Return the row of an image that was added by hand, whose features are not known."""
    if reason := reason_unreadable(output / path):
        return ExportedImage(UNREADABLE, "", None, str(output / path), reason=reason)
    return ExportedImage(UNREADABLE, folder_of(path), path, path)


def _facts(state: ExportState) -> dict[str, str]:
    """Return how an export was made, as far as it says so."""
    with suppress(ResNetKMeansError, LookupError, AttributeError):
        return {str(name): str(fact) for name, fact in state.network().header["facts"].items()}
    return {}


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
    from resnet_kmeans.clustering import evaluate_labels

    pairs = []
    for row in read_export(Path(folder)).images:
        source, path = Path(row.source_path), row.exported_path or ""
        names = (row.source_path, path, source.name)
        given = (classes[name] for name in names if name in classes) if classes is not None else ()
        known = source.parent.name if classes is None else next(iter(given), None)
        if known and row.name not in ("", SET_ASIDE_NAME):
            pairs.append((known, row.name))
    if not pairs:
        raise ValueError(
            f"Expected classes of images in {printable(folder)}, got none. Nothing was computed. "
            "Check that the paths or file names are those of clusters.csv."
        )
    return evaluate_labels(*zip(*pairs))


def describe_differences(state: ExportState, name: Callable[[str], str] = os.fspath) -> list[str]:
    """Return a sentence for each change by hand in the folder of an export.

    `name` returns what is said of the path that a missing image came from.
    """
    pairs = [(folder_of(old), folder_of(new), old, new) for old, new in state.moved.items()]
    moved = Counter((before, now) for before, now, _, _ in pairs if before != now)
    return [
        *(_moved(before, now, n) for (before, now), n in moved.items()),
        *(f"{old} is now called {new}" for before, now, old, new in pairs if before == now),
        *(
            f"{path} is missing; it came from {name(source)}"
            for path, source in state.missing.items()
        ),
        *(f"{path} was added by hand" for path in state.added),
    ]


def _moved(before: str, now: str, n: int) -> str:
    images, left = "1 image is" if n == 1 else f"{n} images are", before or "the export itself"
    return f"{images} now in {now or 'no folder'}, no longer in {left}"


def _label(state: ExportState, folders: list[str]) -> tuple[np.ndarray, dict[int, str]]:
    """Return the labels of images in these folders, and the folder of each label."""
    of = {SET_ASIDE_NAME: SET_ASIDE, NOISE_NAME: NOISE}
    for label, folder in enumerate(state.folders):
        of.setdefault(folder, label)
    for folder in dict.fromkeys(filter(None, folders)):
        of.setdefault(folder, len(state.folders) + len(of))
    labels = [of.get(folder, UNREADABLE) for folder in folders]
    return np.array(labels), {label: folder for folder, label in of.items()}
