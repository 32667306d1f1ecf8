"""I have photos and no labels: how do I get them sorted, and keep them sorted?

    python examples/1_my_photos.py photos/ new-photos/

On the pictures that `resnet-kmeans demo` makes it prints

    4 clusters: the highest modularity, 0.33
    cluster 1 is a honeycomb (0.33)
    cluster 3 is a maze (0.86)
    open clusters/report.html
    new-photos/blue_dots_0.png -> honeycomb/blue_dots_0.png
"""

import sys

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    add_images,
    choose_n_clusters,
    suggest_cluster_names,
    write_export_report,
)

photos, *new_photos = sys.argv[1:] or ["photos"]
featurizer = ResNetFeaturizer(backbone="efficientnet_lite")
clusterer = ImageFolderClusterer(featurizer=featurizer, random_state=0)
choice = choose_n_clusters(photos, range(2, 16), estimator=clusterer)
print(f"{choice.n_clusters} clusters: {choice.reason}")
clusterer.set_params(n_clusters=choice.n_clusters).fit(photos)

# Names are ImageNet classes; clusters that the network is unsure of get none.
for label, suggestion in enumerate(suggest_cluster_names(clusterer)):
    if suggestion is not None:
        print(f"cluster {label} is a {suggestion[0]} ({suggestion[1]:.2f})")
        clusterer.set_cluster_names({label: suggestion[0]})

clusterer.export("clusters")  # correct the folders as you like: they decide from now on
print(f"open {write_export_report('clusters')}")

for folder in new_photos:  # those that came later
    for image in add_images("clusters", folder):
        print(f"{image.source_path} -> {image.exported_path}, doubt {image.doubt}")

# The folders as they are, corrected or not, are a classifier for other photos.
ImageFolderClusterer.from_export("clusters").save("folders.safetensors")
