"""Writes the page that shows and corrects an export."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans.cli.options import run_params
from resnet_kmeans.cli.wording import count
from resnet_kmeans.cluster_names import (
    NOISE,
    NOISE_NAME,
    REPORT,
    SET_ASIDE,
    SET_ASIDE_NAME,
    UNREADABLE,
)
from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.exceptions import OutputFolderError, ResNetKMeansError, printable
from resnet_kmeans.export import (
    ExportedImage,
    ExportState,
    folder_of,
    kept_model,
    read_export,
)
from resnet_kmeans.images import IMAGE_EXTENSIONS, reason_unreadable
from resnet_kmeans.kept_models import load_kept_model, reduced_rows
from resnet_kmeans.report import (
    ShownExport,
    read_facts,
    write_report,
)

SHOWN = 10  # differences that are printed; the page lists all of them


def report(args: argparse.Namespace) -> None:
    """Write the page that shows the clusters of an export as its folder is now."""
    output = Path(args.output)
    page = output / REPORT
    if page.exists() and not args.force:  # the one that `cluster --report` wrote knows more
        raise OutputFolderError(
            f"Expected no report yet, got {printable(page)}. Nothing was written. Open it, or "
            "replace it with --force."
        )
    write_page(output, **run_params(args))


def write_page(
    output: Path, model: ImageFolderClusterer | None = None, **featurizer_params: Any
) -> None:
    """Write the page of an export; print its path, and what was changed by hand in the folder.

    Parameters
    ----------
    output : Path
        The folder of the export.
    model : ImageFolderClusterer, default=None
        The fitted clusterer, for the map and the silhouettes. None uses the model that the
        export keeps.
    **featurizer_params
        Parameters of `ResNetFeaturizer` with which the kept model runs here.
    """
    state = read_export(output)
    rows = state.images + [_added(path) for path in state.added if _is_shown(path)]
    paths = [row.exported_path if _folder(row) else None for row in rows]
    labels, names = _label(state, rows)
    images = [output / path if path else row.source_path for path, row in zip(paths, rows)]
    differences = describe_differences(state)
    reasons = {row.source_path: row.reason or "in none of the folders" for row in rows}
    features, facts = _features_and_facts(output, images, labels, model, featurizer_params)
    if features is not None:
        # Files that were added by hand, or edited, may be unreadable.
        for i in np.flatnonzero(np.isnan(features).any(axis=1) & (labels != UNREADABLE)).tolist():
            labels[i], paths[i] = UNREADABLE, None
            reasons[str(images[i])] = reason_unreadable(images[i]) or "the network returns NaN"
    page = write_report(
        labels,
        output / REPORT,
        images=images,
        distances=[np.nan if row.distance is None else row.distance for row in rows],
        reasons=reasons,
        features=features,
        names=names,
        export=ShownExport(state.id, output, paths, set(state.added), differences),
        facts=facts,
    )
    if differences:
        print(f"The folder was changed by hand: {count(len(differences), 'difference')}.")
    for line in differences[:SHOWN]:
        print(f"  {printable(line)}")
    if len(differences) > SHOWN:
        print(f"  and {len(differences) - SHOWN} more; the page lists all of them")
    print(f"Report: {printable(page)}")


def _features_and_facts(
    output: Path,
    images: list[Any],
    labels: np.ndarray,
    model: ImageFolderClusterer | None,
    featurizer_params: Mapping[str, Any],
) -> tuple[np.ndarray | None, dict[str, str]]:
    """Return the reduced features of the images and facts about the model.

    Without a model that works here, the features are None, and a fact says why.
    """
    placed = np.flatnonzero(labels != UNREADABLE)
    try:
        if model is None and kept_model(output) is None:
            raise OutputFolderError("the export keeps no model")
        model = model or load_kept_model(output, featurizer_params)
        # The features are those of the fit, from the cache; the network sees new images alone.
        rows = reduced_rows(model, [images[i] for i in placed])
    except ResNetKMeansError as error:
        print(f"The report has no map: {error}")
        return None, {"Map": f"none: {error}"}
    features = np.full((len(labels), rows.shape[1]), np.nan, dtype=np.float32)
    features[placed] = rows
    return features, read_facts(model)


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
    images, left = count(n, "image", "is"), before or "the export itself"
    return f"{images} in {now or 'no folder'} now, no longer in {left}"


def _label(state: ExportState, rows: list[ExportedImage]) -> tuple[np.ndarray, dict[int, str]]:
    """Return the label of each image by its folder, and the folder of each label."""
    of = {SET_ASIDE_NAME: SET_ASIDE, NOISE_NAME: NOISE}
    for label, folder in enumerate(state.folders):
        of.setdefault(folder, label)
    for folder in filter(None, map(_folder, rows)):
        if folder not in of:
            of[folder] = max(*of.values(), -1) + 1
    labels = [of.get(_folder(row), UNREADABLE) for row in rows]
    return np.array(labels), {label: folder for folder, label in of.items()}


def _added(path: str) -> ExportedImage:
    return ExportedImage(UNREADABLE, "", path, path)


def _is_shown(path: str) -> bool:
    return bool(folder_of(path)) and path.lower().endswith(IMAGE_EXTENSIONS)


def _folder(row: ExportedImage) -> str:
    return folder_of(row.exported_path or "")
