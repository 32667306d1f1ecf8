"""I work with scikit-learn: how does it go into a Pipeline, and through GridSearchCV?

python examples/2_pipeline_grid_search.py photos/
"""

import argparse

import numpy as np
from sklearn.cluster import KMeans
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer

from resnet_kmeans import ResNetFeaturizer, find_images, modularity_scorer
from resnet_kmeans.cli.pictures import draw_pictures

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", nargs="?", help="your photos; without it, pictures are drawn")
parser.add_argument("--weights", default="imagenet", help="or a file, or none (untrained)")
parser.add_argument("--backbone", default="resnet50", help="or efficientnet_lite0 (lite extra)")
args = parser.parse_args()
weights = None if args.weights == "none" else args.weights
paths = find_images(args.folder) if args.folder else draw_pictures("pictures")

pipeline = Pipeline(
    [
        ("features", ResNetFeaturizer(weights=weights, backbone=args.backbone)),
        ("normalize", Normalizer()),
        ("cluster", KMeans(n_init=10, random_state=0)),
    ]
)
search = GridSearchCV(
    pipeline,
    {"cluster__n_clusters": range(2, 10)},
    # KMeans' own score always picks the most clusters; modularity does not.
    scoring=modularity_scorer,
    # Paths come sorted: without shuffling each fold would be one neighbourhood of names.
    cv=KFold(3, shuffle=True, random_state=0),
)
# 8 numbers x 3 folds, and every image passes the network once: features are cached.
search.fit(np.array(paths))

for n_clusters, score in zip(range(2, 10), search.cv_results_["mean_test_score"]):
    print(f"{n_clusters} clusters: modularity {score:.3f}")
print(f"best: {search.best_params_['cluster__n_clusters']} clusters")
