"""How many clusters are there, and what is in them?

    python examples/3_choose_and_look.py photos/

writes how_many.png and clusters.png. Needs matplotlib: pip install 'resnet-kmeans[plot]'.
"""

import argparse

import matplotlib

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, choose_n_clusters, find_images
from resnet_kmeans.cli.pictures import draw_pictures
from resnet_kmeans.display import ContactSheetDisplay, NClustersDisplay

matplotlib.use("Agg")  # files, no window

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", nargs="?", help="your photos; without it, pictures are drawn")
parser.add_argument("--weights", default="imagenet", help="or a file, or none (untrained)")
parser.add_argument("--backbone", default="resnet50", help="or efficientnet_lite0 (lite extra)")
args = parser.parse_args()
weights = None if args.weights == "none" else args.weights
paths = find_images(args.folder) if args.folder else draw_pictures("pictures")

featurizer = ResNetFeaturizer(weights=weights, backbone=args.backbone)
clusterer = ImageFolderClusterer(featurizer=featurizer, random_state=0)

choice = choose_n_clusters(paths, range(2, 13), estimator=clusterer)
print(f"{choice.n_clusters} clusters: {choice.reason}")
display = NClustersDisplay.from_predictions(choice.table, choice.n_clusters)
display.figure_.savefig("how_many.png")

clusterer.set_params(n_clusters=choice.n_clusters).fit(paths)
display = ContactSheetDisplay.from_estimator(clusterer, n_images=6)
display.figure_.savefig("clusters.png")
