"""Draws what all displays of a clustering have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from resnet_kmeans.report.fitted import read_clusterer
from resnet_kmeans.report.summary import ClusteringSummary, summarize
from resnet_kmeans.report.thumbnails import make_tile

TILE = 124  # pixels, side of an image
PALETTE = "tab20"  # matplotlib's widest one of plain colours; beyond 20 it repeats


class ClusteringDisplay:
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
        names: Sequence[str] | Mapping[int, str] | None = None,
        ax: Any = None,
        **options: Any,
    ) -> Any:
        """Draw images and the labels that they were given.

        Parameters
        ----------
        images : sequence of length n
            Paths, bytes, PIL images or uint8 arrays.
        labels : array-like of int, of shape (n,)
            -1 for an image that belongs to no cluster, -2 for noise.
        features : ndarray of shape (n, d), default=None
            The rows that were clustered; only a contact sheet does without them.
        distances : array-like of shape (n,), default=None
            To the centre of the cluster; None computes them from `features`.
        names : sequence of str, or mapping of int to str, default=None
            The name of each label; clusters of one name are drawn as one.
        ax, **options
            As `plot` takes them; without axes a figure is made.
        """
        known: dict[str, Any] = {"features": features, "distances": distances, "names": names}
        summary = summarize(images, labels, **known, projection=cls._projection)
        return cls(summary).plot(ax, **options)

    def check_features(self, known: Any) -> None:
        if not known:
            raise ValueError(
                f"Expected the features that were clustered, got none that {type(self).__name__} "
                "could draw. Nothing was drawn. Pass features=, for two clusters or more."
            )


def take_axes(display: Any, ax: Any, size: tuple[float, float]) -> Any:
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


def colour(number: int) -> Any:
    import matplotlib

    palette = matplotlib.colormaps[PALETTE]
    # Strong colours first: the palette alternates strong and pale.
    order = [*range(0, palette.N, 2), *range(1, palette.N, 2)]
    return palette(order[number % palette.N])


def pin(ax: Any, point: np.ndarray, image: Any, edge: Any) -> None:
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    frame = {"edgecolor": edge, "linewidth": 2, "boxstyle": "square,pad=0.05"}
    picture = OffsetImage(np.asarray(make_tile(image, TILE)), zoom=0.32)
    ax.add_artist(AnnotationBbox(picture, tuple(point), bboxprops=frame, pad=0.1))
