"""The command line: a parser around one worker for each command."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import resnet_kmeans
from resnet_kmeans import __version__
from resnet_kmeans.cli import clusters, corrections, demo, exports, networks, pages
from resnet_kmeans.cli.exports import LISTED
from resnet_kmeans.cli.streams import log_to_stderr, own_stderr
from resnet_kmeans.exceptions import ResNetKMeansError, UnreadableImagesWarning
from resnet_kmeans.export import ACTIONS
from resnet_kmeans.network import BACKBONES

BROKEN_PIPE = 128 + 13  # what a shell reports of a program that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 after one error message, or 141 where a pipe was closed."""
    # Start-up lines of the libraries would bury what is for the user. Keras imports matplotlib,
    # which logs each deprecation of its own dependencies.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for library in ("tensorflow", "matplotlib"):
        logging.getLogger(library).setLevel(logging.ERROR)
    if isinstance(sys.stdout, io.TextIOWrapper):  # not every terminal knows every emoji
        sys.stdout.reconfigure(errors="backslashreplace")
    args = _parser().parse_args(argv)
    with own_stderr(), log_to_stderr(getattr(args, "quiet", False)):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # Its table is printed whole, once the command is done.
        warnings.simplefilter("ignore", UnreadableImagesWarning)
        warnings.showwarning = _new_showwarning()
        try:
            args.worker(args)
            sys.stdout.flush()  # at exit it would be too late to tell of an error
        except BrokenPipeError:  # `| head -1` has read enough
            _drop_output()
            return BROKEN_PIPE
        except (ResNetKMeansError, ImportError, OSError, ValueError) as error:
            print(f"resnet-kmeans: error: {_message(error)}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print(f"resnet-kmeans: {exports.after_interrupt(args)}", file=sys.stderr)
            return 130
    return 0


def _new_showwarning() -> Callable[..., None]:
    """Return what prints warnings, each once in a run."""
    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        is_for_user = category.__module__.startswith("resnet_kmeans")
        # pyparsing's deprecations are UserWarnings too, but for developers.
        is_for_developers = issubclass(category, DeprecationWarning)
        is_for_user |= issubclass(category, UserWarning) and not is_for_developers
        if is_for_user and str(message) not in shown:
            shown.add(str(message))
            print(f"resnet-kmeans: warning: {message}", file=sys.stderr)

    return show


def _message(error: Exception) -> str:
    if not isinstance(error, OSError) or isinstance(error, ResNetKMeansError):
        return _shortened(str(error))
    if error.filename is not None:
        return f"{error}. Check the path."
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    return (
        f"Expected to print results or to write a file, got: {error.strerror or error}. What was "
        "written before is whole. Make room, or choose another place."
    )


def _shortened(message: str) -> str:
    """Leave out of a message what goes beyond its first listed files."""
    lines = message.split("\n")
    listed = [i for i, line in enumerate(lines) if line.startswith("  ")]
    if rest := listed[LISTED:]:
        lines[rest[0] : rest[-1] + 1] = [f"  and {len(rest)} more"]
    return "\n".join(lines)


def _drop_output() -> None:
    """Keep Python from writing at exit what could not be written before."""
    with contextlib.suppress(OSError):  # a stream without a file, as in tests
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="resnet-kmeans", description=resnet_kmeans.__doc__)
    parser.add_argument("--version", action="version", version=f"resnet-kmeans {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(worker: Any) -> argparse.ArgumentParser:
        name, summary = worker.__name__.replace("_", "-"), worker.__doc__.splitlines()[0]
        added = subparsers.add_parser(name, help=summary, description=summary)
        added.set_defaults(worker=worker)
        return added

    cluster = command(clusters.cluster)
    cluster.add_argument("input", metavar="IN", help="folder of images, with its subfolders")
    _add_export_options(cluster)
    _add_recipe_options(cluster)
    cluster.add_argument(
        "--names",
        action="store_true",
        help="name folders by what the network sees in them, where it is sure",
    )
    cluster.add_argument("--save-model", metavar="FILE", help="keep the fitted model")
    cluster.add_argument(
        "-k",
        "--n-clusters",
        type=_at_least(1, "auto", "auto"),
        default=5,
        help="a number (default 5) or auto",
    )

    choose_k = command(clusters.choose_k)
    choose_k.add_argument("input", metavar="IN", help="folder of images, with its subfolders")
    choose_k.add_argument(
        "--max", type=_at_least(2), default=30, help="highest number (default 30)"
    )
    _add_recipe_options(choose_k)
    choose_k.set_defaults(n_clusters="auto")

    assign = command(clusters.assign)
    assign.add_argument("model", metavar="MODEL", help="file that --save-model wrote")
    assign.add_argument("input", metavar="IN", help="folder of new images")
    _add_export_options(assign)
    _add_run_options(assign)
    assign.add_argument("--weights", metavar="W", help="where the weights are on this machine")

    report = command(pages.report)
    report.add_argument("output", metavar="OUT", help="folder of an export")
    report.add_argument("--force", action="store_true", help="replace the report that is there")
    _add_run_options(report)
    report.add_argument("--weights", metavar="W", help="where the weights are on this machine")

    show = command(demo.demo)
    show.add_argument("output", metavar="OUT", help="new or empty folder")
    show.add_argument("--quiet", action="store_true", help="no progress bar")

    weights = command(networks.weights)
    weights.add_argument("--fetch", choices=list(BACKBONES), help="let Keras download them")
    weights.add_argument("--import", dest="import_file", metavar="FILE", help="copy a file there")
    weights.add_argument(
        "--from-preset",
        nargs=2,
        metavar=("PRESET", "FILE.keras"),
        help="write a network of KerasHub (hub extra) to one file: a preset's name, hf://..., "
        "kaggle://... or a folder",
    )

    cache = command(networks.cache)
    cache.add_argument("--clear", action="store_true", help="forget all features and networks")
    cache.add_argument("--cache", default="default", metavar="FOLDER")

    undo = command(exports.undo)
    undo.add_argument("output", metavar="OUT", help="folder of an export with --action move")

    finish = command(exports.finish)
    finish.add_argument("output", metavar="OUT", help="folder where a command was interrupted")

    apply = command(corrections.apply)
    apply.add_argument("output", metavar="OUT", help="folder of an export")
    apply.add_argument("curation", metavar="FILE", help="curation.json that the report saved")
    _add_dry_run(apply)

    rename = command(corrections.rename)
    rename.add_argument("output", metavar="OUT", help="folder of an export")
    rename.add_argument("cluster", metavar="CLUSTER", help="its number, or its folder")
    rename.add_argument("name", metavar="NAME", help="that of another folder merges the two")
    _add_dry_run(rename)

    split = command(corrections.split)
    split.add_argument("output", metavar="OUT", help="folder of an export")
    split.add_argument("cluster", metavar="CLUSTER", help="its number, or its folder")
    split.add_argument(
        "-k", "--n-clusters", type=_at_least(2), default=2, help="number of parts (default 2)"
    )
    _add_dry_run(split)
    _add_run_options(split)
    split.add_argument("--weights", metavar="W", help="where the weights are on this machine")

    add = command(corrections.add)
    add.add_argument("output", metavar="OUT", help="folder of an export")
    add.add_argument("input", metavar="MORE", help="folder of new images")
    add.add_argument("--action", choices=ACTIONS, default="copy", help="default %(default)s")
    add.add_argument(
        "--set-aside", action="store_true", help="put images that fit badly into _set_aside"
    )
    _add_dry_run(add)
    _add_run_options(add)
    add.add_argument("--weights", metavar="W", help="where the weights are on this machine")
    return parser


def _at_least(least: int, word: str = "", meaning: Any = None) -> Callable[[str], Any]:
    """Return what reads a whole number, or `word` for `meaning`."""

    def read(text: str) -> Any:
        if word and text == word:
            return meaning
        if not text.isdigit() or int(text) < least:
            words = f"{least} on, or {word}" if word else f"{least} on"
            raise argparse.ArgumentTypeError(f"expected a whole number from {words}, got {text!r}")
        return int(text)

    return read


def _add_export_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="OUT", help="new or empty folder")
    parser.add_argument("--report", action="store_true", help="write OUT/report.html too")
    parser.add_argument("--action", choices=ACTIONS, default="copy", help="default %(default)s")
    _add_dry_run(parser)


def _add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")


def _add_recipe_options(parser: argparse.ArgumentParser) -> None:
    reducers = ["auto", "discriminant", "pca", "umap", "none"]
    parser.add_argument(
        "--reducer",
        choices=reducers,
        default="auto",
        help="what shortens features before K-Means: auto (default: discriminant, or pca for few "
        "images), discriminant (learns what tells clusters apart), pca, umap (slower), none",
    )
    parser.add_argument(
        "--seed", type=_at_least(0), default=0, help="of all that is random (default 0)"
    )
    parser.add_argument(
        "--unreadable",
        choices=["skip", "raise"],
        default="skip",
        help="name images that cannot be read and go on (default), or stop",
    )
    parser.add_argument(
        "--weights",
        default="imagenet",
        metavar="W",
        help="imagenet (default), a weights file, a .keras file, or none (untrained, for tests)",
    )
    parser.add_argument(
        "--backbone",
        choices=list(BACKBONES),
        default="resnet50",
        help="default %(default)s; efficientnet_lite0 comes through pip (lite extra)",
    )
    parser.add_argument("--layer", help="name of an inner Keras layer to stop at")
    parser.add_argument(
        "--preprocess",
        choices=["auto", "caffe", "tf", "torch", "none"],
        default="auto",
        help="how pixels are scaled, as Keras names it: auto (default) is what the backbone was "
        "trained with; a .keras file needs one of the others, none if it scales them itself",
    )
    parser.add_argument(
        "--precision",
        choices=["auto", "float32", "bfloat16", "int8"],
        default="auto",
        help="auto (default): bfloat16 where the processor has it; int8: faster and coarser",
    )
    _add_run_options(parser)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", default="default", metavar="FOLDER", help="or none")
    parser.add_argument(
        "--jobs", type=_at_least(1, "-1", -1), help="processes that run the network; -1 is all"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
