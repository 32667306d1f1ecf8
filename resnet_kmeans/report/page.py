"""Writes one HTML page that shows the clusters."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import numpy as np

from resnet_kmeans.exceptions import printable
from resnet_kmeans.report.corrections import ShownExport, read_corrections
from resnet_kmeans.report.fitted import read_clusterer, read_facts
from resnet_kmeans.report.summary import ClusteringSummary, summarize
from resnet_kmeans.report.thumbnails import make_thumbnails

GENERATOR = "resnet-kmeans report"


def write_report(
    clustering: Any,
    path: str | os.PathLike[str],
    *,
    images: Sequence[Any] | None = None,
    features: np.ndarray | None = None,
    distances: Sequence[float] | np.ndarray | None = None,
    reasons: Mapping[str, str] | None = None,
    names: Sequence[str] | Mapping[int, str] | None = None,
    export: ShownExport | None = None,
    facts: Mapping[str, Any] | None = None,
    projection: str = "auto",
) -> Path:
    """Write one self-contained HTML page that shows the clusters.

    It opens from disk, without a server or a connection. Of at most 1,000 images it embeds
    a thumbnail each, of more those of a sample of each cluster.

    Parameters
    ----------
    clustering : fitted ImageFolderClusterer, or array-like of int, of shape (n,)
        Or the labels alone, -1 for an image that belongs to no cluster, -2 for noise. All
        else that a clusterer knows is taken from it unless it is given.
    path : str or path-like
        The page, ``report.html`` for example. An older report there is replaced, any other
        file is not.
    images : sequence of length n, default=None
        Paths, bytes, PIL images or uint8 arrays, in the order of the labels. Names link to
        the files, as they lie from `path` on.
    features : ndarray of shape (n, d), default=None
        The rows that were clustered; without them labels get neither cohesion nor map. A
        clusterer computes them, from its feature cache where it has one.
    distances : array-like of shape (n,), default=None
        To the centre of the cluster: the nearest image is the most typical one.
    reasons : mapping of str to str, default=None
        Why images belong to no cluster, by path.
    names : sequence of str, or mapping of int to str, default=None
        The name of each label; clusters of one name are shown as one.
    export : ShownExport, default=None
        The export that the images lie in. With it the page can be corrected: clusters
        renamed and merged, images moved and set aside. It saves ``curation.json`` for
        ``resnet-kmeans apply``. Without it the page only shows.
    facts : mapping of str, default=None
        How the clustering was made, to be told at the foot of the page.
    projection : {"auto", "pca", "tsne", "umap"}, default="auto"
        How the map is drawn; ``"auto"`` is t-SNE.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    FileExistsError
        If `path` is a file that is no report; nothing is written then.
    ValueError
        If lengths differ, labels are no integers, or a clusterer knows no labels.

    Examples
    --------
    >>> from resnet_kmeans import write_report
    >>> from resnet_kmeans.cli.demo import draw_pictures
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
        "reasons": reasons,
        "names": names,
    }
    known = {name: value for name, value in known.items() if value is not None}
    if hasattr(clustering, "fit"):
        known = {**read_clusterer(clustering, images, features), **known}
        facts = {**read_facts(clustering), **(facts or {})}
    else:
        known["labels"] = clustering
    if "images" not in known:
        raise ValueError(
            "Expected `images` with the labels, got none. Nothing was written. Pass the paths "
            "in the order of the labels: write_report(labels, path, images=paths)."
        )
    summary = summarize(**known, facts=facts, projection=projection)
    _write_whole(page, render(summary, page.parent, export))
    return page


def render(
    summary: ClusteringSummary,
    folder: str | os.PathLike[str] = ".",
    export: ShownExport | None = None,
) -> str:
    """Return a summary as an HTML page that will lie in `folder`.

    Parameters
    ----------
    summary : ClusteringSummary
    folder : str or path-like, default="."
        Links to images are relative to it.
    export : ShownExport, default=None
        That the page can correct.
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
        # Only our own script may run, whatever a file name manages to say.
        nonce=secrets.token_urlsafe(16),
    )


def _link(image: Any, folder: str | os.PathLike[str]) -> str | None:
    """Return a relative link; quoted, no name can be a scheme such as javascript:."""
    if not isinstance(image, (str, os.PathLike)):
        return None
    try:
        relative = os.path.relpath(image, folder)
    except ValueError:  # on another drive
        return Path(image).resolve().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def _points(summary: ClusteringSummary) -> list[list[Any]]:
    """Return what the map needs of each image: x, y, label, position, name."""
    labels, names = summary.labels, summary.names
    return [
        [round(float(x), 4), round(float(y), 4), int(labels[i]), int(i), names[i]]
        for (x, y), i in zip(summary.positions, summary.mapped)
    ]


def _check_free(page: Path) -> None:
    if not os.path.lexists(page):
        return
    mark = f'content="{GENERATOR}"'.encode()
    if page.is_file() and mark in page.read_bytes()[:1000]:
        return
    raise FileExistsError(
        f"Expected a new file or an older report, got {printable(page)}, which is something "
        "else. Nothing was written or overwritten. Choose another name."
    )


def _write_whole(page: Path, text: str) -> None:
    part = page.with_name(f".{page.name}.resnet-kmeans.part")
    part.write_text(text, encoding="utf-8", errors="backslashreplace")
    os.replace(part, page)
