"""The commands that cluster images."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Sized
from pathlib import Path
from typing import Any

import resnet_kmeans  # what it contains is imported at its first use
from resnet_kmeans.cli.printing import announce, count, print_clusters
from resnet_kmeans.exceptions import (
    IgnoredParameterWarning,
    ModelFileError,
    TooFewImagesError,
    UnreadableImagesWarning,
    printable,
    warn_caller,
)
from resnet_kmeans.export import ExportedImage, check_images, check_output_folder
from resnet_kmeans.images import passed_over, require_images
from resnet_kmeans.network import default_backbone

DEFAULT_N_CLUSTERS = 5


def cluster(args: argparse.Namespace) -> None:
    """Cluster the images of a folder; write one folder per cluster."""
    output = Path(args.output)
    check_output_folder(output)
    if args.clusterer == "hdbscan" and args.n_clusters is not None:
        text = f"hdbscan finds the number of clusters itself, so -k {args.n_clusters} is ignored."
        warn_caller(IgnoredParameterWarning(text))
    if args.clusterer == "hdbscan" or args.n_clusters is None:
        args.n_clusters = DEFAULT_N_CLUSTERS
    _check_cluster(args)
    with tempfile.TemporaryDirectory() as own:
        if args.cache == "none" and (args.names or args.n_clusters == "auto"):
            # Features are needed twice; with a temporary cache, the network runs only once.
            args.cache = own
        clusterer = _clusterer(args)
        if args.n_clusters == "auto":
            choice = resnet_kmeans.choose_n_clusters(args.input, estimator=clusterer)
            print(f"{choice.n_clusters} clusters: {choice.reason}")
            args.n_clusters = choice.n_clusters
            clusterer.set_params(n_clusters=choice.n_clusters)
        clusterer.fit(args.input)
        if args.names:
            from resnet_kmeans.name_suggestions import folder_names

            found = resnet_kmeans.suggest_cluster_names(clusterer)
            clusterer.set_cluster_names(folder_names(clusterer.cluster_names_, found))
            print_names(clusterer.cluster_names_, found)
        if args.save_model and not args.dry_run:
            clusterer.save(args.save_model)
        _export(args, clusterer)


def _check_cluster(args: argparse.Namespace) -> None:
    """Check what can be checked before the network runs: the arguments and the paths."""
    if args.save_model:
        _check_model_file(Path(args.save_model), Path(args.output))
    paths = [os.path.abspath(path) for path in require_images(args.input)]
    if args.n_clusters != "auto" and args.n_clusters > len(paths):
        raise TooFewImagesError(len(paths), args.n_clusters)
    # Unreadable files are reported later and never moved.
    readable = [path for path in paths if os.path.isfile(path) and os.access(path, os.R_OK)]
    planned = [ExportedImage(0, "", "", path) for path in readable]
    check_images(planned, Path(args.output), args.action)
    featurizer = _featurizer(args)
    if args.names:
        from resnet_kmeans.name_suggestions import head_of_featurizer

        head_of_featurizer(featurizer)  # raises if the network has no known head
    announce(args, _looking_at(paths, featurizer))


def _check_model_file(file: Path, output: Path) -> None:
    folder = Path(os.path.abspath(file)).parent
    if os.path.lexists(file):
        expected, problem = "a new file", f"{file}, which exists"
        advice = "Choose another name, or move the file away first."
    elif folder.is_relative_to(os.path.abspath(output)):
        # The export needs an empty folder, and the model file is written before it.
        expected, problem = "a file outside the output folder", str(file)
        advice = "Choose another folder."
    elif not (folder.is_dir() and os.access(folder, os.W_OK)):
        state = "is not writable" if folder.is_dir() else "does not exist"
        expected, problem = "a file in a writable folder", f"{file}, whose folder {state}"
        advice = "Choose another folder, or create it."
    else:
        return
    raise ModelFileError(
        f"Expected {expected} for the model, got {printable(problem)}. "
        f"Nothing was computed or written. {advice}"
    )


def _looking_at(paths: Sized, featurizer: resnet_kmeans.ResNetFeaturizer) -> str:
    """Return the beginning of a line that says what a command works on."""
    is_whole_model = str(featurizer.weights).lower().endswith((".keras", ".onnx"))
    network = featurizer.weights if is_whole_model else featurizer.backbone
    return f"Looking at {count(len(paths), 'image')} with {printable(network)}"


def print_names(names: list[str], found: list[tuple[str, float] | None]) -> None:
    """Print the suggested names with their probabilities."""
    named = [(name, *suggestion) for name, suggestion in zip(names, found) if suggestion]
    for name, suggestion, probability in named:
        print(f"{name}: {suggestion}, probability {probability:.2f}")
    print(f"{len(named)} of {len(names)} clusters have a name")


def assign(args: argparse.Namespace) -> None:
    """Assign new images to the clusters of a saved model."""
    check_output_folder(Path(args.output))
    model = resnet_kmeans.ImageFolderClusterer.load(args.model, **run_params(args))
    paths = require_images(args.input)
    announce(args, _looking_at(paths, model.pipeline_["featurizer"]))
    _export(args, model, paths)


def choose_k(args: argparse.Namespace) -> None:
    """Score each number of clusters and choose one."""
    args.n_clusters, args.clusterer = "auto", "kmeans"
    clusterer, paths = _clusterer(args), require_images(args.input)
    announce(args, _looking_at(paths, clusterer.featurizer))
    with warnings.catch_warnings():
        # Unlike an export, this command writes no table that lists these images.
        warnings.simplefilter("always", UnreadableImagesWarning)
        numbers = None if args.max is None else range(2, args.max + 1)
        choice = resnet_kmeans.choose_n_clusters(paths, numbers, estimator=clusterer)
    top = max(row.score for row in choice.table)
    print("    k   score  smallest")
    for row in choice.table:
        bar = "#" * max(0, round(40 * row.score / max(top, 1e-9)))
        mark = "*" if row.n_clusters == choice.n_clusters else " "
        print(f"{row.n_clusters:5d}  {row.score:6.3f}  {row.smallest_cluster:8d} {mark}{bar}")
    print(f"{choice.n_clusters} clusters: {choice.reason}")


def _export(
    args: argparse.Namespace, model: resnet_kmeans.ImageFolderClusterer, paths: Any = None
) -> None:
    """Export the images of the fit, or those of `paths`; write the report if requested."""
    output, dry_run = Path(args.output), args.dry_run
    rows = model.export(
        *(output, paths),
        action=args.action,
        dry_run=dry_run,
        companions=args.companions,
        skip_copies=args.skip_copies,
    )
    print_clusters(rows, output, dry_run)
    # What a move takes along, a dry run leaves there.
    if not (dry_run and args.action == "move") and (others := passed_over(args.input)):
        kinds = ", ".join(f"{n} {extension}" for extension, n in others.items())
        print(f"{count(sum(others.values()), 'file', 'was')} passed over: {printable(kinds)}")
    if args.report and not dry_run:
        print(f"Report: {printable(resnet_kmeans.write_export_report(output))}")
    if args.open and not dry_run:
        sys.stdout.flush()
        resnet_kmeans.open_export(output)


def _clusterer(args: argparse.Namespace) -> resnet_kmeans.ImageFolderClusterer:
    hdbscan = None
    if args.clusterer == "hdbscan":
        from sklearn.cluster import HDBSCAN

        hdbscan = HDBSCAN(copy=True)
    return resnet_kmeans.ImageFolderClusterer(
        2 if args.n_clusters == "auto" else args.n_clusters,
        featurizer=_featurizer(args),
        clusterer=hdbscan,
        reducer=_or_none(args.reducer),
        unreadable=args.unreadable,
        random_state=args.seed,
    )


def _featurizer(args: argparse.Namespace) -> resnet_kmeans.ResNetFeaturizer:
    return resnet_kmeans.ResNetFeaturizer(
        layer=args.layer,
        pooling=_or_none(args.pooling),
        input_shape=tuple(args.input_shape),
        preprocess=args.preprocess,
        precision=args.precision,
        **{"backbone": default_backbone(), **run_params(args)},
    )


def run_params(args: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters of a featurizer that any model takes, as far as they are given."""
    given = {"n_jobs": args.jobs, "cache": _or_none(args.cache), "verbose": int(not args.quiet)}
    given |= {} if args.weights is None else {"weights": _or_none(args.weights)}
    return given if args.backbone is None else {**given, "backbone": args.backbone}


def _or_none(text: str) -> str | None:
    return None if text == "none" else text
