"""Measures how well clusters match folder names: every recipe over every labelled set.

    python examples/benchmarks/quality.py ROOT [--backbone B] [--weights W] [--preprocess MODE]

ROOT holds one folder a set, each with one folder a class. The first recipe is that of the
original script: raw features, K-Means from one start. `umap` needs the `umap` extra. AMI is
the adjusted mutual information with the folder names; "held out" is that of the 30 % of the
images that the fit has not seen. "with labels" is a classifier trained on the folder names, in
five folds: what the features would allow. Run it once for each network.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, choose_n_clusters, find_images

RECIPES = {
    "original (raw, 1 start)": {"reducer": None, "clusterer": KMeans(n_init=1)},
    "pca": {"reducer": "pca"},
    "auto": {"reducer": "auto"},
    "umap": {"reducer": "umap"},
}
NUMBERS = range(2, 31)


def estimator(recipe, featurizer, n_clusters, seed):
    given = {"clusterer": None, **recipe}
    if given["clusterer"] is not None:
        given["clusterer"] = given["clusterer"].set_params(random_state=seed)
    return ImageFolderClusterer(n_clusters, featurizer=featurizer, random_state=seed, **given)


def scores_of(recipe, featurizer, paths, classes, seeds):
    """Return AMI, held-out AMI and processor seconds of a fit, means over seeds."""
    found = []
    for seed in seeds:
        model = estimator(recipe, featurizer, len(set(classes)), seed)
        start = time.process_time()
        labels = model.fit_predict(paths)
        seconds = time.process_time() - start
        seen, held_out, _, held_classes = train_test_split(
            paths, classes, test_size=0.3, random_state=seed
        )
        held_labels = model.fit(seen).predict(held_out)
        scores = (classes, labels), (held_classes, held_labels)
        found.append([*(adjusted_mutual_info_score(*pair) for pair in scores), seconds])
    return np.mean(found, axis=0)


def ceiling_of(features, classes):
    """Return the AMI of a classifier that is trained on the classes."""
    components = PCA(min(256, len(features) // 2), random_state=0)
    classifier = LogisticRegression(C=0.01, max_iter=500)
    steps = make_pipeline(Normalizer(), StandardScaler(), components, classifier)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return adjusted_mutual_info_score(
        classes, cross_val_predict(steps, features, classes, cv=folds)
    )


def choices_of(featurizer, paths, classes):
    """Return chosen k, its share of the best AMI and |log2(k / true)|, of two ways to choose."""
    model = ImageFolderClusterer(featurizer=featurizer, random_state=0)
    folds = KFold(5, shuffle=True, random_state=0)
    search = GridSearchCV(model, {"n_clusters": NUMBERS}, cv=folds, refit=False)
    chosen = {
        "choose_n_clusters": choose_n_clusters(paths, estimator=model).n_clusters,
        "GridSearchCV": search.fit(np.array(paths)).best_params_["n_clusters"],
    }
    curve = {
        k: adjusted_mutual_info_score(classes, model.set_params(n_clusters=k).fit_predict(paths))
        for k in {*NUMBERS, *chosen.values()}
    }
    best, true = max(curve.values()), len(set(classes))
    return {name: (k, curve[k] / best, abs(np.log2(k / true))) for name, k in chosen.items()}


def new_parser(description, seeds):
    """Return a parser of the sets, the network and the number of seeds."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("root", type=Path)
    parser.add_argument("--seeds", type=int, default=seeds)
    for name, default in [("weights", "imagenet"), ("backbone", "resnet50"), ("layer", None)]:
        parser.add_argument(f"--{name}", default=default)
    parser.add_argument("--preprocess", default="auto")
    parser.add_argument("--cache", default="default")
    return parser


def main():
    parser = new_parser(__doc__.splitlines()[0], seeds=5)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    args = vars(parser.parse_args())
    root, recipes, seeds = args.pop("root"), args.pop("recipes"), range(args.pop("seeds"))
    featurizer = ResNetFeaturizer(**args)
    warnings.simplefilter("ignore")  # UMAP speaks of its threads with every seed
    sets = {f.name: find_images(f) for f in sorted(root.iterdir()) if f.is_dir()}
    table, choices, ceilings = {name: [] for name in recipes}, {}, []
    print(f"{'recipe':26}{'set':14}{'AMI':>8}{'held out':>10}{'seconds':>9}")
    for folder, paths in sets.items():
        classes = [path.parent.name for path in paths]
        # Also fills the cache, so that seconds are those of a recipe.
        ceiling = ceiling_of(featurizer.fit_transform(paths), classes)
        print(f"{'with labels':26}{folder:14}{ceiling:8.3f}")
        ceilings.append(ceiling)
        for name in recipes:
            table[name].append(scores_of(RECIPES[name], featurizer, paths, classes, seeds))
            print_row(name, folder, table[name][-1])
        for way, found in choices_of(featurizer, paths, classes).items():
            choices.setdefault(way, []).append(found)
            print(f"{way:26}{folder:14}{found[0]:5} clusters, {found[1]:.3f} of the best AMI")
    for name, rows in table.items():
        print_row(name, "mean", np.mean(rows, axis=0))
    print(f"{'with labels':26}{'mean':14}{np.mean(ceilings):8.3f}")
    for way, rows in choices.items():
        _, share, error = np.mean(rows, axis=0)
        print(f"{way:26}{'mean':14}{share:8.3f} of the best AMI, |log2(k / true)| {error:.2f}")


def print_row(name, folder, row):
    print(f"{name:26}{folder:14}{row[0]:8.3f}{row[1]:10.3f}{row[2]:9.2f}", flush=True)


if __name__ == "__main__":
    main()
