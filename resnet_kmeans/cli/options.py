"""Defines the options that commands share, and converts them to parameters."""

import argparse
from collections.abc import Callable
from typing import Any

from resnet_kmeans.export import ACTIONS
from resnet_kmeans.network import BACKBONES, default_backbone


def add_path(
    parser: argparse.ArgumentParser,
    name: str = "output",
    metavar: str = "OUT",
    help: str = "folder of an export",
) -> None:
    """Add a required path, by default that of an export."""
    parser.add_argument(name, metavar=metavar, type=_nonempty, help=help)


def _nonempty(text: str) -> str:
    # An unset shell variable gives "", which would mean the working folder.
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty string")
    return text


def at_least(least: int, word: str = "", meaning: Any = None) -> Callable[[str], Any]:
    """Return a parser of whole numbers, `least` or more; `word` is parsed as `meaning`."""

    def read(text: str) -> Any:
        if word and text == word:
            return meaning
        if not (text.isascii() and text.isdigit()) or int(text) < least:
            words = f"{least} or more, or {word}" if word else f"{least} or more"
            raise argparse.ArgumentTypeError(f"expected a whole number, {words}, got {text!r}")
        return int(text)

    return read


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the commands that make an export."""
    add_path(parser, help="new or empty folder")
    parser.add_argument("--report", action="store_true", help="also write OUT/report.html")
    parser.add_argument("--open", action="store_true", help="then open the export in a browser")
    add_action(parser)
    parser.add_argument(
        "--companions",
        action=argparse.BooleanOptionalAction,
        help="take .mov, .xmp, .aae and .json files of the same name along (default: when moving)",
    )
    parser.add_argument(
        "--skip-copies",
        action="store_true",
        help="of images with the same content, export only the first",
    )
    add_dry_run(parser)


def add_browser_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--port`` and ``--no-browser``."""
    parser.add_argument("--port", type=at_least(0), default=0, help="port of the page's address")
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="only print the address"
    )


def add_action(parser: argparse.ArgumentParser) -> None:
    """Add ``--action``."""
    parser.add_argument(
        "--action",
        choices=ACTIONS,
        default="copy",
        help="how images are put into the folders (default %(default)s)",
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add ``--dry-run``."""
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be done, but do nothing"
    )


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that determine the labels, except the number of clusters."""
    reducers = ["auto", "discriminant", "pca", "umap", "none"]
    parser.add_argument(
        "--reducer",
        choices=reducers,
        default="auto",
        help="how features are reduced before K-Means: auto (default: discriminant, or pca for "
        "few images), discriminant (learns directions that separate clusters), pca, umap "
        "(slower), none",
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=0, help="seed of all random numbers (default 0)"
    )
    parser.add_argument(
        "--unreadable",
        choices=["skip", "raise"],
        default="skip",
        help="list unreadable images and continue (default), or stop with an error",
    )
    parser.add_argument(
        "--weights",
        default="imagenet",
        metavar="W",
        help="imagenet (default), a weights file, a whole network (.keras, .onnx), or none "
        "(untrained, for tests)",
    )
    parser.add_argument(
        "--backbone",
        default=default_backbone(),
        metavar="B",
        help=f"network: {', '.join(BACKBONES)} (lite extra), or a preset of KerasHub (hub extra): "
        "a name, hf://..., kaggle://... or a folder (default: $RESNET_KMEANS_BACKBONE, else "
        "resnet50)",
    )
    parser.add_argument("--layer", help="name of the Keras layer whose output is used")
    parser.add_argument(
        "--pooling",
        choices=["avg", "max", "token", "none"],
        default="avg",
        help="how feature maps or tokens become features: their mean (avg, the default) or "
        "maximum, the first token, or all of them (none)",
    )
    parser.add_argument(
        "--input-shape",
        nargs=2,
        type=at_least(32),
        default=(224, 224),
        metavar=("HEIGHT", "WIDTH"),
        help="pixels that images are resized to, 32 or more (default 224 224)",
    )
    parser.add_argument(
        "--preprocess",
        choices=["auto", "caffe", "tf", "torch", "none"],
        default="auto",
        help="how pixels are scaled (names as in Keras); auto (default) uses the mode of the "
        "backbone; for a whole network, choose its mode, or none if it scales pixels itself",
    )
    parser.add_argument(
        "--precision",
        choices=["auto", "float32", "bfloat16", "int8"],
        default="auto",
        help="auto (default): bfloat16 if supported, else float32; int8: faster, less exact",
    )
    add_run_options(parser)


def add_run_options(parser: argparse.ArgumentParser, with_weights: bool = False) -> None:
    """Add the options for running a network on this machine, perhaps with its own weights."""
    parser.add_argument(
        "--cache", default="default", metavar="FOLDER", help="folder of the cache, or none"
    )
    parser.add_argument(
        "--jobs",
        type=at_least(1, "-1", -1),
        help="processes that run the network; -1 is one per core",
    )
    add_quiet(parser)
    if with_weights:
        parser.add_argument("--weights", metavar="W", help="path of the weights on this machine")
        parser.add_argument("--backbone", metavar="B", help="preset that a model of others names")


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet``."""
    parser.add_argument(
        "--quiet", action="store_true", help="print only results, warnings and errors"
    )


def cache_of(args: argparse.Namespace) -> str | None:
    """Return the parameter `cache`: None for ``--cache none``."""
    return None if args.cache == "none" else str(args.cache)


def weights_of(args: argparse.Namespace) -> str | None:
    """Return the parameter `weights`: None for ``--weights none``."""
    return None if args.weights == "none" else str(args.weights)


def run_params(args: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters of `ResNetFeaturizer` that depend on this machine."""
    given = {"n_jobs": args.jobs, "cache": cache_of(args), "verbose": int(not args.quiet)}
    # Without --weights and --backbone, those recorded in the model are used.
    given |= {"weights": weights_of(args)} if args.weights else {}
    return {**given, "backbone": args.backbone} if args.backbone else given
