"""My clusters are good: how do new images get into them, next week or elsewhere?

    python examples/4_save_load_assign.py photos/

fits on every second image, saves the model, loads it and assigns the others.
"""

import argparse
import os

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, find_images
from resnet_kmeans.cli.pictures import draw_pictures

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", nargs="?", help="your photos; without it, pictures are drawn")
parser.add_argument("--weights", default="imagenet", help="or a file, or none (untrained)")
parser.add_argument("--backbone", default="resnet50", help="or efficientnet_lite0 (lite extra)")
args = parser.parse_args()
weights = None if args.weights == "none" else args.weights
paths = find_images(args.folder) if args.folder else draw_pictures("pictures")
old, new = paths[::2], paths[1::2]

featurizer = ResNetFeaturizer(weights=weights, backbone=args.backbone)
clusterer = ImageFolderClusterer(n_clusters=6, featurizer=featurizer, random_state=0).fit(old)
clusterer.save("clusters.safetensors")
print(f"{os.path.getsize('clusters.safetensors') / 1e6:.2f} MB, without the network, without code")

# Elsewhere the weights may lie elsewhere: load(path, weights=...). Other weights are refused.
loaded = ImageFolderClusterer.load("clusters.safetensors")
distances = loaded.transform(new)
for path, label, row in zip(new, loaded.predict(new), distances):
    print(f"{path}  cluster {label}, at {row.min():.2f}")
