"""Finds the images of an export in its folder, also if they were moved by hand."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from resnet_kmeans._folder_names import REPORT, TABLE
from resnet_kmeans.export.execution import STAGE, planned_moves, stage_path
from resnet_kmeans.export.files import content_of, same_content
from resnet_kmeans.export.journal import Journal, Record
from resnet_kmeans.export.plan import HIDDEN_PREFIX

SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # written by the file manager of Windows


class Survey(NamedTuple):
    """The files in the folder of an export.

    Attributes
    ----------
    places : list of str or None
        Present path of each image of the journal, or None if it is not found.
    others : list of str
        Paths of files that are not in the journal.
    """

    places: list[str | None]
    others: list[str]


def survey(folder: Path, journal: Journal) -> Survey:
    """Find the images of a journal: by path and content, then by content alone, then by path."""
    files = dict(_files(folder))
    places: list[str | None] = [None] * len(journal.records)
    for i, paths in enumerate(_expected_paths(journal)):
        places[i] = next((p for p in paths if _matches(folder, p, files, journal.records[i])), None)
        if places[i] is not None:
            del files[places[i]]  # type: ignore[arg-type]
    _find_by_content(folder, journal.records, places, files)
    for i, record in enumerate(journal.records):
        path = record.image.exported_path
        if places[i] is None and path in files and record.present_path != "":
            places[i] = path  # edited, but not moved
            del files[path]
    return Survey(places, [path for path in files if _is_foreign(path)])


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the path and status of each file in a folder, except our own files."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        at_root = Path(root) == folder
        for name in sorted(names):
            if at_root and (name.startswith(HIDDEN_PREFIX) or name in (TABLE, REPORT)):
                continue
            path = Path(root, name)
            yield path.relative_to(folder).as_posix(), path.lstat()


def _is_foreign(path: str) -> bool:
    """Return whether a file that is not in the journal is worth telling the user about."""
    name = os.path.basename(path)
    return not (name.startswith(".") or name.lower() in SYSTEM_FILES or path.startswith(STAGE))


def _expected_paths(journal: Journal) -> Iterator[list[str]]:
    """Yield the paths that each image may have now, also while a plan is carried out."""
    number = {before: i for i, (before, _) in enumerate(planned_moves(journal))}
    for record in journal.records:
        paths = [record.image.exported_path, record.present_path]
        if record.present_path:
            paths.append(stage_path(record.present_path, number[record.present_path]))
        yield [path for path in paths if path]


def _matches(folder: Path, path: str, files: dict[str, os.stat_result], record: Record) -> bool:
    if path not in files:
        return False
    if record.action == "symlink":
        return _target(folder / path) == record.image.source_path
    known, found = record.content, files[path]
    if known is None:  # a journal of format 1, which can only compare with the source
        source = record.image.source_path
        is_placed = record.present_path is None or not os.path.lexists(source)
        return is_placed or same_content(source, folder / path)
    if (found.st_size, found.st_mtime_ns) == (known.size, known.mtime_ns):
        return True
    return found.st_size == known.size and _digest(folder / path) == known.digest


def _find_by_content(
    folder: Path,
    records: Sequence[Record],
    places: list[str | None],
    files: dict[str, os.stat_result],
) -> None:
    """Set the places of images that are at none of their expected paths."""
    lost = [i for i, place in enumerate(places) if place is None and records[i].content]
    links = {_target(folder / path): path for path in files if (folder / path).is_symlink()}
    # Only files of a size that is looked for are read.
    sizes = {content.size for i in lost if (content := records[i].content)}
    found = defaultdict(list)
    for path in [path for path, stat in files.items() if stat.st_size in sizes]:
        found[_digest(folder / path)].append(path)
    for i in lost:
        image, content = records[i].image, records[i].content
        if records[i].action == "symlink":
            same = [links.pop(image.source_path)] if image.source_path in links else []
        else:
            same = found.get(content.digest, []) if content else []
        if same:
            places[i] = _take(same, os.path.basename(image.exported_path or ""))
            files.pop(places[i] or "")


def _take(paths: list[str], name: str) -> str:
    """Remove and return the path with this file name, or else the first one."""
    # Of several equal images, each should keep its own name.
    chosen = next((path for path in paths if os.path.basename(path) == name), paths[0])
    paths.remove(chosen)
    return chosen


def _digest(path: Path) -> str:
    content = None if path.is_symlink() else content_of(path)
    return content.digest if content else ""


def _target(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
