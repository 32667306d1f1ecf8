"""Measures how well clusters match folder names: every recipe over every labelled set.

    python examples/benchmarks/quality.py ROOT [--weights W] [--backbone B] [--preprocess MODE]

ROOT holds one folder a set, each with one folder a class. The first recipe is that of the
original script: raw features, K-Means from one start. `umap` needs the `umap` extra.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import BisectingKMeans, KMeans
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    normalized_mutual_info_score,
)
from sklearn.metrics.cluster import contingency_matrix
from sklearn.preprocessing import Normalizer

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, choose_n_clusters, find_images

RECIPES = {
    "original (raw, 1 start)": {"reducer": None, "clusterer": KMeans(n_init=1)},
    "raw, 10 starts": {"reducer": None},
    "L2, 10 starts": {"reducer": Normalizer()},
    "auto (L2, PCA 64)": {"reducer": "auto"},
    "auto, BisectingKMeans": {"reducer": "auto", "clusterer": BisectingKMeans(n_init=10)},
    "umap": {"reducer": "umap"},
}
SEEDS = range(3)  # a figure is the mean over these


def accuracy(classes, labels):
    """Return the share of images in the right cluster, matched one to one (Hungarian)."""
    counts = contingency_matrix(classes, labels)
    rows, columns = linear_sum_assignment(-counts)
    return counts[rows, columns].sum() / counts.sum()


SCORES = {
    "AMI": adjusted_mutual_info_score,
    "NMI": normalized_mutual_info_score,
    "ARI": adjusted_rand_score,
    "accuracy": accuracy,
}


def labels_of(recipe, featurizer, paths, n_clusters, seed):
    parameters = dict(recipe)
    if "clusterer" in parameters:
        parameters["clusterer"] = parameters["clusterer"].set_params(random_state=seed)
    estimator = ImageFolderClusterer(
        n_clusters, featurizer=featurizer, random_state=seed, **parameters
    )
    return estimator.fit_predict(paths)


def scores_of(recipe, featurizer, paths, classes):
    n_clusters = len(set(classes))
    runs = [labels_of(recipe, featurizer, paths, n_clusters, seed) for seed in SEEDS]
    return [np.mean([score(classes, labels) for labels in runs]) for score in SCORES.values()]


def choice_of(featurizer, paths, classes):
    """Return the chosen k, its AMI as a share of the best k's, and the best k."""
    estimator = ImageFolderClusterer(featurizer=featurizer, random_state=0)
    rows, clusterer = estimator.fit_rows(paths)
    curve = {
        k: adjusted_mutual_info_score(classes, clusterer.set_params(n_clusters=k).fit_predict(rows))
        for k in range(2, 31)
    }
    choice = choose_n_clusters(paths, estimator=estimator)
    best = max(curve, key=curve.get)
    return choice.n_clusters, curve[choice.n_clusters] / curve[best], best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--preprocess", default="auto")
    parser.add_argument("--layer")
    parser.add_argument("--cache", default="default")
    args = parser.parse_args()
    featurizer = ResNetFeaturizer(
        weights=args.weights,
        backbone=args.backbone,
        preprocess=args.preprocess,
        layer=args.layer,
        cache=args.cache,
    )
    warnings.simplefilter("ignore")  # UMAP speaks of its threads with every seed
    sets = {f.name: find_images(f) for f in sorted(args.root.iterdir()) if f.is_dir()}
    table: dict[str, list] = {name: [] for name in RECIPES}
    print(f"{'':26}{'':14}" + "".join(f"{name:>10}" for name in SCORES))
    for folder, paths in sets.items():
        classes = [path.parent.name for path in paths]
        for name, recipe in RECIPES.items():
            table[name].append(scores_of(recipe, featurizer, paths, classes))
            print_row(name, folder, table[name][-1])
    for name, rows in table.items():
        print_row(name, "mean", np.mean(rows, axis=0))
    shares = []
    for folder, paths in sets.items():
        chosen, share, best = choice_of(featurizer, paths, [path.parent.name for path in paths])
        shares.append(share)
        print(f"choose_n_clusters {folder:14} {chosen:3d} (best {best}): {share:.3f} of its AMI")
    print(f"choose_n_clusters mean: {np.mean(shares):.3f}")


def print_row(name, folder, row):
    print(f"{name:26}{folder:14}" + "".join(f"{score:10.3f}" for score in row), flush=True)


if __name__ == "__main__":
    main()
