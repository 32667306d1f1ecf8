"""I have a folder of photos and no labels: how do I get them sorted, and keep them sorted?

    python examples/1_my_photos.py photos/ new-photos/

On the pictures that `resnet-kmeans demo` makes it prints

    4 clusters: the highest modularity, 0.33
    cluster_1 is a honeycomb (0.33)
    cluster_3 is a maze (0.86)
    open clusters/report.html
    new-photos/blue_dots_0.png -> cluster_1_honeycomb/blue_dots_0.png
    ...
"""

import argparse

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    add_images,
    choose_n_clusters,
    export_clusters,
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

export_clusters(
    clusterer.image_paths_,
    clusterer.labels_,
    "clusters",
    distances=clusterer.distances_,
    reasons=clusterer.unreadable_,
    names=clusterer.cluster_names_,
    model=clusterer,  # kept in the folder, so that images can be added later
)
print(f"open {write_report(clusterer, 'clusters/report.html')}")

if args.new_photos is not None:
    for image in add_images("clusters", args.new_photos):
        print(f"{image.source_path} -> {image.exported_path}")
