"""The command that shows what the package does, on pictures that it draws."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from resnet_kmeans.cli.exports import print_clusters
from resnet_kmeans.cli.pictures import GROUPS, draw_pictures, group_of
from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.exceptions import WeightsNotFoundError
from resnet_kmeans.export import check_output_folder, export_clusters
from resnet_kmeans.featurizer import ResNetFeaturizer
from resnet_kmeans.network import NetworkSpec, build_model


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
    print_clusters(rows, output / "clusters")
    agreement = adjusted_rand_score([group_of(path) for path in paths], clusterer.labels_)
    print(
        f"Agreement with the {len(GROUPS)} drawn groups: {agreement:.2f} "
        "(adjusted Rand index; 1 is perfect, 0 chance)"
    )
