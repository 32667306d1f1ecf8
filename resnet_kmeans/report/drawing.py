"""Defines the base class of displays that draw a clustering."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import ImageOps
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from resnet_kmeans.exceptions import ExtraNotInstalledError
from resnet_kmeans.report.summary import ClusteringSummary, read_clusterer, summarize
from resnet_kmeans.report.thumbnails import make_tile

TILE = 124  # side of an image, in pixels
# matplotlib's largest qualitative palette; colors repeat after 20 clusters.
PALETTE = "tab20"
PIN_GAP = 0.05  # between a map of side 1 and the images around it; points have a radius


class ClusteringDisplay:
    """Base class of displays that draw a `ClusteringSummary`.

    Subclasses define `plot`, which sets `ax_` and `figure_`.
    """

    _projection: str | None = None  # no map unless a subclass draws one
    plot: Any

    def __init__(self, summary: ClusteringSummary):
        self.summary = summary

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Sequence[Any] | None = None, *, ax: Any = None, **options: Any
    ) -> Any:
        """Draw the clusters of a fitted clusterer.

        Parameters
        ----------
        estimator : fitted ImageFolderClusterer
            The clusterer whose results are drawn.
        X : sequence of length n, default=None
            The images of the fit, which are needed if they were in memory; None uses
            `image_paths_`.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        **options
            Passed to `plot`.

        Returns
        -------
        ClusteringDisplay
            The display.
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
        """Draw the clusters given by labels.

        Parameters
        ----------
        images : sequence of length n
            Paths, bytes, PIL images or uint8 arrays.
        labels : array-like of int, of shape (n,)
            Label of each image; -1 for noise, -3 for an unreadable image.
        features : ndarray of shape (n, d), default=None
            The rows that were clustered. Only a contact sheet can be drawn without them.
        distances : array-like of shape (n,), default=None
            Distance of each image to its center; None computes them from `features`.
        names : sequence of str, or mapping of int to str, default=None
            Name of each label; clusters of equal names are drawn as one.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        **options
            Passed to `plot`.

        Returns
        -------
        ClusteringDisplay
            The display.
        """
        known: dict[str, Any] = {"features": features, "distances": distances, "names": names}
        summary = summarize(images, labels, **known, projection=cls._projection)
        return cls(summary).plot(ax, **options)

    def _check_features(self, known: Any) -> None:
        """Raise an error if the summary lacks what only features can provide."""
        if not known:
            raise ValueError(
                f"Expected the features that were clustered, got none that {type(self).__name__} "
                "can draw. Nothing was drawn. Pass features=..., with two or more clusters."
            )


def take_axes(display: Any, ax: Any, size: tuple[float, float]) -> Any:
    """Set `ax_` and `figure_` of a display; if `ax` is None, create a figure of `size` inches."""
    if ax is None:
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ExtraNotInstalledError("matplotlib", "plot", "what displays draw with") from error
        ax = plt.subplots(figsize=size, layout="constrained")[1]
    display.ax_, display.figure_ = ax, ax.figure
    return ax


def color(number: int) -> Any:
    """Return the color of a cluster as RGBA."""
    import matplotlib

    palette = matplotlib.colormaps[PALETTE]
    # The palette alternates between strong and pale colors; the strong ones come first.
    order = [*range(0, palette.N, 2), *range(1, palette.N, 2)]
    return palette(order[number % palette.N])


def pin(ax: Any, points: Any, images: Sequence[Any], colors: Sequence[Any]) -> None:
    """Draw images around a map in the unit square, each joined to its point by a line."""
    from matplotlib.colors import to_hex

    n_side = max(6, -(-len(images) // 4))  # images on each side; fewer would be large
    along = (np.arange(n_side) + 0.5) * 2 / n_side - 1
    inner = np.array([(x, y) for x in along for y in (-1, 1)])
    inner = np.concatenate([inner, inner[:, ::-1]])
    # The least total length of straight lines leaves none that cross. As they end at the inner
    # edge of the ring, they pass no other image.
    edges = 0.5 + (0.5 + PIN_GAP) * inner
    _, slots = linear_sum_assignment(cdist(points, edges))
    half = 0.46 * (1 + 2 * PIN_GAP) / n_side  # less than half of a slot
    for point, image, edge, slot in zip(points, images, colors, slots):
        ax.plot(*zip(point, edges[slot]), color=edge, linewidth=0.8, zorder=0.5)
        # An end at +-1 is the side on which the image lies; the other coordinate is less.
        x, y = edges[slot] + half * np.trunc(inner[slot])
        tile = ImageOps.expand(make_tile(image, TILE), TILE // 20, to_hex(edge))
        ax.imshow(tile, extent=(x - half, x + half, y - half, y + half))
    margin = PIN_GAP + 2.2 * half
    ax.set(xlim=(-margin, 1 + margin), ylim=(-margin, 1 + margin))
