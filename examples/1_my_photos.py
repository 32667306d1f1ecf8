"""I have a folder of photos and no labels: how do I get them sorted, and keep them sorted?

    python examples/1_my_photos.py photos/ new-photos/

@@OUT
"""

import argparse

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    add_images,
    choose_n_clusters,
    export_clusters,
    find_images,
    suggest_cluster_names,
    write_report,
)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("photos", help="folder of images")
parser.add_argument("new_photos", nargs="?", help="folder of images that came later")
parser.add_argument("--backbone", default="efficientnet_lite0", help="or resnet50")
args = parser.parse_args()

featurizer = ResNetFeaturizer(backbone=args.backbone)
clusterer = ImageFolderClusterer(featurizer=featurizer, random_state=0)
choice = choose_n_clusters(args.photos, range(2, 16), estimator=clusterer)
print(f"{choice.n_clusters} clusters: {choice.reason}")
clusterer.set_params(n_clusters=choice.n_clusters).fit(args.photos)

# Names come from the ImageNet classes of the network; clusters that it is unsure of get none.
for label, suggestion in enumerate(suggest_cluster_names(clusterer)):
    if suggestion is not None:
        name, probability = suggestion
        print(f"{clusterer.cluster_names_[label]} is a {name} ({probability:.2f})")
        clusterer.set_cluster_names({label: f"{clusterer.cluster_names_[label]}_{name}"})

clusterer.export("clusters")
