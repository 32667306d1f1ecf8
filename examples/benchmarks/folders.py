"""Measures what the folders of an export learn from a person, on any labelled sets.

    python examples/benchmarks/folders.py ROOT [--backbone B] [--weights W] [--plot FILE.png]

ROOT holds one folder a set, each with one folder a class. Each set is clustered with the true
number of clusters, and each folder is named after the class of most of its images. Then:

- Looks: a simulated person looks at ten images at a time and puts them right. How many images are
  in the right folder after 0, 50, 100 and 200 looks, in three orders? Random, the lowest
  silhouette first, the greatest doubt first. "Called doubtful" compares the images with a doubt
  above 0.5 with those that are wrong, before the first look.
- New images: 30 % are kept back. How many of them arrive in the right folder, by the centers of
  the first fit and by the folders, after all others were put right? Also with folders merged in
  pairs, and with one image or three in each folder. For folders that nobody touched, the adjusted
  mutual information with the classes is compared.
- Unknown: half of the classes are left out of the folders. How many images of the known classes
  would be set aside, and how many of the others, near (of the same set) and far (of other sets),
  would not be?
"""

from __future__ import annotations

import warnings

import numpy as np
from quality import new_parser
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, silhouette_samples
from sklearn.model_selection import train_test_split

from resnet_kmeans import ClusterDiscriminantAnalysis, ResNetFeaturizer, find_images
from resnet_kmeans.clustering import FolderGaussians, HellingerPCA

SHOWN = (0, 50, 100, 200)
ORDERS = ("random", "silhouette", "doubt")


def fit_clusters(features, n_clusters, seed):
    """Return the fitted steps of the default recipe, and the labels."""
    reducer = ClusterDiscriminantAnalysis(n_clusters, random_state=seed).fit(features)
    kmeans = KMeans(n_clusters, n_init=10, random_state=seed).fit(reducer.transform(features))
    return reducer, kmeans


def named(labels, classes):
    """Return the class of most images of each cluster."""
    return np.array([np.bincount(classes[labels == k]).argmax() for k in range(labels.max() + 1)])


def looks(rows, classes, folders, order, seed, n_looks=200):
    """Return the share of right images before the first look and after each ten."""
    folders, seen = folders.copy(), np.zeros(len(rows), bool)
    random, shares = np.random.default_rng(seed), [np.mean(folders == classes)]
    for _ in range(n_looks // 10):
        own = np.unique(folders, return_inverse=True)[1]
        if order == "random":
            doubt = random.random(len(rows))
        elif order == "silhouette":
            doubt = -silhouette_samples(rows, own)
        else:
            doubt = FolderGaussians().fit(rows, own, is_confirmed=seen).judge(rows, own).doubts
        worst = np.argsort(np.where(seen, np.inf, -doubt), kind="stable")[:10]
        folders[worst], seen[worst] = classes[worst], True
        shares.append(np.mean(folders == classes))
    return shares


def accuracy(rows, folders, new_rows, new_classes, clusters=None):
    """Return the share of new rows that arrive in the right folder."""
    present, own = np.unique(folders, return_inverse=True)
    model = FolderGaussians().fit(rows, own if clusters is None else clusters, own)
    return np.mean(present[model.predict(new_rows)] == new_classes)


def new_images(features, classes, seed):
    """Return a dict of measurements of where new images arrive."""
    old, new = train_test_split(np.arange(len(classes)), test_size=0.3, random_state=seed)
    reducer, kmeans = fit_clusters(features[old], classes.max() + 1, seed)
    projection = HellingerPCA().fit(features[old])
    rows, new_rows = projection.transform(features[old]), projection.transform(features[new])
    names, of_centers = (
        named(kmeans.labels_, classes[old]),
        kmeans.predict(reducer.transform(features[new])),
    )
    pair = np.random.default_rng(seed).permutation(classes.max() + 1) // 2
    untouched = FolderGaussians().fit(rows, kmeans.labels_).predict(new_rows)
    known = classes[old], new_rows, classes[new]
    few = {
        n: np.concatenate([np.flatnonzero(classes[old] == k)[:n] for k in range(len(pair))])
        for n in (1, 3)
    }
    return {
        "by the centers of the fit": np.mean(names[of_centers] == classes[new]),
        "by the folders": accuracy(rows, *known),
        "folders merged in pairs": accuracy(
            rows, pair[classes[old]], new_rows, pair[classes[new]], classes[old]
        ),
        **{
            f"{n} image{'s' * (n > 1)} a folder": accuracy(
                rows[few[n]], classes[old][few[n]], new_rows, classes[new]
            )
            for n in few
        },
        "untouched, AMI by the centers": adjusted_mutual_info_score(classes[new], of_centers),
        "untouched, AMI by the folders": adjusted_mutual_info_score(classes[new], untouched),
    }


def unknown(features, classes, far, seed):
    """Return the shares of known images set aside, and of near and far ones that are not."""
    kinds = np.random.default_rng(seed).permutation(classes.max() + 1)
    is_known = np.isin(classes, kinds[: max(2, len(kinds) // 2)])
    old, new = train_test_split(np.flatnonzero(is_known), test_size=0.3, random_state=seed)
    projection = HellingerPCA().fit(features[old])
    rows, own = projection.transform(features[old]), np.unique(classes[old], return_inverse=True)[1]
    model = FolderGaussians().fit(rows, own)

    def share_aside(images):
        found = projection.transform(images)
        unusual = model.is_unusual(found, model.predict(found), (rows, own))
        return np.mean(unusual | (projection.residuals(images) > projection.residual_limit_))

    return {
        "known, set aside": share_aside(features[new]),
        "unknown and near, not set aside": 1 - share_aside(features[~is_known]),
        "unknown and far, not set aside": 1 - share_aside(far),
    }


def measure(sets, seeds):
    """Return a dict of measurements by name, each a list with a mean over seeds for each set."""
    found: dict[str, list] = {}
    for name, (features, classes) in sets.items():
        far = np.concatenate([other[::7] for key, (other, _) in sets.items() if key != name])
        rows = HellingerPCA().fit(features).transform(features)
        of_set: dict[str, list] = {}
        for seed in seeds:
            _, kmeans = fit_clusters(features, classes.max() + 1, seed)
            folders = named(kmeans.labels_, classes)[kmeans.labels_]
            one = {f"looks, {o}": looks(rows, classes, folders, o, seed) for o in ORDERS}
            own = np.unique(folders, return_inverse=True)[1]
            doubtful = FolderGaussians().fit(rows, own).judge(rows, own).doubts > 0.5
            one["called doubtful, share"] = np.mean(doubtful)
            one["called doubtful, of these wrong"] = np.mean((folders != classes)[doubtful])
            one["wrong, share"] = np.mean(folders != classes)
            one |= new_images(features, classes, seed)
            if classes.max() > 2:
                one |= unknown(features, classes, far, seed)
            for key, value in one.items():
                of_set.setdefault(key, []).append(value)
        for key, values in of_set.items():
            found.setdefault(key, []).append(np.mean(values, axis=0))
        print(f"{name}: {len(classes)} images, {classes.max() + 1} classes", flush=True)
    return found


def draw(found, file):
    """Draw the share of right images against the number of looks."""
    from matplotlib.figure import Figure

    figure = Figure((5, 4), layout="constrained")
    ax = figure.add_subplot()
    for order in ORDERS:
        shares = np.mean(found[f"looks, {order}"], axis=0)
        ax.plot(10 * np.arange(len(shares)), shares, label=order)
    ax.set(xlabel="images looked at", ylabel="share of images in the right folder")
    ax.legend()
    figure.savefig(file)


def main():
    parser = new_parser(__doc__.splitlines()[0], seeds=3)
    parser.add_argument("--plot", metavar="FILE.png")
    args = vars(parser.parse_args())
    root, seeds, plot = args.pop("root"), range(args.pop("seeds")), args.pop("plot")
    featurizer, sets = ResNetFeaturizer(**args), {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        paths = find_images(folder)
        classes = np.unique([path.parent.name for path in paths], return_inverse=True)[1]
        sets[folder.name] = featurizer.fit_transform(paths), classes
    warnings.simplefilter("ignore")  # one image a folder has no spread
    found = measure(sets, seeds)
    for name, values in found.items():
        mean = np.mean(values, axis=0)
        shown = [mean[k // 10] for k in SHOWN] if name.startswith("looks") else [mean]
        print(f"{name:34}" + "".join(f"{value:8.3f}" for value in shown))
    if plot:
        draw(found, plot)


if __name__ == "__main__":
    main()
