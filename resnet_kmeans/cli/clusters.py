"""The commands that cluster images."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnet_kmeans.cli.exports import finish_interrupted, print_clusters, request_of
from resnet_kmeans.cli.options import cache_of, run_params, weights_of
from resnet_kmeans.cli.pages import write_page
from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.exceptions import ModelFileError, printable
from resnet_kmeans.export import (
    ExportedImage,
    check_images,
    check_output_folder,
    export_clusters,
)
from resnet_kmeans.exports import find_nearest_centers
from resnet_kmeans.featurizer import ResNetFeaturizer
from resnet_kmeans.images import require_images
from resnet_kmeans.model_selection import choose_n_clusters
from resnet_kmeans.name_suggestions import (
    folder_names,
    head_of_featurizer,
    suggest_cluster_names,
)


def cluster(args: argparse.Namespace) -> None:
    """Group the images of a folder into folders."""
    output = Path(args.output)
    args.request = request_of(args)
    if finish_interrupted(args):
        return
    check_output_folder(output, inside=Path(args.input))
    _check_first(args)
    with tempfile.TemporaryDirectory() as own:
        if args.cache == "none" and (args.report or args.names or args.n_clusters == "auto"):
            args.cache = own  # features are needed twice, the network runs once
        clusterer = _clusterer(args)
        if args.n_clusters == "auto":
            choice = choose_n_clusters(args.input, estimator=clusterer)
            print(f"{choice.n_clusters} clusters: {choice.reason}")
            args.n_clusters = choice.n_clusters
            clusterer.set_params(n_clusters=choice.n_clusters)
        clusterer.fit(args.input)
        if args.names:
            found = suggest_cluster_names(clusterer)
            clusterer.set_cluster_names(folder_names(clusterer.cluster_names_, found))
            print_names(clusterer.cluster_names_, found)
        if args.save_model:
            clusterer.save(args.save_model)
        paths, reasons = clusterer.image_paths_, clusterer.unreadable_
        _export(args, paths, clusterer.labels_, clusterer.distances_, reasons, clusterer)
        if args.report and not args.dry_run:
            write_page(output, clusterer)


def _check_first(args: argparse.Namespace) -> None:
    """Refuse before the network runs what would be refused after it; say that work begins."""
    if args.save_model and os.path.lexists(args.save_model):
        raise ModelFileError(
            f"Expected a new file for the model, got {printable(args.save_model)}, which is there. "
            "Nothing was done. Choose another name, or move it away first."
        )
    paths = [os.path.abspath(path) for path in require_images(args.input)]
    # What cannot be read is listed later, and never moved.
    readable = [path for path in paths if os.path.isfile(path) and os.access(path, os.R_OK)]
    planned = [ExportedImage(0, "", "", path) for path in readable]
    check_images(planned, Path(args.output), args.action)
    if args.names:
        head_of_featurizer(_featurizer(args))  # fetched now, or known to be none
    if not args.quiet:
        print(f"Looking at {len(paths)} images with {_network_name(args)} …", file=sys.stderr)


def print_names(names: list[str], found: list[tuple[str, float] | None]) -> None:
    """Print the names that were suggested, with their probabilities."""
    named = [(name, *suggestion) for name, suggestion in zip(names, found) if suggestion]
    for name, suggestion, probability in named:
        print(f"{name}: {suggestion}, probability {probability:.2f}")
    print(f"{len(named)} of {len(names)} clusters have a name")


def _network_name(args: argparse.Namespace) -> str:
    is_whole = args.weights.lower().endswith(".keras")
    return str(args.weights if is_whole else args.backbone)


def assign(args: argparse.Namespace) -> None:
    """Put new images into the clusters of a saved model."""
    args.request = request_of(args)
    if finish_interrupted(args):
        return
    check_output_folder(Path(args.output), inside=Path(args.input))
    with tempfile.TemporaryDirectory() as own:
        if args.cache == "none" and args.report:
            args.cache = own  # features are needed twice, the network runs once
        model = ImageFolderClusterer.load(args.model, **run_params(args))
        _assign(args, model, require_images(args.input))
        if args.report and not args.dry_run:
            write_page(Path(args.output), model)


def _assign(
    args: argparse.Namespace, model: ImageFolderClusterer, paths: list[Path]
) -> list[ExportedImage]:
    new = find_nearest_centers(model, [os.fspath(path) for path in paths])
    return _export(args, new.paths, new.centers, new.distances, new.reasons, model)


def choose_k(args: argparse.Namespace) -> None:
    """Show how well each number of clusters fits, and choose one."""
    choice = choose_n_clusters(args.input, range(2, args.max + 1), estimator=_clusterer(args))
    top = max(score.modularity for score in choice.table)
    print("  k  modularity  silhouette  smallest")
    for score in choice.table:
        bar = "#" * max(0, round(40 * score.modularity / max(top, 1e-9)))
        mark = "*" if score.n_clusters == choice.n_clusters else " "
        numbers = f"{score.n_clusters:3d}  {score.modularity:10.3f}  {score.silhouette:10.3f}"
        print(f"{numbers}  {score.smallest_cluster:8d} {mark}{bar}")
    print(f"{choice.n_clusters} clusters: {choice.reason}")


def _export(
    args: argparse.Namespace,
    paths: Any,
    labels: Any,
    distances: Any,
    reasons: Mapping[str, str],
    model: ImageFolderClusterer,
) -> list[ExportedImage]:
    rows = export_clusters(
        paths,
        labels,
        args.output,
        action=args.action,
        distances=distances,
        reasons=reasons,
        names=model.cluster_names_,
        model=model,
        request=args.request,
        dry_run=args.dry_run,
    )
    print_clusters(rows, Path(args.output), args.dry_run)
    return rows


def _clusterer(args: argparse.Namespace) -> ImageFolderClusterer:
    return ImageFolderClusterer(
        2 if args.n_clusters == "auto" else args.n_clusters,
        featurizer=_featurizer(args),
        reducer=None if args.reducer == "none" else args.reducer,
        unreadable=args.unreadable,
        random_state=args.seed,
    )


def _featurizer(args: argparse.Namespace) -> ResNetFeaturizer:
    return ResNetFeaturizer(
        weights=weights_of(args),
        backbone=args.backbone,
        layer=args.layer,
        preprocess=args.preprocess,
        precision=args.precision,
        n_jobs=args.jobs,
        cache=cache_of(args),
        verbose=int(not args.quiet),
    )
