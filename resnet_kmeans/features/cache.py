"""Caches features on disk, keyed by image content and network."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import platformdirs

from resnet_kmeans.exceptions import CacheWarning, printable, warn_caller
from resnet_kmeans.features.cache_file import connect

MAX_BYTES = 2 * 10**9  # room for 240,000 rows of 2048 float32
# Seconds. Rows that were used more recently count as used by this run: a search fits often.
USED_STEP = 60
DECODING = 3  # to be raised whenever a change in `images` changes pixels
# Seconds. A file that changed more recently may change again without a new time stamp.
SETTLED_AFTER = 2

# UnicodeError is included because the message about a damaged file may quote bytes of it.
_FAILURES = (sqlite3.Error, OSError, UnicodeError)


def default_folder() -> Path:
    """Return ``RESNET_KMEANS_CACHE`` if set, else this package's folder in the user cache."""
    if folder := os.environ.get("RESNET_KMEANS_CACHE"):
        return Path(folder).expanduser()
    return platformdirs.user_cache_path("resnet_kmeans", appauthor=False)


def cache_path(folder: str | os.PathLike[str] | None) -> Path | None:
    """Return the path of the cache file in a folder; it may not exist yet."""
    if folder is None:
        return None
    where = default_folder() if folder == "default" else Path(folder).expanduser()
    return where / "features.sqlite3"


class FeatureCache:
    """A cache of features in one SQLite file, which several processes can share.

    The key of a row is a hash of the image content, together with all that its numbers depend
    on: the content of the network's files, its parameters, the arithmetic, and the decoder. So
    an edited file or another network never gets an old row, and a cache may be moved to another
    machine. If the file grows beyond `max_bytes`, the least recently used rows are deleted, but
    none that this run uses: of a folder that is larger than the cache, a part stays. Of images
    that come from memory, the oldest are deleted. If the file cannot be read, the cache warns
    and is disabled; if it cannot be written, it warns and is only read.

    Parameters
    ----------
    folder : path-like, "default" or None
        Folder of the file; None disables the cache.
    max_bytes : int, default=2,000,000,000
        Maximum size in bytes; ``RESNET_KMEANS_CACHE_BYTES`` overrides the default.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None = "default", max_bytes: int | None = None
    ):
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        self.max_bytes = _max_bytes() if max_bytes is None else max_bytes
        self._is_damaged = self._is_read_only = False
        self._begun = int(time.time())
        self.file = cache_path(folder)
        if self.file is not None:
            self._open(self.file)

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _open(self, file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = connect(file)
        except _FAILURES as error:
            self._disable(error)

    def _disable(self, error: Exception) -> None:
        self.__exit__()
        # The base class means a damaged file. Temporary failures, such as a locked database or
        # a full disk, raise subclasses.
        self._is_damaged = type(error) is sqlite3.DatabaseError
        clear = "Clear it with `resnet-kmeans cache --clear`, or choose"
        self._warn(
            f"cannot be used ({error}). The work goes on without it. "
            f"{clear if self._is_damaged else 'Choose'}"
        )

    def _warn(self, problem: str) -> None:
        warn_caller(
            CacheWarning(
                f"The feature cache {printable(self.file)} {problem} another folder with the "
                "parameter `cache` or the environment variable RESNET_KMEANS_CACHE."
            )
        )

    def _query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return (
                    self._database.execute(statement, values).fetchall() if self._database else []
                )
            except _FAILURES as error:
                self._disable(error)
                return []

    def _write(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        with self._lock:
            if self._database is None or self._is_read_only:
                return
            try:
                self._database.execute("BEGIN IMMEDIATE")
                with self._database:  # commits all rows, or none if one fails
                    self._database.executemany(statement, rows)
            except sqlite3.OperationalError as error:  # a full disk, or no right to write
                self._is_read_only = True
                choose = "Free some space, or choose" if "full" in str(error) else "Choose"
                self._warn(
                    f"cannot be written ({error}). The work goes on with what it contains. {choose}"
                )
            except _FAILURES as error:
                self._disable(error)

    def find_network(self, identity: str) -> tuple[int, str, int] | None:
        """Return (key of its rows, fingerprint, n_features) of a known network, else None."""
        query = "SELECT id, numbers, fingerprint, n_features, checksum FROM networks WHERE id = ?"
        for *found, checksum in self._query(query, _hash(identity)):
            if checksum == _checksum(repr(found).encode()):
                _, numbers, fingerprint, n_features = found
                return row_key(fingerprint, numbers), fingerprint, n_features
        return None

    def add_network(
        self, identity: str, numbers: str, fingerprint: str, n_features: int
    ) -> tuple[int, str, int]:
        """Store a network, so that a run without new images does not have to load it.

        `numbers` says what it computes, and how. Returns what `find_network` would.
        """
        row = [_hash(identity), numbers, fingerprint, n_features]
        values = (*row, _checksum(repr(row).encode()))
        self._write("INSERT OR REPLACE INTO networks VALUES (?, ?, ?, ?, ?)", [values])
        return row_key(fingerprint, numbers), fingerprint, n_features

    def find_digest(self, path: str | os.PathLike[str], state: str) -> bytes | None:
        """Return the digest of a file's content if its state has not changed, else None."""
        query = "SELECT digest FROM files WHERE path = ? AND state = ?"
        found = self._query(query, _absolute(path), state)
        return found[0][0] if found else None

    def find_row(self, network: int, digest: bytes) -> np.ndarray | None:
        """Return the features of an image, or None if they are missing or damaged."""
        query = "SELECT row FROM features WHERE network = ? AND digest = ?"
        found = self._query(query, network, digest)
        if not found or not isinstance(found[0][0], bytes):
            return None
        checksum, blob = found[0][0][:4], found[0][0][4:]
        if checksum != _row_checksum(network, digest, blob):
            return None
        return np.frombuffer(blob, dtype="<f4")

    def add_rows(self, network: int, rows: Iterable[tuple[bytes, np.ndarray]]) -> None:
        """Store rows of features, either all or none; none if the cache is full of used ones."""
        now = int(time.time())
        blobs = [(digest, row.astype("<f4").tobytes()) for digest, row in rows]
        values = [(network, d, now, _row_checksum(network, d, blob) + blob) for d, blob in blobs]
        if self.used_bytes() <= self.max_bytes or self._make_room():
            self._write("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?)", values)

    def touch(self, network: int, paths: Iterable[str | os.PathLike[str]]) -> None:
        """Mark the rows of files as used, so that new rows of this run do not replace them."""
        # Before the run, as a run goes through its files in an order: rows that it needs at the
        # end would be replaced at its beginning.
        limit = self._begun - USED_STEP
        if self._query("PRAGMA query_only") != [(0,)]:
            return
        if self._query("SELECT 1 FROM features WHERE used < ? LIMIT 1", limit):
            self._write(
                "UPDATE features SET used = ? WHERE network = ? AND used < ? "
                "AND digest = (SELECT digest FROM files WHERE path = ?)",
                [(self._begun, network, limit, _absolute(path)) for path in paths],
            )

    def add_files(self, files: Iterable[tuple[str, str, bytes]]) -> None:
        """Store (path, state, digest) of files, so that they are not read again."""
        known = [(_absolute(path), state, digest) for path, state, digest in files]
        if known:
            self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", known)

    def _make_room(self) -> bool:
        """Delete the least recently used rows, but none of this run; return whether there were."""
        # A time in the future is that of a clock that was wrong.
        unused = "FROM features WHERE used NOT BETWEEN ? AND ?"
        recent = self._begun - USED_STEP, int(time.time()) + USED_STEP
        if not self._query(f"SELECT 1 {unused} LIMIT 1", *recent):
            return False
        # A tenth at a time, so that a full cache is not trimmed after each batch.
        oldest = f"SELECT rowid {unused} ORDER BY used, rowid LIMIT ?"
        given = *recent, self.n_rows() // 10 + 1
        self._write(f"DELETE FROM features WHERE rowid IN ({oldest})", [given])
        self._write("DELETE FROM files WHERE digest NOT IN (SELECT digest FROM features)", [()])
        return True

    def used_bytes(self) -> int:
        """Return the number of bytes in use, not counting freed pages."""
        sizes = [self._query(f"PRAGMA {p}") for p in ("page_count", "freelist_count", "page_size")]
        pages, free, size = (int(found[0][0]) if found else 0 for found in sizes)
        return (pages - free) * size

    def n_rows(self) -> int:
        """Return the number of rows stored for all networks."""
        found = self._query("SELECT count(*) FROM features")
        return int(found[0][0]) if found else 0

    def clear(self) -> bool:
        """Delete all contents, and return whether that was possible; a damaged file is removed."""
        for table in ("features", "files", "networks"):
            self._write(f"DELETE FROM {table}", [()])
        if self._is_read_only:
            return False
        self._query("VACUUM")
        if self.file is not None and self._is_damaged:
            for ending in ("", "-wal", "-shm"):
                Path(f"{self.file}{ending}").unlink(missing_ok=True)
        return True


def networks_folder(cache: FeatureCache) -> Path | None:
    """Return the folder of compiled networks, next to the cache file."""
    return None if cache.file is None else cache.file.parent / "networks"


def _max_bytes() -> int:
    text = os.environ.get("RESNET_KMEANS_CACHE_BYTES", str(MAX_BYTES))
    if not text.isdecimal():
        raise ValueError(
            f"Expected a whole number of bytes in RESNET_KMEANS_CACHE_BYTES, got {text!r}. "
            "Nothing was done. Correct or unset it."
        )
    return int(text)


def row_key(fingerprint: str, numbers: str) -> int:
    """Return the key of the rows of a network that computes in a certain way."""
    # Of the versions, Pillow's changes pixels (by 1 of 255 in 1% of them, from 12 to 13), and
    # that of the library that runs the network, which is part of `numbers`, changes bfloat16 (a
    # cosine of 0.9995, from OpenVINO 2025.1 to 2025.3).
    return _hash(f"{fingerprint} {numbers} {PIL.__version__} {DECODING}")


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)  # SQLite integers are signed, 64 bits


def _checksum(blob: bytes) -> bytes:
    return zlib.crc32(blob).to_bytes(4, "big")


def _row_checksum(network: int, digest: bytes, blob: bytes) -> bytes:
    # The key is included, because a flipped bit in the index could lead to the row of another
    # image.
    return _checksum(network.to_bytes(8, "big", signed=True) + digest + blob)


def file_state(path: str | os.PathLike[str]) -> tuple[str, bool]:
    """Return a text that changes when a file is edited, and whether it is reliable yet.

    Call this before reading the file, so that an edit in between is noticed.
    """
    stat = os.stat(path)
    settled = time.time() - max(stat.st_mtime, stat.st_ctime) > SETTLED_AFTER
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}", settled


def _absolute(path: str | os.PathLike[str]) -> bytes:
    return os.fsencode(os.path.abspath(path))
