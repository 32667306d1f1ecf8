"""Replaces a file as a whole."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new path beside `path`; what is written there replaces `path` if all goes well."""
    # Renaming is atomic: a reader sees the earlier file or the new one. A random name, not the
    # process id, because other threads and machines may write here as well. Keras checks the
    # extension.
    part = path.with_name(f".{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
