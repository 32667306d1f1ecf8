"""I have a folder of photos and no labels: which ones look alike?

    python examples/1_cluster_a_folder.py photos/

writes one folder a cluster to clusters/, and the page clusters/report.html to look at.
"""

import argparse

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    export_clusters,
    write_report,
)
from resnet_kmeans.cli.pictures import draw_pictures

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", nargs="?", help="your photos; without it, pictures are drawn")
parser.add_argument("--weights", default="imagenet", help="or a file, or none (untrained)")
parser.add_argument("--backbone", default="resnet50", help="or efficientnet_lite0 (lite extra)")
args = parser.parse_args()
weights = None if args.weights == "none" else args.weights
if args.folder is None:
    args.folder = "pictures"
    draw_pictures(args.folder)

featurizer = ResNetFeaturizer(weights=weights, backbone=args.backbone)
clusterer = ImageFolderClusterer(n_clusters=6, featurizer=featurizer, random_state=0)
clusterer.fit(args.folder)

exported = export_clusters(
    clusterer.image_paths_,
    clusterer.labels_,
    "clusters",
    distances=clusterer.distances_,
    reasons=clusterer.unreadable_,
)
page = write_report(clusterer, "clusters/report.html")

print(f"{len(exported)} images, {len(clusterer.unreadable_)} unreadable; open {page}")
