"""Draws clusterings with matplotlib, in the style of scikit-learn's displays.

>>> from resnet_kmeans.display import ContactSheetDisplay
>>> display = ContactSheetDisplay.from_estimator(clusterer)  # doctest: +SKIP
>>> display.figure_.savefig("clusters.png")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from resnet_kmeans.clustering import silhouette_sample
from resnet_kmeans.report import TILE, ClusteringDisplay, color, make_tile, pin, take_axes

GAP = 4  # pixels between the images of a contact sheet
MAX_PINNED = 48  # images around a map; more would be too small
LINE_HEIGHT = 1.2  # of names, in font sizes


class ContactSheetDisplay(ClusteringDisplay):
    """Contact sheet: a row of the most typical images for each cluster.

    Use `from_estimator` or `from_predictions` to create it.

    Parameters
    ----------
    summary : ClusteringSummary
        The clustering to draw.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the contact sheet.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    """

    def plot(self, ax: Any = None, *, n_images: int = 8) -> ContactSheetDisplay:
        """Draw the contact sheet.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        n_images : int, default=8
            Maximum number of images per cluster.

        Returns
        -------
        ContactSheetDisplay
            The display itself.
        """
        clusters = self.summary.clusters
        n_images = min(n_images, max(cluster.n_typical for cluster in clusters))
        # In inches: one per image, and space for the names on the left.
        ax = take_axes(self, ax, (n_images + 1.5, len(clusters) + 0.2))
        ax.set_anchor("W")  # constrained layout cuts off names at the left of a centered image
        side = TILE + GAP
        # Transparent, for the background of any style.
        sheet = Image.new("RGBA", (side * n_images, side * len(clusters)))
        for row, cluster in enumerate(clusters):
            # After the typical images, `shown` lists the most doubtful ones.
            for column, i in enumerate(cluster.shown[: min(n_images, cluster.n_typical)]):
                tile = make_tile(self.summary.images[i], TILE)
                sheet.paste(tile, (side * column + GAP // 2, side * row + GAP // 2))
        ax.imshow(np.asarray(sheet))
        names = [f"{c.name}\n{c.size} image{'s' * (c.size != 1)}" for c in clusters]
        _fit_row_names(ax, side * (np.arange(len(clusters)) + 0.5), names)
        ax.set_xticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        return self


class SilhouetteDisplay(ClusteringDisplay):
    """Silhouettes of the images, by cluster.

    A negative silhouette means that another cluster is nearer. Of more than 10,000 images, a
    sample is drawn. Use `from_estimator` or `from_predictions` to create it.

    Parameters
    ----------
    summary : ClusteringSummary
        The clustering to draw.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the silhouettes.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    """

    def plot(self, ax: Any = None) -> SilhouetteDisplay:
        """Draw the silhouettes, sorted within each cluster, and their mean.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.

        Returns
        -------
        SilhouetteDisplay
            The display itself.
        """
        silhouettes = self._silhouettes()
        self._check_features(len(silhouettes) > 0)
        mean = float(np.nanmean(silhouettes))
        clusters = [cluster for cluster in self.summary.clusters if cluster.label >= 0]
        ax = take_axes(self, ax, (6.4, max(4.8, 0.25 * len(clusters))))
        usual = np.count_nonzero(~np.isnan(silhouettes)) / len(clusters)
        start, ticks = 0.0, []
        for number, cluster in enumerate(clusters):
            values = silhouettes[self.summary.labels == cluster.label]
            values = np.sort(values[~np.isnan(values)])
            # The name of a small cluster takes as much space as others.
            height = max(len(values), usual / 2)
            rows = start + (height - len(values)) / 2 + np.arange(len(values) + 1)
            bars = {"fill": True, "color": color(number)}
            ax.stairs(values, rows, orientation="horizontal", **bars)
            ticks.append(start + height / 2)
            start += height + usual / 5
        ax.axvline(mean, color=ax.title.get_color(), linestyle="--", linewidth=1)
        ax.set(xlabel="silhouette", title=f"mean {mean:.2f}", ylim=(start, -usual / 5))
        _fit_row_names(ax, ticks, [cluster.name for cluster in clusters])
        return self

    def _silhouettes(self) -> np.ndarray:
        """Return the silhouette of each image, NaN where it is not known; empty without any."""
        features, labels = self.summary.features, self.summary.labels
        rows = np.flatnonzero(labels >= 0)
        if features is None or not 1 < len(np.unique(labels[rows])) < len(rows):
            return np.empty(0)
        silhouettes = np.full(len(labels), np.nan)
        drawn, values = silhouette_sample(features[rows], labels[rows])
        silhouettes[rows[drawn]] = values
        return silhouettes


class ClusterMapDisplay(ClusteringDisplay):
    """Map of the images in two dimensions, colored by cluster.

    Of more than 2,500 images, a sample is drawn. Use `from_estimator` or `from_predictions` to
    create it.

    Parameters
    ----------
    summary : ClusteringSummary
        The clustering to draw.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the map.
    figure_ : matplotlib Figure
        Figure that contains the axes.
    """

    _projection = "auto"

    def plot(self, ax: Any = None, *, thumbnails: bool = True) -> ClusterMapDisplay:
        """Draw a point for each image.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        thumbnails : bool, default=True
            Whether to draw the most typical image of each cluster beside the map, for up to 48
            clusters, the largest.

        Returns
        -------
        ClusterMapDisplay
            The display itself.
        """
        summary = self.summary
        self._check_features(len(summary.mapped))
        ax = take_axes(self, ax, (7.0, 7.0))
        for number, cluster in enumerate(summary.clusters):
            points = summary.positions[summary.labels[summary.mapped] == cluster.label]
            ax.scatter(*points.T, s=12, color=color(number), label=cluster.name)
        if thumbnails:
            self._pin_typical(ax)
        ax.set(xticks=[], yticks=[], aspect="equal", title=summary.projection.split(":")[0])
        return self

    def _pin_typical(self, ax: Any) -> None:
        """Draw the most typical image of each of the largest clusters around the map."""
        places = dict(zip(self.summary.mapped.tolist(), self.summary.positions))
        largest = sorted(enumerate(self.summary.clusters), key=lambda pair: -pair[1].size)
        typical = [(cluster.shown[0], color(number)) for number, cluster in largest]
        pins = [(places[i], self.summary.images[i], edge) for i, edge in typical if i in places]
        pin(ax, *zip(*pins[:MAX_PINNED]))


class NClustersDisplay:
    """Scores of several numbers of clusters.

    Use `from_estimator` or `from_predictions` to create it.

    Parameters
    ----------
    table : sequence of NClustersScore
        The scores, as `choose_n_clusters` returns them.
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
        """Draw the scores of a grid search, or those of `choose_n_clusters`.

        Parameters
        ----------
        estimator : fitted GridSearchCV or NClustersChoice
            A search over `n_clusters`, or the result of `choose_n_clusters`.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.

        Returns
        -------
        NClustersDisplay
            The display.
        """
        if not hasattr(estimator, "cv_results_"):
            return cls.from_predictions(estimator.table, estimator.n_clusters, ax=ax)
        # In a Pipeline the parameter has a prefix, such as clusterer__n_clusters.
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
            For each number of clusters, an NClustersScore, or the number and its score.
        chosen : int, default=None
            Number of clusters to mark.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.

        Returns
        -------
        NClustersDisplay
            The display.
        """
        return cls(table, chosen).plot(ax)

    def plot(self, ax: Any = None) -> NClustersDisplay:
        """Draw the scores against the number of clusters.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.

        Returns
        -------
        NClustersDisplay
            The display itself.
        """
        ax = take_axes(self, ax, (6.4, 4.0))
        from matplotlib.ticker import MaxNLocator

        numbers, scores, *_ = zip(*self.table)
        ax.plot(numbers, scores, marker="o", color=color(0))
        if self.chosen is not None:
            ax.axvline(self.chosen, color=ax.title.get_color(), linestyle="--", linewidth=1)
            ax.set_title(f"{self.chosen} clusters")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(xlabel="number of clusters", ylabel="score")
        return self


class ConfusionDisplay:
    """Table of how many images of each class are in each cluster.

    Parameters
    ----------
    evaluation : Evaluation
        Result of `evaluate_export`.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    ax_: Any
    figure_: Any

    def __init__(self, evaluation: Any):
        self.evaluation = evaluation

    def plot(self, ax: Any = None) -> ConfusionDisplay:
        """Draw the table, each row as shares of its class.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.

        Returns
        -------
        ConfusionDisplay
            The display itself.
        """
        counts, (height, width) = self.evaluation.counts, self.evaluation.counts.shape
        # At least 5 inches, which the title takes.
        ax = take_axes(self, ax, (max(5, 0.35 * width + 2.5), 0.35 * height + 2))
        shares = counts / counts.sum(axis=1, keepdims=True)
        # Square cells would not leave the space that constrained layout keeps for the names.
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ax.set_xticks(range(width), self.evaluation.clusters, rotation=90)
        ax.set_yticks(range(height), self.evaluation.classes)
        for row, column in zip(*np.nonzero(counts)):
            ink = "white" if shares[row, column] > 0.5 else "black"
            place = {"ha": "center", "va": "center", "color": ink, "fontsize": 7}
            ax.text(column, row, counts[row, column], **place)
        found = self.evaluation
        ax.set(title=f"AMI {found.ami:.2f}, ARI {found.ari:.2f}, accuracy {found.accuracy:.2f}")
        return self


def _fit_row_names(ax: Any, places: Any, names: Sequence[str]) -> None:
    """Label rows of the axes, in letters so small that neighbors do not overlap."""
    ax.set_yticks(places, names)
    ax.apply_aspect()  # an image that is narrower than its axes lowers them
    heights = ax.transData.transform([(0, place) for place in places])[:, 1]
    pitch = np.abs(np.diff(heights)).min(initial=np.inf) * 72 / ax.figure.dpi  # in points
    lines = 1 + names[0].count("\n")
    usual = ax.get_yticklabels()[0].get_fontsize()
    ax.tick_params("y", labelsize=min(usual, pitch / lines / LINE_HEIGHT))
