"""Finds the images of an export in its folder, even if they were moved by hand."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from resnet_kmeans._files import HIDDEN_PREFIX
from resnet_kmeans._folder_names import REPORT, TABLE
from resnet_kmeans.export.execution import STAGE, planned_moves, stage_path
from resnet_kmeans.export.files import content_of
from resnet_kmeans.export.journal import Journal, Record
from resnet_kmeans.export.plan import SYSTEM_FILES


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
    """Find the images of a journal: by path and content, then by content, then by path."""
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
            places[i] = path  # edited but not moved
            del files[path]
    return Survey(places, [path for path in files if _is_foreign(path)])


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the path and status of each file in a folder, except this package's own files."""
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
    """Yield the paths that each image may have now, even halfway through a plan."""
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
    if known is None:  # it could not be read during the export
        return record.present_path is None
    if (found.st_size, found.st_mtime_ns) == (known.size, known.mtime_ns):
        return True
    return found.st_size == known.size and _digest(folder / path) == known.digest


def _find_by_content(
    folder: Path,
    records: Sequence[Record],
    places: list[str | None],
    files: dict[str, os.stat_result],
) -> None:
    """Set the places of images that are not at any of their expected paths."""
    lost = [i for i, place in enumerate(places) if place is None and records[i].content]
    # Only files with the size of a lost image are read.
    sizes = {content.size for i in lost if (content := records[i].content)}
    contents = {
        path: _target(folder / path) or _digest(folder / path)
        for path, stat in files.items()
        if stat.st_size in sizes or (folder / path).is_symlink()
    }
    # Among identical images, each should keep its own name: search by content and name first,
    # then by content alone.
    for with_name in (True, False):
        found = defaultdict(list)
        for path in reversed([path for path in contents if path in files]):
            found[contents[path], os.path.basename(path) * with_name].append(path)
        for i in [i for i in lost if places[i] is None]:
            name = os.path.basename(records[i].image.exported_path or "")
            if same := found[_identity(records[i]), name * with_name]:
                places[i] = same.pop()
                del files[str(places[i])]


def _identity(record: Record) -> str:
    """Return what distinguishes an image from others: the target of a link, else its digest."""
    content = record.content.digest if record.content else ""
    return record.image.source_path if record.action == "symlink" else content


def _digest(path: Path) -> str:
    content = None if path.is_symlink() else content_of(path)
    return content.digest if content else ""


def _target(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
