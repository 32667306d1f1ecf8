"""Parses the command line: which options each command takes."""

import argparse
from collections.abc import Callable
from typing import Any

import resnet_kmeans
from resnet_kmeans import __version__
from resnet_kmeans.cli import clusters, demo, exports, networks
from resnet_kmeans.export import ACTIONS
from resnet_kmeans.network import BACKBONES

Option = tuple[list[str], dict[str, Any]]


def _option(names: str, help: str, **settings: Any) -> Option:
    return names.split(), {"help": help, **settings}


def _flag(name: str, help: str) -> Option:
    return _option(name, help, action="store_true")


def _path(name: str, help: str, metavar: str = "OUT") -> Option:
    return _option(name, help, metavar=metavar, type=_nonempty)


def _choice(name: str, choices: str, help: str) -> Option:
    """Return an option whose default is the first of its choices."""
    words = choices.split()
    return _option(name, help, choices=words, default=words[0])


def _nonempty(text: str) -> str:
    # An unset shell variable gives "", which would mean the working folder.
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty string")
    return text


def _at_least(least: int, word: str = "", meaning: Any = None) -> Callable[[str], Any]:
    """Return a parser of whole numbers, `least` or more; `word` is parsed as `meaning`."""

    def read(text: str) -> Any:
        if word and text == word:
            return meaning
        if not (text.isascii() and text.isdigit()) or int(text) < least:
            words = f"{least} or more, or {word}" if word else f"{least} or more"
            raise argparse.ArgumentTypeError(f"expected a whole number, {words}, got {text!r}")
        return int(text)

    return read


PHOTOS = _path("input", "folder of images, with subfolders except exports", "IN")
EXPORT = _path("output", "folder of an export")
NEW_FOLDER = _path("output", "new or empty folder")
CLUSTER = _option("cluster", "number or folder of the cluster", metavar="CLUSTER")
ACTION = _choice(
    "--action", " ".join(ACTIONS), "how images are put into the folders (default %(default)s)"
)
DRY_RUN = _flag("--dry-run", "print what would be done, but do nothing")
TRUST = _flag("--trust", "touch the files that an export of somebody else names")
QUIET = _flag("--quiet", "print only results, warnings and errors")
WRITING = [
    NEW_FOLDER,
    _flag("--report", "also write OUT/report.html"),
    _flag("--open", "then open the export in a browser"),
    ACTION,
    _option(
        "--companions",
        "take .mov, .xmp, .aae and .json files of the same name along (default: when moving)",
        action=argparse.BooleanOptionalAction,
    ),
    _flag("--skip-copies", "of images with the same content, export only the first"),
    DRY_RUN,
]
RUNNING = [
    _option("--cache", "folder of the cache, or none", default="default", metavar="FOLDER"),
    _option(
        "--jobs", "processes that run the network; -1 is one per core", type=_at_least(1, "-1", -1)
    ),
    QUIET,
]
MOVED = [  # what a model names may be elsewhere on this machine
    *RUNNING,
    _option("--weights", "path of the weights on this machine", metavar="W"),
    _option("--backbone", "preset that a model of others names", metavar="B"),
]
RECIPE = [
    _choice(
        "--reducer",
        "auto discriminant pca umap none",
        "how features are reduced before K-Means: auto (default: discriminant, or pca for few "
        "images), discriminant (learns directions that separate clusters), pca, umap (slower), "
        "none",
    ),
    _option("--seed", "seed of all random numbers (default 0)", type=_at_least(0), default=0),
    _choice(
        "--unreadable",
        "skip raise",
        "list unreadable images and continue (default), or stop with an error",
    ),
    _option(
        "--weights",
        "imagenet (default), a weights file, a whole network (.keras, .onnx), or none "
        "(untrained, for tests)",
        metavar="W",
    ),
    _option(
        "--backbone",
        f"network: {', '.join(BACKBONES)} (lite extra), or a preset of KerasHub (hub extra): "
        "a name, hf://..., kaggle://... or a folder (default: $RESNET_KMEANS_BACKBONE, else "
        "resnet50)",
        metavar="B",
    ),
    _option("--layer", "name of the Keras layer whose output is used"),
    _choice(
        "--pooling",
        "avg max token none",
        "how feature maps or tokens become features: their mean (avg, the default) or maximum, "
        "the first token, or all of them (none)",
    ),
    _option(
        "--input-shape",
        "pixels that images are resized to, 32 or more (default 224 224)",
        nargs=2,
        type=_at_least(32),
        default=(224, 224),
        metavar=("HEIGHT", "WIDTH"),
    ),
    _choice(
        "--preprocess",
        "auto caffe tf torch none",
        "how pixels are scaled (names as in Keras); auto (default) uses the mode of the backbone; "
        "for a whole network, choose its mode, or none if it scales pixels itself",
    ),
    _choice(
        "--precision",
        "auto float32 bfloat16 int8",
        "auto (default): bfloat16 if supported, else float32; int8: faster, less exact",
    ),
    *RUNNING,
]
COMMANDS: dict[Callable[[argparse.Namespace], None], list[Option]] = {
    clusters.cluster: [
        PHOTOS,
        *WRITING,
        *RECIPE,
        _flag("--names", "name clusters after ImageNet classes if the network is confident"),
        _option("--save-model", "save the fitted model", metavar="FILE"),
        _option(
            "-k --n-clusters",
            "number of clusters (default 5), or auto",
            type=_at_least(1, "auto", "auto"),
        ),
        _choice(
            "--clusterer",
            "kmeans hdbscan",
            "kmeans (default), or hdbscan, which finds the number and puts noise into a folder",
        ),
    ],
    clusters.choose_k: [
        PHOTOS,
        _option(
            "--max", "largest number to try (default: until the score falls)", type=_at_least(2)
        ),
        *RECIPE,
    ],
    clusters.assign: [
        _path("model", "file written by --save-model", "MODEL"),
        _path("input", "folder of new images", "IN"),
        *WRITING,
        *MOVED,
    ],
    exports.open_: [
        EXPORT,
        _option("--port", "port of the page's address", type=_at_least(0), default=0),
        _option("--no-browser", "only print the address", dest="browser", action="store_false"),
    ],
    exports.report: [EXPORT, _flag("--force", "replace an existing report")],
    demo.demo: [NEW_FOLDER, QUIET],
    networks.weights: [
        _option(
            "--fetch", "download the weights of this network with Keras", choices=list(BACKBONES)
        ),
        _option(
            "--import",
            "copy a downloaded weights file to where Keras looks for it",
            dest="import_file",
            metavar="FILE",
        ),
        _option(
            "--from-preset",
            "save a network from KerasHub (hub extra) to a file; a preset is a name, hf://..., "
            "kaggle://... or a folder",
            nargs=2,
            metavar=("PRESET", "FILE.keras"),
        ),
    ],
    networks.cache: [
        _flag("--clear", "delete all features and networks"),
        _option(
            "--cache",
            "folder of the cache (default: $RESNET_KMEANS_CACHE, else the user's cache folder)",
            default="default",
            metavar="FOLDER",
        ),
    ],
    exports.evaluate: [
        EXPORT,
        _option(
            "--classes",
            "image and class in each row (default: the folders that the images came from)",
            metavar="FILE.csv",
        ),
        _option(
            "--plot", "draw how many images of each class are in each cluster", metavar="FILE.png"
        ),
    ],
    exports.log: [EXPORT],
    exports.undo: [EXPORT, _flag("--all", "take back every step"), DRY_RUN, TRUST],
    exports.redo: [EXPORT, DRY_RUN, TRUST],
    exports.finish: [_path("output", "folder of an export that was interrupted"), TRUST],
    exports.apply: [
        EXPORT,
        _option("curation", "curation.json saved by the report", metavar="FILE"),
        DRY_RUN,
    ],
    exports.rename: [
        EXPORT,
        CLUSTER,
        _option("name", "new name; the name of another cluster merges the two", metavar="NAME"),
        DRY_RUN,
    ],
    exports.split: [
        EXPORT,
        CLUSTER,
        _option("-k --n-clusters", "number of parts (default 2)", type=_at_least(2), default=2),
        DRY_RUN,
    ],
    exports.confirm: [
        EXPORT,
        _option("paths", "image or folder in the export, such as cats", nargs="+", metavar="PATH"),
        DRY_RUN,
    ],
    exports.add: [
        EXPORT,
        _path("input", "folder of new images", "NEW"),
        ACTION,
        _flag("--set-aside", "put images that no folder claims into _set_aside"),
        DRY_RUN,
        *MOVED,
    ],
}


def new_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="resnet-kmeans", description=resnet_kmeans.__doc__)
    parser.add_argument("--version", action="version", version=f"resnet-kmeans {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for worker, options in COMMANDS.items():
        name, summary = worker.__name__.rstrip("_").replace("_", "-"), str(worker.__doc__)
        added = subparsers.add_parser(name, help=summary, description=summary)
        added.set_defaults(worker=worker, parser=added)
        added.add_argument("--debug", action="store_true", help="show the traceback of an error")
        for names, settings in options:
            added.add_argument(*names, **settings)
    return parser
