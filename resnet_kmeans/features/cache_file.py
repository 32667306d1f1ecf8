"""Opens the SQLite file of the feature cache and creates its tables."""

import logging
import os
import sqlite3
from pathlib import Path

logger = logging.getLogger(__name__)

LOCK_TIMEOUT = 30  # seconds to wait while another process writes
# The id of a network is a hash of its identity. A counter would start again after the cache is
# cleared, while another process may still write rows under an old number.
FORMAT = 3
# Marks the file as ours in its header, since another program may have one of this name.
APPLICATION_ID = int.from_bytes(b"rnkm", "big")
_SCHEMA = f"""
DROP TABLE IF EXISTS networks; DROP TABLE IF EXISTS files; DROP TABLE IF EXISTS features;
CREATE TABLE networks (
    id INTEGER PRIMARY KEY, numbers TEXT, fingerprint TEXT, n_features INTEGER, checksum BLOB);
CREATE TABLE files (path BLOB PRIMARY KEY, state TEXT, digest BLOB) WITHOUT ROWID;
CREATE TABLE features (
    network INTEGER, digest BLOB, used INTEGER, row BLOB, PRIMARY KEY (network, digest));
CREATE INDEX features_used ON features (used);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT}
"""


def connect(file: Path) -> sqlite3.Connection:
    """Open a cache that several processes may read and write.

    Threads may share the connection, but the caller must make sure that they take turns.

    Raises
    ------
    sqlite3.Error, OSError, UnicodeError
        If the file is damaged or locked, or cannot be created.
    """
    address = Path(os.path.abspath(file)).as_uri()
    try:
        return _connect(address)
    except sqlite3.OperationalError as error:
        is_readable = os.access(file, os.R_OK)
        if not is_readable or not str(error).endswith(("readonly database", "open database file")):
            raise
    # SQLite locks a database by files beside it. One in a folder that cannot be written is read
    # as it is; checksums tell if another user is changing it.
    return _connect(f"{address}?immutable=1")


def _connect(address: str) -> sqlite3.Connection:
    database = sqlite3.connect(
        address, uri=True, timeout=LOCK_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    try:
        _require_own(database)
        if "?" in address:
            database.execute("PRAGMA query_only=ON")
        else:
            _choose_journal(database)
        # Damaged text should fail its checksum later, not raise an error here.
        database.text_factory = lambda text: text.decode(errors="replace")
        _create_tables(database)
    except BaseException:
        database.close()
        raise
    return database


def _require_own(database: sqlite3.Connection) -> None:
    """Raise an error if another program made the file."""
    # In this order: another process may create its tables, and mark the file, in between.
    (n_tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (made_by,) = database.execute("PRAGMA application_id").fetchone()
    if made_by != APPLICATION_ID and n_tables:
        raise sqlite3.OperationalError("it is the database of another program")


def _choose_journal(database: sqlite3.Connection) -> None:
    """Use a write-ahead log if possible, so that others can read during a write."""
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
        # The log needs shared memory, which network file systems lack.
        logger.warning(
            "The file system does not support a write-ahead log (%s): each write locks the cache.",
            error,
        )
        database.execute("PRAGMA journal_mode=DELETE")


def _create_tables(database: sqlite3.Connection) -> None:
    def is_ready() -> bool:
        return bool(database.execute("PRAGMA user_version").fetchone() == (FORMAT,))

    if is_ready():
        return
    database.execute("BEGIN IMMEDIATE")
    with database:
        if not is_ready():  # another process may have created them in the meantime
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
