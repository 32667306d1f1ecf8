"""The workers behind the command line, one for each command."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.demo import GROUPS, draw_pictures, group_of
from resnet_kmeans.exceptions import (
    OutputFolderError,
    WeightsNotFoundError,
    list_reasons,
    printable,
)
from resnet_kmeans.exporter import (
    REPORT,
    ExportedImage,
    check_output_folder,
    export_clusters,
    finish_export,
    is_unfinished,
    undo_export,
)
from resnet_kmeans.feature_cache import FeatureCache
from resnet_kmeans.featurizer import ResNetFeaturizer
from resnet_kmeans.images import reason_unreadable, require_images
from resnet_kmeans.model_selection import choose_n_clusters
from resnet_kmeans.report import write_report
from resnet_kmeans.weights import (
    BACKBONES,
    NetworkSpec,
    build_model,
    imagenet_file,
    import_imagenet_file,
)


def cluster(args: argparse.Namespace) -> None:
    """Group the images of a folder into folders."""
    output = Path(args.output)
    if _finish_interrupted(args):
        return
    check_output_folder(output, inside=Path(args.input))
    with tempfile.TemporaryDirectory() as own:
        if args.cache == "none" and (args.report or args.n_clusters == "auto"):
            args.cache = own  # features are needed twice, the network runs once
        clusterer = _clusterer(args)
        if args.n_clusters == "auto":
            choice = choose_n_clusters(args.input, estimator=clusterer)
            print(f"{choice.n_clusters} clusters: {choice.reason}")
            args.n_clusters = choice.n_clusters
            clusterer.set_params(n_clusters=choice.n_clusters)
        clusterer.fit(args.input)
        if args.save_model:
            clusterer.save(args.save_model)
        paths, reasons = clusterer.image_paths_, clusterer.unreadable_
        rows = _export(args, paths, clusterer.labels_, clusterer.distances_, reasons)
        if args.report and not args.dry_run:
            _write_report(clusterer, rows, output)


def _write_report(clustering: Any, rows: list[ExportedImage], output: Path) -> None:
    images = [output / row.exported_path if row.exported_path else row.source_path for row in rows]
    distances = [np.nan if row.distance is None else row.distance for row in rows]
    reasons = {row.source_path: row.reason for row in rows if row.reason}
    page = output / REPORT
    write_report(clustering, page, images=images, distances=distances, reasons=reasons)
    print(f"Report: {printable(page)}")


def report(args: argparse.Namespace) -> None:
    """Write the page that shows the clusters of an export, from what it exported alone."""
    output = Path(args.output)
    page = output / REPORT
    if page.exists():  # the one that `cluster --report` wrote knows more
        raise OutputFolderError(
            f"Expected no report yet, got {printable(page)}. Nothing was written. Open it, or "
            "move it away first."
        )
    rows = finish_export(output)
    _write_report([row.cluster for row in rows], rows, output)


def assign(args: argparse.Namespace) -> None:
    """Put new images into the clusters of a saved model."""
    if _finish_interrupted(args):
        return
    check_output_folder(Path(args.output), inside=Path(args.input))
    given = {"n_jobs": args.jobs, "cache": _cache(args), "verbose": int(not args.quiet)}
    if args.weights:
        given["weights"] = _weights(args)
    model = ImageFolderClusterer.load(args.model, **given)
    paths = require_images(args.input)
    distances = model.transform(paths)
    readable = ~np.isnan(distances).any(axis=1)
    labels = np.where(readable, np.nan_to_num(distances).argmin(axis=1), -1)
    bad = [os.fspath(paths[i]) for i in np.flatnonzero(~readable)]
    args.n_clusters = model.n_clusters
    reasons = {path: reason_unreadable(path) or "" for path in bad}
    _export(args, paths, labels, distances.min(axis=1), reasons)


def _export(
    args: argparse.Namespace, paths: Any, labels: Any, distances: Any, reasons: dict[str, str]
) -> list[ExportedImage]:
    rows = export_clusters(
        paths,
        labels,
        args.output,
        action=args.action,
        distances=distances,
        reasons=reasons,
        n_clusters=args.n_clusters,
        dry_run=args.dry_run,
    )
    _print_clusters(rows, Path(args.output), args.dry_run)
    return rows


def _finish_interrupted(args: argparse.Namespace) -> bool:
    output = Path(args.output)
    if args.dry_run or not is_unfinished(output):
        return False
    print(f"Finishing the interrupted export to {printable(output)}, as it was planned.")
    _print_clusters(finish_export(output), output)
    return True


def _print_clusters(rows: list[ExportedImage], output: Path, dry_run: bool = False) -> None:
    reasons = {row.source_path: row.reason for row in rows if not row.exported_path}
    if reasons:
        print(f"{len(reasons)} images could not be read:\n{list_reasons(reasons)}", file=sys.stderr)
    folders = [row.exported_path.split("/")[0] for row in rows if row.exported_path]
    for folder in sorted(set(folders)):
        print(f"{folder}  {folders.count(folder)} images")
    done = "would be" if dry_run else "are"
    n_clusters = len(set(folders))
    print(f"{len(folders)} images {done} in {n_clusters} clusters in {printable(output)}")


def choose_k(args: argparse.Namespace) -> None:
    """Show how well each number of clusters fits, and choose one."""
    choice = choose_n_clusters(args.input, range(2, args.max + 1), estimator=_clusterer(args))
    top = max(score.silhouette for score in choice.table)
    print("  k  silhouette     inertia  smallest")
    for score in choice.table:
        bar = "#" * max(0, round(40 * score.silhouette / max(top, 1e-9)))
        mark = "*" if score.n_clusters == choice.n_clusters else " "
        numbers = f"{score.n_clusters:3d}  {score.silhouette:10.3f}  {score.inertia:10.4g}"
        print(f"{numbers}  {score.smallest_cluster:8d} {mark}{bar}")
    print(f"{choice.n_clusters} clusters: {choice.reason}")


def undo(args: argparse.Namespace) -> None:
    """Bring moved images back."""
    print(f"{len(undo_export(args.output))} images are back where they were")


def cache(args: argparse.Namespace) -> None:
    """Show the feature cache, or clear it."""
    with FeatureCache(_cache(args)) as features:
        if args.clear:
            features.clear()
        print(f"{features.file}: {features.n_rows()} images, {features.used_bytes() / 1e6:.1f} MB")


def weights(args: argparse.Namespace) -> None:
    """Show which ImageNet weights are there, fetch or import them."""
    if args.import_file:
        print(f"Imported to {import_imagenet_file(args.import_file)}")
    if args.fetch:
        build_model(NetworkSpec(backbone=args.fetch))
    for backbone in BACKBONES:
        file = imagenet_file(backbone)
        print(f"{backbone}  {'there' if file.is_file() else 'not there'}  {file}")


def demo(args: argparse.Namespace) -> None:
    """Draw pictures, cluster them, tell how well the clusters match what was drawn."""
    from sklearn.metrics import adjusted_rand_score

    output = Path(args.output)
    check_output_folder(output)
    given: dict[str, Any] = {"cache": None, "verbose": int(not args.quiet)}
    try:
        build_model(NetworkSpec())
        print("Weights: ImageNet.")
    except WeightsNotFoundError as error:
        given["weights"] = None
        print(f"The ImageNet weights are not to be had ({error.args[1]}).")
        print("THE NETWORK IS UNTRAINED: it sees little more than colour. This shows that")
        print("everything runs, not how good it is.")
        warnings.simplefilter("ignore")
    paths = draw_pictures(output / "pictures")
    featurizer = ResNetFeaturizer(**given)
    clusterer = ImageFolderClusterer(len(GROUPS), featurizer=featurizer, random_state=0).fit(paths)
    rows = export_clusters(paths, clusterer.labels_, output / "clusters")
    _print_clusters(rows, output / "clusters")
    agreement = adjusted_rand_score([group_of(path) for path in paths], clusterer.labels_)
    print(
        f"Agreement with the {len(GROUPS)} drawn groups: {agreement:.2f} "
        "(adjusted Rand index; 1 is perfect, 0 chance)"
    )


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
        weights=_weights(args),
        backbone=args.backbone,
        layer=args.layer,
        preprocess=args.preprocess,
        precision=args.precision,
        n_jobs=args.jobs,
        cache=_cache(args),
        verbose=int(not args.quiet),
    )


def _weights(args: argparse.Namespace) -> str | None:
    return None if args.weights == "none" else str(args.weights)


def _cache(args: argparse.Namespace) -> str | None:
    return None if args.cache == "none" else str(args.cache)
