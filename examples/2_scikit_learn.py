"""I work with scikit-learn: how do I use this in a Pipeline and with GridSearchCV?

    python examples/2_scikit_learn.py photos/

Each cell runs in a notebook too.
"""

# %% Paths are data, like the rows of a table.
import sys

import numpy as np
from sklearn.cluster import KMeans
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import Normalizer

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, find_images

paths = np.array(find_images((sys.argv[1:] or ["photos"])[0]))
featurizer = ResNetFeaturizer(backbone="efficientnet_lite")

# %% A transformer: one row of features per image, (n, 3840) float32.
print(featurizer.fit_transform(paths).shape)  # (64, 3840)

# %% In a Pipeline, in front of whatever takes rows.
pipeline = make_pipeline(featurizer, Normalizer(), KMeans(6, n_init=10, random_state=0))
print(np.bincount(pipeline.fit_predict(paths)))  # [16 16  8  8  8  8]

# %% The whole job as one estimator, and the number of clusters by cross-validation.
# Paths are sorted: folds that are not shuffled would each hold similar names.
search = GridSearchCV(
    ImageFolderClusterer(featurizer=featurizer, random_state=0),
    {"n_clusters": range(2, 11)},
    cv=KFold(3, shuffle=True, random_state=0),
)
search.fit(paths)  # 28 fits, but the network sees every image once
for n_clusters, score in zip(range(2, 11), search.cv_results_["mean_test_score"]):
    print(f"{n_clusters:2d} clusters: score {score:.3f}")  # 9 clusters: score 1.767

# %% Several networks side by side: scikit-learn's own union, in a model that pickle keeps.
padded = ResNetFeaturizer(backbone="efficientnet_lite0", resize="pad")
union = FeatureUnion([("stretched", featurizer), ("padded", padded)])
model = ImageFolderClusterer(6, featurizer=union, random_state=0).fit(paths)
print(np.bincount(model.labels_))  # [16 16  8  8  8  8]

# %% A file with numbers and parameters alone, which predicts on another machine.
search.best_estimator_.save("model.safetensors")
model = ImageFolderClusterer.load("model.safetensors")
print(model.predict(paths[:5]), model.transform(paths[:5]).shape)  # [8 7 7 7 7] (5, 9)
