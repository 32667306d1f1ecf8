"""Opens the SQLite file of the feature cache, its tables made."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

logger = logging.getLogger(__name__)

LOCK_TIMEOUT = 30  # seconds to wait for another process' write
# A network's id is a hash of what it is, never a number that is given again after a clear:
# another process may still write under it.
FORMAT = 2
_SCHEMA = f"""
DROP TABLE IF EXISTS networks; DROP TABLE IF EXISTS files; DROP TABLE IF EXISTS features;
CREATE TABLE networks (
    id INTEGER PRIMARY KEY, fingerprint TEXT, n_features INTEGER, checksum BLOB);
CREATE TABLE files (path BLOB PRIMARY KEY, state TEXT, digest BLOB) WITHOUT ROWID;
CREATE TABLE features (
    network INTEGER, digest BLOB, used INTEGER, row BLOB, PRIMARY KEY (network, digest));
CREATE INDEX features_used ON features (used);
PRAGMA user_version = {FORMAT}
"""


def connect(file: Path) -> sqlite3.Connection:
    """Return an open cache, ready to be read and written by several processes.

    Threads have to be kept apart by the caller.

    Raises
    ------
    sqlite3.Error, OSError, UnicodeError
        If the file is damaged, locked, read-only or cannot be made.
    """
    database = sqlite3.connect(
        file, timeout=LOCK_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    try:
        _choose_journal(database)
        # A damaged text is no error, it only fails its checksum.
        database.text_factory = lambda text: text.decode(errors="replace")
        _create_tables(database)
    except BaseException:
        database.close()
        raise
    return database


def _choose_journal(database: sqlite3.Connection) -> None:
    """Write ahead, so that others read meanwhile, where the file system can."""
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
        # A network file system has no shared memory; every write then locks the file.
        logger.warning("No write-ahead log on this file system (%s); writes lock it.", error)
        database.execute("PRAGMA journal_mode=DELETE")


def _create_tables(database: sqlite3.Connection) -> None:
    def is_ready() -> bool:
        return bool(database.execute("PRAGMA user_version").fetchone() == (FORMAT,))

    if is_ready():
        return
    database.execute("BEGIN IMMEDIATE")
    with database:
        if not is_ready():  # another process may have made them meanwhile
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
