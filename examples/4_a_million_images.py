"""I have a million images and one machine: will it fit, and what if it stops half-way?

    RESNET_KMEANS_CACHE_BYTES=9000000000 python examples/4_a_million_images.py photos/

If it is stopped, run it again: it continues where it stopped.
"""

import argparse

from sklearn import config_context
from sklearn.cluster import MiniBatchKMeans

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, export_clusters
from resnet_kmeans.sample_pictures import draw_pictures

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", nargs="?", help="your photos; without it, pictures are drawn")
parser.add_argument("--weights", default="imagenet", help="or a file, or none (untrained)")
parser.add_argument("--backbone", default="resnet50", help="or efficientnet_lite (lite extra)")
args = parser.parse_args()
if args.folder is None:
    args.folder = "pictures"
    draw_pictures(args.folder, n_each=20)

featurizer = ResNetFeaturizer(
    weights=None if args.weights == "none" else args.weights,
    backbone=args.backbone,
    cache="features",  # 8 KB per image; what is in it never passes through the network again
    verbose=1,
)
clusterer = ImageFolderClusterer(
    n_clusters=6,
    featurizer=featurizer,
    clusterer=MiniBatchKMeans(batch_size=4096, n_init=10, random_state=0),
    random_state=0,
)
# MiB of features in memory at once: 1 shows the effect, the default is 1024.
with config_context(working_memory=1):
    clusterer.fit(args.folder)

# A hard link takes no space. One bad file stops nothing: the table says why it was bad.
rows = export_clusters(
    clusterer.image_paths_,
    clusterer.labels_,
    "clusters",
    action="hardlink",
    reasons=clusterer.unreadable_,
)
print(f"{len(rows)} images in clusters/, listed in clusters/clusters.csv")
