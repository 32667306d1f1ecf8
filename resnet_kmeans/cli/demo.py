"""The command that demonstrates the package with pictures that it draws."""

import argparse
import warnings
from pathlib import Path
from typing import Any

import resnet_kmeans  # what it contains is imported at its first use
from resnet_kmeans.cli.printing import print_clusters
from resnet_kmeans.exceptions import WeightsNotFoundError
from resnet_kmeans.export import check_output_folder
from resnet_kmeans.network import BACKBONES, fetch_weights, imagenet_files


def demo(args: argparse.Namespace) -> None:
    """Draw pictures, cluster them, and show how well the clusters match the contents."""
    from sklearn.metrics import adjusted_rand_score

    from resnet_kmeans.sample_pictures import GROUPS, PHOTOS, crop_photos, draw_pictures, group_of

    output = Path(args.output)
    check_output_folder(output)
    network, sentence = _choose_network()
    print(sentence)
    paths = draw_pictures(output / "pictures") + crop_photos(output / "pictures")
    groups = [group_of(path) for path in paths]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `sentence` already says if the network is untrained
        featurizer = resnet_kmeans.ResNetFeaturizer(**network, verbose=int(not args.quiet))
        clusterer = resnet_kmeans.ImageFolderClusterer(
            len(GROUPS) + len(PHOTOS), featurizer=featurizer, random_state=0
        ).fit(paths)
    print_clusters(clusterer.export(output / "clusters"), output / "clusters")
    print(f"Report: {resnet_kmeans.write_export_report(output / 'clusters')}")
    agreement = adjusted_rand_score(groups, clusterer.labels_)
    print(
        f"Agreement with the {len(GROUPS)} drawn groups and {len(PHOTOS)} photos: "
        f"{agreement:.2f} (adjusted Rand index: 1 is perfect, 0 is chance)"
    )


def _choose_network() -> tuple[dict[str, Any], str]:
    """Return parameters of the best network available, and a sentence that names it."""
    # Weights on this machine come first, because a download may take minutes, or fail.
    for backbone in ("resnet50", "efficientnet_lite"):
        if all(file.is_file() for file in imagenet_files(backbone)):
            name = BACKBONES[backbone]
            return {"backbone": backbone}, f"Network: {name} with ImageNet weights."
    try:
        fetch_weights("resnet50")
        return {}, "Network: ResNet50 with ImageNet weights."
    except WeightsNotFoundError as error:
        return {"weights": None}, (
            f"The ImageNet weights of ResNet50 could not be downloaded ({error.args[1]}).\n"
            "THE NETWORK IS UNTRAINED: it distinguishes little more than colors. This shows\n"
            "that everything runs, not how good clusters can be. To install a trained network:\n"
            "pip install 'resnet-kmeans[lite]'"
        )
