"""Writes the HTML page that shows the clusters."""

import functools
import os
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import numpy as np
from markupsafe import Markup

from resnet_kmeans._files import replacing
from resnet_kmeans._folder_names import GENERATOR
from resnet_kmeans.clustering import describe_fit
from resnet_kmeans.exceptions import printable
from resnet_kmeans.report.album import ExportView, describe_album
from resnet_kmeans.report.summary import ClusteringSummary, read_clusterer, summarize
from resnet_kmeans.report.thumbnails import make_thumbnails

FOLDER = Path(__file__).with_name("page")  # template, style and scripts
_IMPORT = re.compile(r'^import .* from "\./(\w+\.js)";\n', re.MULTILINE)


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
    _check_free(Path(path))
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
    return write_page(summarize(**known, facts=facts, projection=projection), path)


def write_page(
    summary: ClusteringSummary, path: str | os.PathLike[str], export: ExportView | None = None
) -> Path:
    """Write the page of a summary as a file that can be sent to somebody.

    Raises
    ------
    FileExistsError
        If `path` is a file but not a report.
    """
    page = Path(path)
    _check_free(page)
    album = describe_album(summary, export)
    shown = [i for cluster in summary.clusters for i in cluster.shown]
    thumbnails = make_thumbnails([summary.images[i] for i in shown])
    links = [_link(summary.images[i], page.parent) for i in shown]
    album["thumbnails"] = {id: uri for id, uri in zip(album["id"], thumbnails) if uri}
    album["links"] = {id: link for id, link in zip(album["id"], links) if link}
    number_of = dict(zip(shown, album["id"]))
    points = [(point, number_of.get(int(i))) for point, i in zip(summary.positions, summary.mapped)]
    album["points"] = [[*point.round(4).tolist(), id] for point, id in points if id is not None]
    with replacing(page) as part:
        text = render(summary, album, export, "mailed")
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
    return page


def render(
    summary: ClusteringSummary,
    album: dict[str, Any],
    export: ExportView | None,
    way: str,
    nonce: str = "",
) -> str:
    """Return the HTML page of a summary.

    Parameters
    ----------
    summary : ClusteringSummary
    album : dict
        The result of `describe_album`, and what else the script of this way needs.
    export : ExportView or None
        The export that the page can correct.
    way : {"served", "mailed"}
        The script that reaches pictures and records corrections.
    nonce : str, default=""
        Random value. The security policy of the page allows only scripts and styles with it, so
        a file name cannot contain code that runs. By default, one is drawn.
    """
    return (
        _environment()
        .get_template("page.html")
        .render(
            summary=summary,
            album=album,
            export=export,
            is_served=way == "served",
            folder=Path(
                printable(os.path.abspath(export.folder) if export else summary.folder)
            ).name,
            n_shown=len(album["id"]),
            n_placed=sum(cluster.size for cluster in summary.clusters),
            has_map=bool(album.get("points", summary.features is not None)),
            differences=list(map(printable, export.differences)) if export else [],
            generator=GENERATOR,
            style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
            script=Markup(join_modules(f"{way}.js")),
            nonce=nonce or secrets.token_urlsafe(16),
        )
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shell"] = _quoted
    return environment


def _quoted(name: str) -> str:
    """Quote a name for a shell; the command prompt of Windows knows no single quotes."""
    return f'"{name}"' if re.fullmatch(r"[\w.,-]+( [\w.,-]+)+", name) else shlex.quote(name)


@functools.cache
def join_modules(name: str) -> str:
    """Return a JavaScript module and those that it imports as one script.

    A page in a file cannot load modules, so ``import`` and ``export`` are left out: all names
    are of one scope.
    """
    joined: dict[str, str] = {}

    def add(module: str) -> None:
        if module in joined:
            return
        joined[module] = ""
        text = (FOLDER / module).read_text(encoding="utf-8")
        for imported in _IMPORT.findall(text):
            add(imported)
        del joined[module]  # after what it imports
        joined[module] = re.sub("^export ", "", _IMPORT.sub("", text), flags=re.MULTILINE)

    add(name)
    return '"use strict";\n' + "".join(joined.values())


def _link(image: Any, folder: str | os.PathLike[str]) -> str | None:
    """Return the link to an image; None in memory, or if it has nothing but the root in common."""
    if not isinstance(image, (str, os.PathLike)):
        return None
    places = [os.path.realpath(folder), os.path.realpath(os.path.dirname(image))]
    try:
        common = os.path.commonpath(places)
        link = os.path.relpath(image, folder)
    except ValueError:  # the image is on another drive
        return None
    # The way through the root would tell everybody where the images are.
    if os.path.dirname(common) == common:
        return None
    # Quoting also escapes colons, so that no name can start with a scheme (javascript:).
    return quote(os.fsencode(link.replace(os.sep, "/")))


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
