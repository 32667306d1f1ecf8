"""Keeps compiled networks in a folder, a handful of them."""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from resnet_kmeans.exceptions import WeightsFileError, printable
from resnet_kmeans.network.compiled_file import DAMAGES, CompiledFile
from resnet_kmeans.network.weights import COMPILED_ENDING, NetworkSpec

logger = logging.getLogger(__name__)

MAX_FILES = 6  # of 95 MB each for ResNet50; the least recently used go first
LEFT_AFTER = 3600  # seconds until a file that was never finished counts as left by a kill


def find_compiled(spec: NetworkSpec, folder: Path | None) -> tuple[Path, CompiledFile] | None:
    """Return the file of a compiled network and its content, None where it has to be made.

    Parameters
    ----------
    spec : NetworkSpec
    folder : Path or None
        Where compiled networks are kept, beside a folder that goes when the process ends.

    Raises
    ------
    WeightsFileError
        If `spec.weights` is itself a compiled network that cannot be read.
    """
    if spec.is_compiled:
        try:
            return spec.file, CompiledFile.read(spec.file)
        except (OSError, *DAMAGES) as error:
            raise WeightsFileError(spec.file, "a compiled network", str(error)) from error
    for file in _places(spec, folder):
        if (found := _read(file)) is not None:
            return file, found
    return None


def keep_compiled(compiled: CompiledFile, spec: NetworkSpec, folder: Path | None) -> None:
    """Write a compiled network where `find_compiled` looks, the least recently used ones go."""
    for file in _places(spec, folder):
        try:
            compiled.write(file)
            return _make_room(file.parent)
        except OSError as error:
            logger.warning("%s cannot be written (%s).", printable(file), error)


def compiled_files(folder: Path) -> list[Path]:
    """Return the compiled networks in a folder, the most recently used ones first."""
    return sorted(folder.glob(f"*{COMPILED_ENDING}"), key=_used, reverse=True)


def _places(spec: NetworkSpec, folder: Path | None) -> Iterator[Path]:
    # bfloat16 and float32 share a file: the type is chosen where the network is run.
    precision = "int8" if spec.precision == "int8" else "float32"
    same = replace(spec, precision=precision, batch_size="auto", resize="stretch")
    identity = same.identity().encode(errors="surrogateescape")
    key = hashlib.blake2b(identity, digest_size=8).hexdigest()
    name = f"{spec.file.stem if spec.is_whole_model else spec.backbone}-{key}{COMPILED_ENDING}"
    if folder is not None:
        yield folder / name
    yield _passing_folder() / name


def _read(file: Path) -> CompiledFile | None:
    try:
        found = CompiledFile.read(file)
        os.utime(file)  # it is in use
    except FileNotFoundError:
        return None
    except PermissionError:
        return found
    except (OSError, *DAMAGES) as error:
        logger.warning("%s cannot be used (%s); it is made anew.", printable(file), error)
        return None
    return found


def _make_room(folder: Path) -> None:
    for file in compiled_files(folder)[MAX_FILES:]:
        file.unlink(missing_ok=True)
    for part in folder.glob("*.part"):
        if time.time() - _used(part) > LEFT_AFTER:
            part.unlink(missing_ok=True)


def _used(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # another process has just dropped it
        return 0.0


@cache
def _passing_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="resnet_kmeans-")
    atexit.register(_remove, folder, os.getpid())
    return Path(folder)


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked process ends too
        shutil.rmtree(folder, ignore_errors=True)
