"""Matplotlib displays of a clustering, as scikit-learn's Display objects.

>>> from resnet_kmeans.display import ContactSheetDisplay
>>> display = ContactSheetDisplay.from_estimator(clusterer)  # doctest: +SKIP
>>> display.figure_.savefig("clusters.png")  # doctest: +SKIP
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from resnet_kmeans.exceptions import DecodeError
from resnet_kmeans.images import open_upright, read_file
from resnet_kmeans.report import ClusteringSummary, read_clusterer, summarize

TILE = 128  # pixels, side of an image on a contact sheet
PALETTE = "tab20"  # matplotlib's widest one of plain colours; beyond 20 it repeats


class _ClusteringDisplay:
    """Draws a ClusteringSummary on `ax_` of `figure_`; subclasses say how."""

    _projection: str | None = None
    plot: Any

    def __init__(self, summary: ClusteringSummary):
        self.summary = summary

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Sequence[Any] | None = None, *, ax: Any = None, **options: Any
    ) -> Any:
        """Draw what a fitted clusterer found.

        Parameters
        ----------
        estimator : fitted ImageFolderClusterer
        X : sequence of length n, default=None
            The images of the fit, where they were in memory; None takes `image_paths_`.
        ax, **options
            As `plot` takes them; without axes a figure is made.
        """
        summary = summarize(**read_clusterer(estimator, X), projection=cls._projection)
        return cls(summary).plot(ax, **options)

    @classmethod
    def from_predictions(
        cls,
        images: Sequence[Any],
        labels: Sequence[int] | np.ndarray,
        *,
        features: np.ndarray | None = None,
        distances: Sequence[float] | np.ndarray | None = None,
        ax: Any = None,
        **options: Any,
    ) -> Any:
        """Draw images and the labels that they were given.

        Parameters
        ----------
        images : sequence of length n
            Paths, bytes, PIL images or uint8 arrays.
        labels : array-like of int, of shape (n,)
            -1 for an image that belongs to no cluster.
        features : ndarray of shape (n, d), default=None
            The rows that were clustered; only a contact sheet does without them.
        distances : array-like of shape (n,), default=None
            To the centre of the cluster; None computes them from `features`.
        ax, **options
            As `plot` takes them; without axes a figure is made.
        """
        known: dict[str, Any] = {"features": features, "distances": distances}
        summary = summarize(images, labels, **known, projection=cls._projection)
        return cls(summary).plot(ax, **options)

    def _check_features(self, known: Any) -> None:
        if not known:
            raise ValueError(
                f"Expected the features that were clustered, got none that {type(self).__name__} "
                "could draw. Nothing was drawn. Pass features=, for two clusters or more."
            )


class ContactSheetDisplay(_ClusteringDisplay):
    """A row of images for each cluster, the most typical ones first.

    Parameters
    ----------
    summary : ClusteringSummary
        What `from_estimator` and `from_predictions` make.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def plot(self, ax: Any = None, *, n_images: int = 8) -> ContactSheetDisplay:
        """Draw at most so many images of each cluster.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Drawn on; None makes a figure.
        n_images : int, default=8
            Images a row.

        Returns
        -------
        ContactSheetDisplay
            The display itself.
        """
        clusters = self.summary.clusters
        ax = _take_axes(self, ax, (n_images + 1.5, len(clusters) + 0.2))
        sheet = Image.new("RGB", (TILE * n_images, TILE * len(clusters)), "white")
        for row, cluster in enumerate(clusters):
            for column, i in enumerate(cluster.shown[: min(n_images, cluster.n_typical)]):
                sheet.paste(_tile(self.summary.images[i]), (TILE * column + 2, TILE * row + 2))
        ax.imshow(np.asarray(sheet))
        names = [f"cluster {c.label}\n{c.size} images" for c in clusters]
        ax.set_yticks(TILE * (np.arange(len(clusters)) + 0.5), names)
        ax.set_xticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        return self


class SilhouetteDisplay(_ClusteringDisplay):
    """The silhouettes of all images, cluster by cluster; below 0 another one is nearer.

    Above 10,000 images a sample of them.

    Parameters
    ----------
    summary : ClusteringSummary
        What `from_estimator` and `from_predictions` make.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def plot(self, ax: Any = None) -> SilhouetteDisplay:
        """Draw silhouettes, sorted in each cluster, with their mean.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Drawn on; None makes a figure.

        Returns
        -------
        SilhouetteDisplay
            The display itself.
        """
        self._check_features(self.summary.cohesion is not None)
        ax = _take_axes(self, ax, (6.4, 4.8))
        start, ticks = 0, []
        for number, cluster in enumerate(self.summary.clusters):
            values = self.summary.silhouettes[self.summary.labels == cluster.label]
            values = np.sort(values[~np.isnan(values)])
            rows = np.arange(start, start + len(values))
            ax.fill_betweenx(rows, 0, values, step="mid", color=_colour(number), linewidth=0)
            ticks.append(start + len(values) / 2)
            start += len(values) + max(2, len(self.summary.labels) // 100)
        ax.axvline(self.summary.cohesion, color="0.4", linestyle="--", linewidth=1)
        ax.set_yticks(ticks, [str(c.label) for c in self.summary.clusters])
        ax.set(xlabel="silhouette", ylabel="cluster", title=f"mean {self.summary.cohesion:.2f}")
        ax.invert_yaxis()
        return self


class ClusterMapDisplay(_ClusteringDisplay):
    """All images as points of a map, coloured by cluster.

    Above 2,500 images a sample of them.

    Parameters
    ----------
    summary : ClusteringSummary
        What `from_estimator` and `from_predictions` make.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    _projection = "auto"

    def plot(self, ax: Any = None, *, thumbnails: bool = True) -> ClusterMapDisplay:
        """Draw points, on each cluster its most typical image.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Drawn on; None makes a figure.
        thumbnails : bool, default=True
            Whether to draw the images too.

        Returns
        -------
        ClusterMapDisplay
            The display itself.
        """
        summary = self.summary
        self._check_features(len(summary.mapped))
        ax = _take_axes(self, ax, (7.0, 7.0))
        for number, cluster in enumerate(summary.clusters):
            own = summary.labels[summary.mapped] == cluster.label
            points = summary.positions[own]
            ax.scatter(*points.T, s=12, color=_colour(number), label=f"cluster {cluster.label}")
            if thumbnails:
                middle = summary.positions[summary.mapped == cluster.shown[0]][0]
                _pin(ax, middle, summary.images[cluster.shown[0]], _colour(number))
        ax.set(xticks=[], yticks=[], aspect="equal", title=summary.projection.split(":")[0])
        return self


class NClustersDisplay:
    """What each number of clusters scores, and which one was chosen.

    Parameters
    ----------
    table : sequence of NClustersScore
        As `choose_n_clusters` returns it: with `n_clusters`, `silhouette`, `inertia`.
    chosen : int, default=None
        The number to mark.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, table: Sequence[Any], chosen: int | None = None):
        self.table = table
        self.chosen = chosen

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> NClustersDisplay:
        """Draw a fitted search over `n_clusters`, or what `choose_n_clusters` returned.

        Parameters
        ----------
        estimator : fitted GridSearchCV or NClustersChoice
            Whose scores are drawn.
        ax : matplotlib Axes, default=None
            Drawn on; None makes a figure.

        Returns
        -------
        NClustersDisplay
            The display.
        """
        if not hasattr(estimator, "cv_results_"):
            return cls.from_predictions(estimator.table, estimator.n_clusters, ax=ax)
        name = next(p for p in estimator.best_params_ if p.endswith("n_clusters"))
        results = estimator.cv_results_
        scores = sorted(zip(map(int, results[f"param_{name}"]), results["mean_test_score"]))
        return cls.from_predictions(scores, estimator.best_params_[name], ax=ax)

    @classmethod
    def from_predictions(
        cls, table: Sequence[Any], chosen: int | None = None, *, ax: Any = None
    ) -> NClustersDisplay:
        """Draw a table of scores.

        Parameters
        ----------
        table : sequence of tuples
            Of each number of clusters: the number, its silhouette, and maybe its inertia.
        chosen : int, default=None
            The number to mark.
        ax : matplotlib Axes, default=None
            Drawn on; None makes a figure.

        Returns
        -------
        NClustersDisplay
            The display.
        """
        return cls(table, chosen).plot(ax)

    def plot(self, ax: Any = None) -> NClustersDisplay:
        """Draw silhouettes, and inertias where they are known.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Drawn on; None makes a figure.

        Returns
        -------
        NClustersDisplay
            The display itself.
        """
        ax = _take_axes(self, ax, (6.4, 4.0))
        numbers, silhouettes, *others = zip(*self.table)
        ax.plot(numbers, silhouettes, marker="o", color=_colour(0))
        if self.chosen is not None:
            ax.axvline(self.chosen, color="0.4", linestyle="--", linewidth=1)
            ax.set_title(f"{self.chosen} clusters")
        ax.set(xlabel="number of clusters", ylabel="mean silhouette")
        if others:
            other = ax.twinx()
            other.plot(numbers, others[0], color="0.65", zorder=0)
            other.set_ylabel("inertia", color="0.5")
        return self


def _take_axes(display: Any, ax: Any, size: tuple[float, float]) -> Any:
    """Let a display draw on `ax`, or on a figure of this size in inches."""
    if ax is None:
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            message = "Displays need the plot extra: pip install 'resnet-kmeans[plot]'"
            raise ImportError(message) from error
        ax = plt.subplots(figsize=size, layout="constrained")[1]
    display.ax_, display.figure_ = ax, ax.figure
    return ax


def _colour(number: int) -> Any:
    import matplotlib

    palette = matplotlib.colormaps[PALETTE]
    # Strong colours first: the palette alternates strong and pale.
    order = [*range(0, palette.N, 2), *range(1, palette.N, 2)]
    return palette(order[number % palette.N])


def _tile(image: Any) -> Image.Image:
    side = (TILE - 4, TILE - 4)
    try:
        data = read_file(image) if isinstance(image, (str, os.PathLike)) else image
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged metadata
            return ImageOps.fit(open_upright(data, side), side)
    except DecodeError:  # gone since the fit
        return Image.new("RGB", side, "lightgrey")


def _pin(ax: Any, point: np.ndarray, image: Any, colour: Any) -> None:
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    frame = {"edgecolor": colour, "linewidth": 2, "boxstyle": "square,pad=0.05"}
    picture = OffsetImage(np.asarray(_tile(image)), zoom=0.32)
    ax.add_artist(AnnotationBbox(picture, tuple(point), bboxprops=frame, pad=0.1))
