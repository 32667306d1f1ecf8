"""What a user sees of an export: its files, its table, and whether a command is unfinished."""

import csv
import os
from pathlib import Path

from PIL import Image

from resnet_kmeans import apply_curation
from resnet_kmeans.exceptions import OutputFolderError

MTIME_NS = 1_500_000_000_123_456_789
NAMES = ("a.png", "b.png", "sub/a.png", "c.png")


def make_images(folder: Path, names=NAMES) -> list[Path]:
    """Write images of different content, one a file name."""
    paths = [folder / name for name in names]
    for shade, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), shade).save(path, "PNG")
        os.utime(path, ns=(MTIME_NS, MTIME_NS))
    return paths


def draw(folder: Path, shades, prefix="") -> list[Path]:
    """Draw pictures, each called by its shade."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{prefix}{shade}.png" for shade in shades]
    for path, shade in zip(paths, shades):
        paint(path, shade)
    return paths


def paint(path: Path, shade: int) -> None:
    """Paint a small picture, from blue green (0) to reddish (255)."""
    Image.new("RGB", (3, 3), (shade, 128, 128)).save(path)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder with its bytes, but for the lock, which Windows removes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    found = (path for path in files if path.name != ".resnet-kmeans.lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def is_hidden(path: str) -> bool:
    """Return whether a path is of one of our own hidden files, about which nothing else is said."""
    return path.startswith(".")


def visible(folder: Path) -> dict[str, bytes]:
    """Return every file of an export with its bytes, apart from our own hidden ones."""
    return {path: data for path, data in contents(folder).items() if not is_hidden(path)}


def images_in(folder: Path) -> dict[str, bytes]:
    """Return every file in the folders of an export with its bytes."""
    return {path: data for path, data in visible(folder).items() if "/" in path}


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Return the rows of ``clusters.csv``."""
    with open(folder / "clusters.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def present_rows(folder: Path):
    """Return the images of a finished export as they are in its folder now."""
    return apply_curation(folder, {}, dry_run=True)


def state_of(folder: Path) -> str:
    """Return "none", "unfinished" or "finished", as a command on the folder sees it."""
    try:
        present_rows(folder)
    except OutputFolderError as error:
        return "unfinished" if "resnet-kmeans finish" in str(error) else "none"
    return "finished"
