"""I have a network of my own, or want different steps: what can I replace?

    python examples/3_own_network.py photos/ --weights my_network.keras

Without --weights a small untrained network stands in for yours.
"""

import argparse

from sklearn.cluster import BisectingKMeans
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, find_images
from resnet_kmeans.sample_pictures import draw_pictures

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", nargs="?", help="your photos; without it, pictures are drawn")
parser.add_argument("--weights", help="a whole Keras model, saved as .keras")
args = parser.parse_args()
paths = find_images(args.folder) if args.folder else draw_pictures("pictures")

if args.weights is None:
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(32, 7, strides=2, activation="relu")(inputs)
    x = keras.layers.Conv2D(64, 3, strides=2, activation="relu")(x)
    args.weights = "own_network.keras"
    keras.Model(inputs, x).save(args.weights)

clusterer = ImageFolderClusterer(
    n_clusters=6,
    # Any functional Keras model; `layer` stops at an inner layer, `pooling` makes rows.
    featurizer=ResNetFeaturizer(weights=args.weights, input_shape=(64, 64), preprocess="tf"),
    # Any transformer with fit and transform.
    reducer=make_pipeline(Normalizer(), PCA(0.95)),
    # Any clusterer with fit, predict and n_clusters.
    clusterer=BisectingKMeans(random_state=0),
).fit(paths)
print(clusterer.pipeline_)
print(f"score {clusterer.score(paths):.2f}")
