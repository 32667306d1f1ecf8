"""Finds the files of an export in its folder, even if they were moved by hand."""

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any
from unicodedata import normalize

from resnet_kmeans._files import HIDDEN_PREFIX
from resnet_kmeans._folder_names import REPORT, SYSTEM_FILES, TABLE, name_key
from resnet_kmeans.export.files import Identity, contents_of, identity
from resnet_kmeans.export.journal import Journal

STAGE = f"{HIDDEN_PREFIX}moving"  # where files wait until their new path is free


@dataclass
class Survey:
    """The files in the folder of an export.

    Attributes
    ----------
    places : list of (str or None)
        The present path of each file of the journal; None if it is not in the folder.
    edited : set of int
        The numbers of files that are at their place with another content.
    others : dict of str to tuple
        The `identity` of files that are not in the journal, by path; some may be on the way.
    folders : list of str
        Paths of all folders.
    added : list of str
        Those of them that a person put there, without links, which are not followed.
    known : dict of int to tuple
        The `identity` of each file that has the content of the journal.
    """

    places: list[str | None]
    edited: set[int] = field(default_factory=set)
    others: dict[str, Identity] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    known: dict[int, Identity] = field(default_factory=dict)

    @property
    def occupied(self) -> list[str]:
        """The paths that files of the journal cannot have."""
        return [*self.others, *self.folders]

    def as_listed(self, folders: list[str]) -> list[str]:
        """Return folders as they are spelled here."""
        # Where "cats" and "Cats" are one folder, a person may have changed the one to the other.
        spelled = {name_key(path): path for path in self.folders} | {p: p for p in self.folders}
        return [spelled.get(f, spelled.get(name_key(f), f)) for f in folders]


def survey(folder: Path, journal: Journal, *, read: bool = False, trust: bool = False) -> Survey:
    """Find the files of a journal: by inode, size and time, by path and content, by content.

    Parameters
    ----------
    folder : Path
    journal : Journal
        If its last step is unfinished, files may be where they were before it, or on the way.
    read : bool, default=False
        If True, every file is read: a file may leave the folder only if its content is known.
    trust : bool, default=False
        If True, the links of a stranger are part of the export too.
    """
    return _Search(folder, journal, trust).run(read)


class _Search:
    def __init__(self, folder: Path, journal: Journal, trust: bool):
        self.folder, self.journal = folder, journal
        self.found = Survey([None] * len(journal.files))
        # A link is recognized by where it leads, which a stranger may have chosen.
        self.brought = set() if trust else journal.brought_by_strangers
        strange = {i for i in self.brought if journal.files[i].action == "symlink"}
        expected = {i: self.expected(i) for i in range(len(journal.files)) if i not in strange}
        self.paths = {i: paths for i, paths in expected.items() if paths}
        known = [*chain.from_iterable(self.paths.values()), *journal.folders]
        names = {name for path in known if not path.isascii() for name in path.split("/")}
        spelled = {normalize("NFC", name): name for name in names}
        self.files = dict(_files(os.path.join(folder, ""), "", self.found.folders, spelled))
        self.identities = {path: identity(status) for path, status in self.files.items()}

    def run(self, read: bool) -> Survey:
        if STAGE in self.found.folders:
            for i in self.paths:
                self.take(i, [f"{STAGE}/{i}"], is_known=False)
        self.find_links()
        if not read:
            self.find_unchanged()
        self.find_by_content()
        self.find_edited()
        self.found.others = {path: self.identities[path] for path in self.files}
        self.found.added = [
            path
            for path in self.found.others
            if not path.startswith(f"{STAGE}/")
            and not (name := os.path.basename(path).lower()).startswith(".")
            and name not in SYSTEM_FILES
            and stat.S_ISREG(self.files[path].st_mode)
        ]
        return self.found

    @property
    def left(self) -> list[int]:
        return [i for i in self.paths if self.found.places[i] is None]

    def expected(self, i: int) -> list[str]:
        """Return the paths that a file should have now, or had before an unfinished step."""
        rows = [self.journal.rows[i]]
        rows += [] if self.journal.is_finished else [self.journal.earlier.get(i)]
        return [row.path for row in rows if row and row.path]

    def take(self, i: int, paths: Iterable[str], is_known: bool = True) -> None:
        """Set the place of a file to the first of its paths that no other has."""
        for path in paths:
            if self.files.pop(path, None):
                self.found.places[i] = path
                if is_known:
                    self.found.known[i] = self.identities[path]
                return

    def find_links(self) -> None:
        links = [i for i in self.left if self.journal.files[i].action == "symlink"]
        targets = {path: _target(self.folder / path) for path in self.files} if links else {}
        self.match(links, {p: t for p, t in targets.items() if t}, self.source)

    def source(self, i: int) -> str:
        return self.journal.files[i].source

    def find_unchanged(self) -> None:
        known = self.journal.known
        self.match([i for i in self.left if i in known], self.identities, known.__getitem__)

    def find_by_content(self) -> None:
        """Read the files that have the size of one that is not found yet."""
        contents = {
            i: content
            for i in self.left
            if (content := self.journal.files[i].content)
            and self.journal.files[i].action != "symlink"
        }
        sizes = {content.size for content in contents.values()}
        same = [p for p, s in self.files.items() if s.st_size in sizes and stat.S_ISREG(s.st_mode)]
        read = dict(zip(same, contents_of([self.folder / path for path in same])))
        self.match(list(contents), {p: c for p, c in read.items() if c}, lambda i: contents[i])

    def match(
        self, wanted: list[int], values: Mapping[str, Any], value_of: Callable[[int], Any]
    ) -> None:
        """Take files with an equal value: at an own path, then of an own name, then any."""
        # Among files of equal value, each should keep its own path, or at least its name.
        for i in wanted:
            value = value_of(i)
            self.take(i, [p for p in self.paths[i] if values.get(p) == value])
        # What is at its source is not here as well, except at its own path: that of a copy that
        # was interrupted.
        left = [i for i in wanted if self.found.places[i] is None and not self.may_be_elsewhere(i)]
        for with_name in (True, False) if left else ():
            free = defaultdict(list)
            for path in reversed([path for path in values if path in self.files]):
                free[values[path], os.path.basename(path) * with_name].append(path)
            for i in [i for i in left if self.found.places[i] is None]:
                names = {os.path.basename(path) * with_name for path in self.paths[i]}
                same = [free[value_of(i), name] for name in sorted(names)]
                if found := next(filter(None, same), None):
                    self.take(i, [found.pop()])

    def find_edited(self) -> None:
        """Take what is at the path of a file with another content, but no link in its place."""
        regular = {p for p, s in self.files.items() if stat.S_ISREG(s.st_mode)}
        left = [i for i in self.left if not self.may_be_elsewhere(i)]
        for i in left:
            self.take(i, [p for p in self.paths[i] if p in regular], is_known=False)
        placed = [i for i in left if self.found.places[i] is not None]
        # What could not be read when it was exported cannot be compared.
        self.found.edited |= {i for i in placed if self.journal.files[i].content is not None}

    def may_be_elsewhere(self, i: int) -> bool:
        """Return whether an unfinished step left a file at its source, or returned it there."""
        is_under_way = not self.journal.is_finished and i in self.journal.earlier
        # On Windows, to look at a path on a stranger's server would be to log in there.
        is_moved = self.journal.files[i].action == "move" and i not in self.brought
        return is_under_way and is_moved and os.path.lexists(self.source(i))


def _files(
    folder: str, prefix: str, folders: list[str], spelled: Mapping[str, str]
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the path and status of each file except hidden records; append to `folders`.

    Names are spelled as in `spelled`, by their NFC, if the file system knows them by that too.
    """
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    names = {entry.name for entry in entries}
    for entry in entries:
        # HFS+ lists an "é" as "e" with an accent, whatever the file was called.
        name = spelled.get(normalize("NFC", entry.name), entry.name)
        if name in names or not os.path.lexists(os.path.join(folder, name)):
            name = entry.name
        path = prefix + name
        is_record = name.startswith(HIDDEN_PREFIX) or name in (TABLE, REPORT)
        if is_record and not prefix and name != STAGE:
            continue
        is_junction = getattr(entry, "is_junction", bool)()  # a link of Windows, not followed
        if entry.is_symlink() or is_junction:
            yield path, os.lstat(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            folders.append(path)
            yield from _files(entry.path, f"{path}/", folders, spelled)
        elif entry.is_file(follow_symlinks=False):
            yield path, os.lstat(entry.path)  # on Windows, `entry.stat` knows no inode


def _target(path: Path) -> str | None:
    try:
        target = os.readlink(path)
    except OSError:
        return None
    # As Windows writes C:\a.jpg and \\server\a.jpg there.
    return target.replace("\\\\?\\UNC\\", "\\\\", 1).removeprefix("\\\\?\\")
