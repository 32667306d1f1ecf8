"""Defines the commands and their options."""

import argparse
from collections.abc import Callable
from typing import Any

import resnet_kmeans
from resnet_kmeans import __version__
from resnet_kmeans.cli import clusters, demo, exports, networks
from resnet_kmeans.cli.options import (
    add_action,
    add_browser_options,
    add_dry_run,
    add_export_options,
    add_path,
    add_quiet,
    add_recipe_options,
    add_run_options,
    at_least,
)
from resnet_kmeans.network import BACKBONES


def new_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; each command sets its `worker`."""
    parser = argparse.ArgumentParser(prog="resnet-kmeans", description=resnet_kmeans.__doc__)
    parser.add_argument("--version", action="version", version=f"resnet-kmeans {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(worker: Any) -> argparse.ArgumentParser:
        # The name and description of a command are the name and docstring of its function.
        name, summary = (
            worker.__name__.rstrip("_").replace("_", "-"),
            worker.__doc__.splitlines()[0],
        )
        added = subparsers.add_parser(name, help=summary, description=summary)
        added.set_defaults(worker=worker, parser=added)
        added.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return added

    _add_clustering(command)
    _add_tools(command)
    _add_evaluation(command)
    _add_corrections(command)
    return parser


def _add_clustering(command: Callable[[Any], argparse.ArgumentParser]) -> None:
    """Add the commands that cluster images."""
    cluster = command(clusters.cluster)
    add_path(cluster, "input", "IN", "folder of images, with subfolders except exports")
    add_export_options(cluster)
    add_recipe_options(cluster)
    cluster.add_argument(
        "--names",
        action="store_true",
        help="name clusters after ImageNet classes if the network is confident",
    )
    cluster.add_argument("--save-model", metavar="FILE", help="save the fitted model")
    cluster.add_argument(
        "-k",
        "--n-clusters",
        type=at_least(1, "auto", "auto"),
        help="number of clusters (default 5), or auto",
    )
    cluster.add_argument(
        "--clusterer",
        choices=["kmeans", "hdbscan"],
        default="kmeans",
        help="kmeans (default), or hdbscan, which finds the number and puts noise into a folder",
    )

    choose_k = command(clusters.choose_k)
    add_path(choose_k, "input", "IN", "folder of images, with subfolders except exports")
    choose_k.add_argument(
        "--max", type=at_least(2), help="largest number to try (default: until the score falls)"
    )
    add_recipe_options(choose_k)
    choose_k.set_defaults(n_clusters="auto", clusterer="kmeans")

    assign = command(clusters.assign)
    add_path(assign, "model", "MODEL", "file written by --save-model")
    add_path(assign, "input", "IN", "folder of new images")
    add_export_options(assign)
    add_run_options(assign, with_weights=True)


def _add_tools(command: Callable[[Any], argparse.ArgumentParser]) -> None:
    """Add the commands for the report, the demo, the weights and the cache."""
    opened = command(exports.open_)
    add_path(opened)
    add_browser_options(opened)

    report = command(exports.report)
    add_path(report)
    report.add_argument("--force", action="store_true", help="replace an existing report")

    show = command(demo.demo)
    add_path(show, help="new or empty folder")
    add_quiet(show)

    weights = command(networks.weights)
    weights.add_argument(
        "--fetch", choices=list(BACKBONES), help="download the weights of this network with Keras"
    )
    weights.add_argument(
        "--import",
        dest="import_file",
        metavar="FILE",
        help="copy a downloaded weights file to where Keras looks for it",
    )
    weights.add_argument(
        "--from-preset",
        nargs=2,
        metavar=("PRESET", "FILE.keras"),
        help="save a network from KerasHub (hub extra) to a file; a preset is a name, hf://..., "
        "kaggle://... or a folder",
    )

    cache = command(networks.cache)
    cache.add_argument("--clear", action="store_true", help="delete all features and networks")
    cache.add_argument(
        "--cache",
        default="default",
        metavar="FOLDER",
        help="folder of the cache (default: $RESNET_KMEANS_CACHE, else the user's cache folder)",
    )


def _add_evaluation(command: Callable[[Any], argparse.ArgumentParser]) -> None:
    """Add the command that compares an export with true classes."""
    evaluate = command(exports.evaluate)
    add_path(evaluate)
    evaluate.add_argument(
        "--classes",
        metavar="FILE.csv",
        help="image and class in each row (default: the folders that the images came from)",
    )
    evaluate.add_argument(
        "--plot", metavar="FILE.png", help="draw how many images of each class are in each cluster"
    )


def _add_corrections(command: Callable[[Any], argparse.ArgumentParser]) -> None:
    """Add the commands that change an export."""
    add_path(command(exports.log))
    undo, redo, finish = command(exports.undo), command(exports.redo), command(exports.finish)
    add_path(undo)
    undo.add_argument("--all", action="store_true", help="take back every step")
    add_path(redo)
    add_path(finish, help="folder of an export that was interrupted")
    for parser in (undo, redo):
        add_dry_run(parser)
    for parser in (undo, redo, finish):
        parser.add_argument(
            "--trust",
            action="store_true",
            help="touch the files that an export of somebody else names",
        )

    apply = command(exports.apply)
    add_path(apply)
    apply.add_argument("curation", metavar="FILE", help="curation.json saved by the report")
    add_dry_run(apply)

    rename = command(exports.rename)
    add_path(rename)
    rename.add_argument("cluster", metavar="CLUSTER", help="number or folder of the cluster")
    rename.add_argument(
        "name", metavar="NAME", help="new name; the name of another cluster merges the two"
    )
    add_dry_run(rename)

    split = command(exports.split)
    add_path(split)
    split.add_argument("cluster", metavar="CLUSTER", help="number or folder of the cluster")
    split.add_argument(
        "-k", "--n-clusters", type=at_least(2), default=2, help="number of parts (default 2)"
    )
    add_dry_run(split)

    confirm = command(exports.confirm)
    add_path(confirm)
    confirm.add_argument(
        "paths", nargs="+", metavar="PATH", help="image or folder in the export, such as cats"
    )
    add_dry_run(confirm)

    add = command(exports.add)
    add_path(add)
    add_path(add, "input", "NEW", "folder of new images")
    add_action(add)
    add.add_argument(
        "--set-aside",
        action="store_true",
        help="put images that no folder claims into _set_aside",
    )
    add_dry_run(add)
    add_run_options(add, with_weights=True)
