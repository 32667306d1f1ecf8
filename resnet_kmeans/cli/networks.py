"""The commands on weights and cache."""

from __future__ import annotations

import argparse

from resnet_kmeans.cli.options import cache_of
from resnet_kmeans.exceptions import printable
from resnet_kmeans.features import FeatureCache, cache_path, networks_folder
from resnet_kmeans.network import (
    BACKBONES,
    NetworkSpec,
    build_model,
    compiled_files,
    imagenet_file,
    import_imagenet_file,
    import_preset,
)


def cache(args: argparse.Namespace) -> None:
    """Show the cache of features and compiled networks, or clear it."""
    folder = cache_of(args)
    file = cache_path(folder)
    if file is None or not file.exists():  # to open it would make it
        print(f"{file}: not there, 0 images, 0.0 MB")
        return
    with FeatureCache(folder) as features:
        if args.clear:
            features.clear()
        print(f"{features.file}: {features.n_rows()} images, {features.used_bytes() / 1e6:.1f} MB")
        networks = networks_folder(features)
    files = compiled_files(networks) if networks else []
    if args.clear:
        for old in files:
            old.unlink(missing_ok=True)
        files = []
    size = sum(kept.stat().st_size for kept in files)
    print(f"{networks}: {len(files)} networks, {size / 1e6:.1f} MB")


def weights(args: argparse.Namespace) -> None:
    """Show which ImageNet weights are there, fetch or import them."""
    if args.import_file:
        print(f"Imported to {import_imagenet_file(args.import_file)}")
    if args.from_preset:
        imported = import_preset(*args.from_preset)
        print(f"Imported to {printable(imported.file)}. Use it:\n{imported.usage}")
    if args.fetch:
        build_model(NetworkSpec(backbone=args.fetch))
    for backbone in BACKBONES:
        file = imagenet_file(backbone)
        print(f"{backbone}  {'there' if file.is_file() else 'not there'}  {file}")
