"""I work with scikit-learn: how do I use this in a Pipeline and with GridSearchCV?

    python examples/2_scikit_learn.py photos/

Each cell runs in a notebook too.
"""

# %% Paths are data, like the rows of a table.
import sys

import numpy as np
from sklearn.cluster import KMeans
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, find_images

paths = np.array(find_images((sys.argv[1:] or ["photos"])[0]))
featurizer = ResNetFeaturizer(backbone="efficientnet_lite0")

# %% A transformer: one row of features per image, (n, 1280) float32.
print(featurizer.fit_transform(paths).shape)  # (54, 1280)

# %% In a Pipeline, in front of whatever takes rows.
pipeline = make_pipeline(featurizer, Normalizer(), KMeans(6, n_init=10, random_state=0))
print(np.bincount(pipeline.fit_predict(paths)))  # [14 13  7  7  6  7]

# %% The whole job as one estimator, and the number of clusters by cross-validation.
# Paths are sorted: folds that are not shuffled would each hold similar names.
search = GridSearchCV(
    ImageFolderClusterer(featurizer=featurizer, random_state=0),
    {"n_clusters": range(2, 11)},
    cv=KFold(3, shuffle=True, random_state=0),
)
search.fit(paths)  # 28 fits, but the network sees every image once
for n_clusters, score in zip(range(2, 11), search.cv_results_["mean_test_score"]):
    print(f"{n_clusters:2d} clusters: modularity {score:.3f}")  # 5 clusters: modularity 0.349

# %% A file with numbers and parameters alone, which predicts on another machine.
search.best_estimator_.save("model.safetensors")
model = ImageFolderClusterer.load("model.safetensors")
print(model.predict(paths[:5]), model.transform(paths[:5]).shape)  # [2 2 2 2 2] (5, 5)
