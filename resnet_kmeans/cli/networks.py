"""The commands that show and change weights and the cache."""

import argparse

from resnet_kmeans import features, network
from resnet_kmeans.cli.printing import count
from resnet_kmeans.exceptions import ResNetKMeansError, printable


def cache(args: argparse.Namespace) -> None:
    """Show or clear the cache of features and compiled networks."""
    folder = None if args.cache == "none" else args.cache
    file = features.cache_path(folder)
    if file is None:
        print("The cache is disabled.")
        return
    if not file.exists():  # opening it would create it
        print(f"{printable(file)}: does not exist")
        return
    with features.FeatureCache(folder) as kept:
        if args.clear:
            if not kept.clear():  # which warned
                raise ResNetKMeansError("The cache was not cleared.")
            print("The cache was cleared. It now contains:")
        size = f"{kept.used_bytes() / 1e6:.1f} MB"
        print(f"{kept.file}: {count(kept.n_rows(), 'image')}, {size}")
        networks = features.networks_folder(kept)
    files = network.cached_networks(networks) if networks else []
    if args.clear:
        for old in files:
            old.unlink(missing_ok=True)
        files = []
    n_bytes = sum(file.stat().st_size for file in files)
    print(f"{networks}: {count(len(files), 'network')}, {n_bytes / 1e6:.1f} MB")


def weights(args: argparse.Namespace) -> None:
    """List the ImageNet weights on this machine; download or import them."""
    if args.import_file:
        print(f"Imported to {network.import_imagenet_file(args.import_file)}")
    if args.from_preset:
        spec = network.import_preset(*args.from_preset)
        use = f'weights={spec.weights!r}, input_shape={spec.input_shape}, preprocess="none"'
        print(f"Imported to {printable(spec.weights)}. Use it:\nResNetFeaturizer({use})")
    if args.fetch:
        network.fetch_weights(args.fetch)
    for backbone in network.BACKBONES:
        for file in network.imagenet_files(backbone):
            print(f"{backbone}  {'available' if file.is_file() else 'missing'}  {file}")
