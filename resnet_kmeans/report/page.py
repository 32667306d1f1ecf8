"""Writes one HTML page that shows the clusters."""

from __future__ import annotations

import base64
import io
import os
import secrets
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import jinja2
import numpy as np
from PIL import Image

from resnet_kmeans.exceptions import DecodeError, printable
from resnet_kmeans.images import open_upright, read_file
from resnet_kmeans.report.fitted import read_clusterer, read_facts
from resnet_kmeans.report.summary import ClusteringSummary, summarize

GENERATOR = "resnet-kmeans report"
# Width and height in pixels to try in turn, until a thumbnail is small enough: a photo's is
# at the first one, noise's at the third.
THUMBNAIL_SIZES = ((320, 224), (240, 168), (160, 112), (80, 56))
QUALITY = 72  # of the JPEG; below it, edges begin to ring at this size
# 1,000 of these stay under 20 MB: base64 makes four bytes of three.
MAX_THUMBNAIL_BYTES = 14_000


class Thumbnail(NamedTuple):
    """A small JPEG as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


def write_report(
    clustering: Any,
    path: str | os.PathLike[str],
    *,
    images: Sequence[Any] | None = None,
    features: np.ndarray | None = None,
    distances: Sequence[float] | np.ndarray | None = None,
    reasons: Mapping[str, str] | None = None,
    facts: Mapping[str, Any] | None = None,
    projection: str = "auto",
) -> Path:
    """Write one self-contained HTML page that shows the clusters.

    It opens from disk, without a server or a connection. Of at most 1,000 images it embeds
    a thumbnail each, of more those of a sample of each cluster.

    Parameters
    ----------
    clustering : fitted ImageFolderClusterer, or array-like of int, of shape (n,)
        Or the labels alone, -1 for an image that belongs to no cluster. All else that a
        clusterer knows is taken from it unless it is given.
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
    _write_whole(page, render(summary, page.parent))
    return page


def render(summary: ClusteringSummary, folder: str | os.PathLike[str] = ".") -> str:
    """Return a summary as an HTML page that will lie in `folder`.

    Parameters
    ----------
    summary : ClusteringSummary
    folder : str or path-like, default="."
        Links to images are relative to it.
    """
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
        generator=GENERATOR,
        # Only our own script may run, whatever a file name manages to say.
        nonce=secrets.token_urlsafe(16),
    )


def make_thumbnails(images: Sequence[Any]) -> list[Thumbnail | None]:
    """Return a thumbnail of each image, None where there is no reading it."""
    # Pillow lets go of the GIL; it warns of damaged metadata, which no thumbnail shows.
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        return list(pool.map(make_thumbnail, images))


def make_thumbnail(image: Any) -> Thumbnail | None:
    """Return a thumbnail of at most `MAX_THUMBNAIL_BYTES`, None if there is no reading it."""
    try:
        data = read_file(image) if isinstance(image, (str, os.PathLike)) else image
        picture = open_upright(data, THUMBNAIL_SIZES[0])
    except DecodeError:
        return None
    for size in THUMBNAIL_SIZES:
        picture.thumbnail(size, Image.Resampling.BICUBIC)
        jpeg = io.BytesIO()
        picture.save(jpeg, "JPEG", quality=QUALITY, optimize=True)
        if jpeg.tell() <= MAX_THUMBNAIL_BYTES:
            break
    text = base64.b64encode(jpeg.getvalue()).decode("ascii")
    return Thumbnail(f"data:image/jpeg;base64,{text}", *picture.size)


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
