"""Writes the HTML page that shows the clusters."""

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import numpy as np

from resnet_kmeans._files import replacing
from resnet_kmeans._folder_names import GENERATOR
from resnet_kmeans.clustering import describe_fit
from resnet_kmeans.exceptions import printable
from resnet_kmeans.report.corrections import ExportView, read_corrections
from resnet_kmeans.report.summary import ClusteringSummary, read_clusterer, summarize
from resnet_kmeans.report.thumbnails import make_thumbnails


def write_report(
    clustering: Any,
    path: str | os.PathLike[str],
    *,
    images: Sequence[Any] | None = None,
    features: np.ndarray | None = None,
    distances: Sequence[float] | np.ndarray | None = None,
    doubts: Sequence[float] | np.ndarray | None = None,
    suggestions: Sequence[int] | np.ndarray | None = None,
    reasons: Mapping[str, str] | None = None,
    names: Sequence[str] | Mapping[int, str] | None = None,
    export: ExportView | None = None,
    facts: Mapping[str, Any] | None = None,
    projection: str = "auto",
) -> Path:
    """Write a self-contained HTML page that shows the clusters.

    The page can be opened from the disk, without a server or a network connection. It contains
    a thumbnail of each image; if there are more than 1,000 images, it shows a sample of each
    cluster.

    Parameters
    ----------
    clustering : fitted ImageFolderClusterer, or array-like of int, of shape (n,)
        A fitted clusterer, whose results are used unless other parameters replace them; or the
        label of each image, -1 for noise and -3 for an unreadable image. A fitted scikit-learn
        clusterer such as DBSCAN is accepted too; its label -1 means noise.
    path : str or path-like
        The file to write, such as ``report.html``. An older report is replaced; any other
        existing file raises an error.
    images : sequence of length n, default=None
        Paths, bytes, PIL images or uint8 arrays, in the order of the labels. Paths become
        links, relative to the folder of `path`.
    features : ndarray of shape (n, d), default=None
        Rows of the images. None uses the principal components that a clusterer kept of its fit;
        if `clustering` is an array of labels, the page has neither doubts nor a map.
    distances : array-like of shape (n,), default=None
        How far each image is from the center of its cluster. The nearest images are the most
        typical ones.
    doubts, suggestions : array-like of shape (n,), default=None
        Probability that each image belongs to another cluster, and the label of that cluster.
        None computes what is missing of these three from `features`, by a Gaussian for each
        cluster.
    reasons : mapping of str to str, default=None
        Why images are unreadable, by path.
    names : sequence of str, or mapping of int to str, default=None
        Name of each label; clusters with equal names are shown as one.
    export : ExportView, default=None
        The export that contains the images. With it, the page can correct the export: rename
        and merge clusters, move images and set them aside. Corrections are saved as
        ``curation.json``, for ``resnet-kmeans apply``.
    facts : mapping of str, default=None
        Description of the clustering, shown at the foot of the page.
    projection : {"auto", "pca", "tsne", "umap"}, default="auto"
        Method that computes the map; ``"auto"`` uses t-SNE, or PCA for fewer than 10 images.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    FileExistsError
        If `path` is a file but not a report. Nothing is written then.
    ValueError
        If lengths differ, labels are not integers, or a clusterer was not fitted.

    Examples
    --------
    >>> from resnet_kmeans import write_report
    >>> from resnet_kmeans.sample_pictures import draw_pictures
    >>> paths = draw_pictures("pictures", n_each=2)  # doctest: +SKIP
    >>> write_report([0, 0, 1, 1] * 3, "report.html", images=paths)  # doctest: +SKIP
    PosixPath('report.html')
    """
    page = Path(path)
    _check_free(page)
    known: dict[str, Any] = {
        "images": images,
        "features": features,
        "distances": distances,
        "doubts": doubts,
        "suggestions": suggestions,
        "reasons": reasons,
        "names": names,
    }
    known = {name: value for name, value in known.items() if value is not None}
    if hasattr(clustering, "fit"):
        known = {**read_clusterer(clustering, images), **known}
        facts = {**describe_fit(clustering), **(facts or {})}
    else:
        known["labels"] = clustering
    if "images" not in known:
        raise ValueError(
            "Expected `images` with the labels, got none. Nothing was written. Pass their paths "
            "in the order of the labels: write_report(labels, path, images=paths)."
        )
    summary = summarize(**known, facts=facts, projection=projection)
    with replacing(page) as part:
        part.write_text(
            render(summary, page.parent, export), encoding="utf-8", errors="backslashreplace"
        )
    return page


def render(
    summary: ClusteringSummary,
    folder: str | os.PathLike[str] = ".",
    export: ExportView | None = None,
) -> str:
    """Return the HTML page of a summary.

    Parameters
    ----------
    summary : ClusteringSummary
    folder : str or path-like, default="."
        The folder of the page; links to images are relative to it.
    export : ExportView, default=None
        The export that the page can correct.

    Returns
    -------
    str
    """
    corrections = read_corrections(summary, export) if export else None
    shown = [i for cluster in summary.clusters for i in cluster.shown]
    thumbnails = make_thumbnails([summary.images[i] for i in shown])
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        summary=summary,
        thumbnails=dict(zip(shown, thumbnails)),
        links={i: _link(summary.images[i], folder) for i in shown},
        points=_points(summary),
        corrections=corrections,
        differences=list(map(printable, export.differences)) if export else [],
        generator=GENERATOR,
        # The security policy of the page allows only scripts with this random value, so a file
        # name cannot contain code that runs.
        nonce=secrets.token_urlsafe(16),
    )


def _link(image: Any, folder: str | os.PathLike[str]) -> str | None:
    """Return the link to an image, None for an image in memory."""
    if not isinstance(image, (str, os.PathLike)):
        return None
    try:
        relative = os.path.relpath(image, folder)
    except ValueError:  # the image is on another drive
        return Path(image).resolve().as_uri()
    # Quoting also escapes colons, so that no name can start with a scheme (javascript:).
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def _points(summary: ClusteringSummary) -> list[list[Any]]:
    """Return the points of the map: x, y, label, position and name of each image."""
    labels, names = summary.labels, summary.names
    return [
        [round(float(x), 4), round(float(y), 4), int(labels[i]), int(i), names[i]]
        for (x, y), i in zip(summary.positions, summary.mapped)
    ]


def _check_free(page: Path) -> None:
    if not os.path.lexists(page):
        return
    # The mark is in the head of the page, so the first 1,000 bytes are enough.
    mark = f'content="{GENERATOR}"'.encode()
    if page.is_file() and mark in page.read_bytes()[:1000]:
        return
    raise FileExistsError(
        f"Expected a new file or an older report, got {printable(page)}, which is something "
        "else. Nothing was written. Choose another name."
    )
