"""Caches a few compiled networks in the files of a folder."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from resnet_kmeans._files import replacing
from resnet_kmeans.exceptions import WeightsFileError, printable
from resnet_kmeans.network.libraries import import_openvino
from resnet_kmeans.network.weights import COMPILED_ENDING, NetworkSpec

logger = logging.getLogger(__name__)

FORMAT = 1
# Besides OSError, what zipfile, json and OpenVINO raise for damaged files.
DAMAGES = (
    *(ValueError, LookupError, TypeError, EOFError, NotImplementedError, RuntimeError),
    zipfile.BadZipFile,
)
ENDINGS = (COMPILED_ENDING, ".keras")  # of compiled networks, and of imported presets
# Of each kind, 95 MB each for ResNet50; the least recently used or imported are deleted.
MAX_FILES = 6
STALE_AFTER = 3600  # seconds; an older unfinished file was left by a killed process


@dataclass(frozen=True)
class CompiledFile:
    """A compiled network, with what must be known before it runs.

    Parameters
    ----------
    graph : openvino.Model
        Maps pixels to features, for any number of images.
    weights_hash : str
        Hash of the weight values in the Keras model.
    n_features : int
        Number of features per image.
    """

    graph: Any
    weights_hash: str
    n_features: int

    def write(self, file: Path) -> None:
        """Write the network to a file atomically."""
        file.parent.mkdir(parents=True, exist_ok=True)
        about = {"format": FORMAT, "weights_hash": self.weights_hash, "n_features": self.n_features}
        with tempfile.TemporaryDirectory() as folder, replacing(file) as part:
            graph = Path(folder, "network.xml")
            # Half precision would halve the file but change the features.
            import_openvino().save_model(self.graph, graph, compress_to_fp16=False)
            with zipfile.ZipFile(part, "x") as archive:
                archive.writestr("network.json", json.dumps(about))
                archive.write(graph, graph.name)
                archive.write(graph.with_suffix(".bin"), "network.bin")

    @classmethod
    def read(cls, file: Path) -> CompiledFile:
        """Read a network from a file.

        Raises
        ------
        OSError
            If the file is missing or cannot be read.
        DAMAGES
            If the file is damaged, truncated or of another format.
        """
        with zipfile.ZipFile(file) as archive:
            about = json.loads(archive.read("network.json"))
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']}, this version reads {FORMAT}")
            # `archive.read` verifies checksums. The contents are read into memory, because
            # OpenVINO would map a file, which another process may remove.
            contents = [archive.read(name) for name in ("network.xml", "network.bin")]
        graph = import_openvino().Core().read_model(*contents)
        return cls(graph, about["weights_hash"], about["n_features"])


def find_compiled(spec: NetworkSpec, folder: Path | None) -> tuple[Path, CompiledFile] | None:
    """Return the file of a compiled network and its content, or None if there is none yet.

    Parameters
    ----------
    spec : NetworkSpec
    folder : Path or None
        Where compiled networks are cached, in addition to a temporary folder.

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
    for file in _candidates(spec, folder):
        if (found := _read(file)) is not None:
            return file, found
    return None


def save_compiled(compiled: CompiledFile, spec: NetworkSpec, folder: Path | None) -> None:
    """Write a compiled network to where `find_compiled` looks, evicting older ones."""
    for file in _candidates(spec, folder):
        # If the cache cannot be written, the feature cache has already warned about it.
        with contextlib.suppress(OSError):
            compiled.write(file)
            return make_room(file.parent)


def cached_networks(folder: Path) -> list[Path]:
    """Return the compiled networks and the imported presets in a folder."""
    return [file for ending in ENDINGS for file in _cached(folder, ending)]


def _cached(folder: Path, ending: str) -> list[Path]:
    """Return the files of one kind in a folder, the most recently used first."""
    complete = (f for f in folder.glob(f"*{ending}") if not f.name.startswith("."))
    return sorted(complete, key=_used, reverse=True)


def _candidates(spec: NetworkSpec, folder: Path | None) -> Iterator[Path]:
    # Specs with the same graph share a file: float32 and bfloat16, for example, differ only in
    # how the graph is run.
    precision = "int8" if spec.precision == "int8" else "float32"
    same = replace(spec, precision=precision, batch_size="auto", resize="stretch")
    identity = same.identity().encode(errors="surrogateescape")
    key = hashlib.blake2b(identity, digest_size=8).hexdigest()
    name = f"{spec.file.stem if spec.is_whole_model else spec.backbone}-{key}{COMPILED_ENDING}"
    return places_of(name, folder)


def places_of(name: str, folder: Path | None) -> Iterator[Path]:
    """Yield where a file may be: in a folder, and in a temporary one of this process."""
    if folder is not None:
        yield folder / name
    yield _temporary_folder() / name


def _read(file: Path) -> CompiledFile | None:
    try:
        found = CompiledFile.read(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, *DAMAGES) as error:
        logger.warning("%s cannot be used (%s); it is compiled again.", printable(file), error)
        return None
    with contextlib.suppress(OSError):  # the folder may be read-only
        os.utime(file)  # marks the file as recently used
    return found


def make_room(folder: Path) -> None:
    """Delete the oldest files of each kind, and unfinished ones."""
    for ending in ENDINGS:
        for file in _cached(folder, ending)[MAX_FILES:]:
            file.unlink(missing_ok=True)
        for part in folder.glob(f".*.part{ending}"):
            if time.time() - _used(part) > STALE_AFTER:
                part.unlink(missing_ok=True)


def _used(file: Path) -> float:
    with contextlib.suppress(OSError):  # another process has just deleted it
        return file.stat().st_mtime
    return 0.0


@cache
def _temporary_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="resnet_kmeans-")
    atexit.register(_remove, folder, os.getpid())
    return Path(folder)


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked process must not delete the folder when it exits
        shutil.rmtree(folder, ignore_errors=True)
