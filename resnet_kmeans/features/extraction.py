"""Passes every image through the network once, whatever file or cache it comes from."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import joblib
import numpy as np

from resnet_kmeans.exceptions import DecodeError, WeightsMismatchError
from resnet_kmeans.features.cache import FeatureCache, file_state
from resnet_kmeans.images import decode, read_file
from resnet_kmeans.network import Network, NetworkSpec, compiled_spec, load_network

MAX_DECODERS = 16  # threads; more would only wait for Python's lock
AHEAD_BYTES = 32 * 2**20  # decoded pixels that may wait for the network: 222 at 224x224
PROCESS_BATCH = 32  # images that go to a worker process at a time, 5 MB at 224x224
NO_FEATURES = "it can be read, but the network gives NaN for it"
KEPT_FILES = 256  # files that the cache hears of at a time

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass
class _Image:
    """One image on its way: it has a row from the cache, pixels, or a reason for neither."""

    position: int
    digest: bytes = b""
    row: np.ndarray | None = None
    pixels: np.ndarray | None = None
    reason: str = ""
    file: tuple[str, str, bytes] | None = None  # path, state, digest: for the cache


class Extraction:
    """One run of images through one network with one cache.

    Parameters
    ----------
    spec : NetworkSpec
        The network, and how images are brought to its shape.
    cache : FeatureCache
        Where rows are looked up and kept.
    n_jobs : int, default=None
        Processes that run the network, as joblib means it; None is this process.
    report : callable, default=None
        Called with the number of images just done, and whether the network computed them.
    network : Network, default=None
        One that is at hand; None loads that of `spec`.

    Attributes
    ----------
    fingerprint : str
        `Network.fingerprint`, known without loading a network that the cache remembers.
    n_features : int
        Width of a row.
    reasons : dict of int to str
        After `run`: position of each unreadable image and why.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        cache: FeatureCache,
        n_jobs: int | None = None,
        report: Callable[[int, bool], None] = lambda n_images, computed: None,
        network: Network | None = None,
    ):
        self._spec, self._cache, self._n_jobs, self._report = spec, cache, n_jobs, report
        self._folder = networks_folder(cache)
        known = None if network else cache.find_network(spec.identity())
        if known is None:
            network = network or load_network(spec, self._folder)
            identity = spec.identity()  # again: the weights may have been downloaded just now
            cache.add_network(identity, network.fingerprint, network.n_features)
            known = cache.find_network(identity)
            known = known or (0, network.fingerprint, network.n_features)
        self._network = network
        self._key, self.fingerprint, self.n_features = known
        self.reasons: dict[int, str] = {}
        self._first: dict[bytes, int] = {}  # position of the first image with this content
        self._twins: list[tuple[int, int]] = []
        self._files: list[tuple[str, str, bytes]] = []

    def run(self, sources: list[Any]) -> np.ndarray:
        """Return the features of images.

        Parameters
        ----------
        sources : list of length n
            Paths, bytes, PIL images or uint8 arrays.

        Returns
        -------
        ndarray of shape (n, n_features), dtype float32
            In the order of `sources`; NaN where an image cannot be read.
        """
        rows = np.full((len(sources), self.n_features), np.nan, dtype=np.float32)
        with warnings.catch_warnings():
            # Pillow warns of damaged metadata, which does not touch the pixels.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            for images in self._through_network(self._fresh(sources, rows)):
                for image in images:
                    rows[image.position] = image.row
                    if np.isnan(rows[image.position]).any():
                        self.reasons[image.position], image.row = NO_FEATURES, None
                self._keep(images)
                self._report(len(images), True)
        self._keep_files()
        for position, original in self._twins:
            rows[position] = rows[original]
            if original in self.reasons:
                self.reasons[position] = self.reasons[original]
        return rows

    def _fresh(self, sources: list[Any], rows: np.ndarray) -> Iterator[_Image]:
        """Yield the images that need the network; settle all others."""
        n_threads = min(joblib.cpu_count(), MAX_DECODERS)
        numbered = iter(enumerate(sources))
        for image in _ahead(self._look_up, numbered, self._n_ahead(), n_threads):
            if image.reason:
                self.reasons[image.position] = image.reason
            elif image.row is not None:
                rows[image.position] = image.row
                self._files += [image.file] if image.file else []
            elif image.digest in self._first:
                self._twins.append((image.position, self._first[image.digest]))
            else:
                self._first[image.digest] = image.position
                yield image
                continue
            self._report(1, False)

    def _n_ahead(self) -> int:
        height, width = self._spec.input_shape
        return max(MAX_DECODERS, AHEAD_BYTES // (height * width * 3))

    def _look_up(self, numbered: tuple[int, Any]) -> _Image:
        """Find the row of an image, else its pixels; runs in a thread."""
        position, source = numbered
        image = _Image(position)
        try:
            if isinstance(source, (str, os.PathLike)):
                self._look_up_file(image, os.fspath(source))
            else:
                self._look_up_content(image, source)
        except DecodeError as error:
            image.reason = str(error)
        return image

    def _look_up_file(self, image: _Image, path: str) -> None:
        try:
            state, settled = file_state(path)
        except (OSError, ValueError):  # gone, or no valid path: reading it tells why
            state, settled = "", False
        known = self._cache.find_digest(path, state) if settled else None
        if known is not None:
            image.digest, image.row = known, self._cache.find_row(self._key, known)
        if image.row is None:
            self._look_up_content(image, read_file(path))
            image.file = (path, state, image.digest) if settled else None

    def _look_up_content(self, image: _Image, content: Any) -> None:
        if isinstance(content, bytes):
            image.digest = hashlib.blake2b(content, digest_size=16).digest()
            image.row = self._cache.find_row(self._key, image.digest)
        if image.row is None:
            pixels = image.pixels = decode(content, self._spec.input_shape, self._spec.resize)
        if not isinstance(content, bytes):
            # The pixels are the content; the tag keeps them apart from a file's bytes.
            hashed = hashlib.blake2b(pixels.tobytes(), digest_size=16, person=b"pixels")
            image.digest = hashed.digest()
            image.row = self._cache.find_row(self._key, image.digest)

    def _through_network(self, fresh: Iterator[_Image]) -> Iterator[list[_Image]]:
        """Give images their rows; yield them in batches."""
        first = next(fresh, None)
        if first is None:
            return iter(())  # nothing needs the network, so it is not even loaded
        fresh = chain([first], fresh)
        if joblib.effective_n_jobs(self._n_jobs) > 1:
            return self._in_processes(_batches(fresh, PROCESS_BATCH))
        network = self._network or _load(self._spec, self.fingerprint, self._folder)

        def compute(images: list[_Image]) -> list[_Image]:
            _settle(images, network(_take_pixels(images)))
            return images

        batches = _batches(fresh, network.batch_size)
        # One thread more than compute lays out the pixels of the next batch.
        n_threads = network.n_streams + 1
        return _ahead(compute, batches, n_threads + 1, n_threads)

    def _in_processes(self, batches: Iterator[list[_Image]]) -> Iterator[list[_Image]]:
        n_jobs = joblib.effective_n_jobs(self._n_jobs)
        n_threads = max(1, joblib.cpu_count() // n_jobs)
        compute = joblib.delayed(_compute_elsewhere)
        compiled = compiled_spec(self._spec, self._folder)
        waiting: deque[list[_Image]] = deque()

        def tasks() -> Iterator[Any]:
            for images in batches:
                waiting.append(images)
                pixels = _take_pixels(images)
                yield compute(self._spec, compiled, self.fingerprint, n_threads, pixels)

        parallel = joblib.Parallel(
            self._n_jobs,
            return_as="generator",
            batch_size=1,
            pre_dispatch="2*n_jobs",
            max_nbytes=None,
        )
        for rows in parallel(tasks()):
            images = waiting.popleft()
            _settle(images, rows)
            yield images

    def _keep(self, images: list[_Image]) -> None:
        self._cache.add_rows(self._key, [(i.digest, i.row) for i in images if i.row is not None])
        self._files += [image.file for image in images if image.file is not None]
        if len(self._files) >= KEPT_FILES:
            self._keep_files()

    def _keep_files(self) -> None:
        self._cache.add_files(self._files)
        self._files = []


def networks_folder(cache: FeatureCache) -> Path | None:
    """Return where the compiled networks lie, beside the features that they make."""
    return None if cache.file is None else cache.file.parent / "networks"


def _load(
    spec: NetworkSpec, fingerprint: str, folder: Path | None = None, n_threads: int | None = None
) -> Network:
    network = load_network(spec, folder, n_threads)
    if network.fingerprint != fingerprint:
        raise WeightsMismatchError(fingerprint, network.fingerprint)
    return network


def _compute_elsewhere(
    spec: NetworkSpec,
    compiled: NetworkSpec,
    fingerprint: str,
    n_threads: int,
    pixels: np.ndarray,
) -> np.ndarray:
    """Run the network in a worker process, on its share of the processor."""
    is_there = compiled.file.is_file()  # not on another machine
    return _load(compiled if is_there else spec, fingerprint, n_threads=n_threads)(pixels)


def _take_pixels(images: list[_Image]) -> np.ndarray:
    pixels = np.stack([image.pixels for image in images if image.pixels is not None])
    for image in images:
        image.pixels = None
    return pixels


def _settle(images: list[_Image], rows: np.ndarray) -> None:
    for image, row in zip(images, rows):
        image.row = row


def _batches(images: Iterator[_Image], size: int) -> Iterator[list[_Image]]:
    while batch := list(islice(images, size)):
        yield batch


def _ahead(
    function: Callable[[_In], _Out], items: Iterator[_In], n_ahead: int, n_threads: int
) -> Iterator[_Out]:
    """Map in threads, in order, at most `n_ahead` items ahead of what is taken."""
    with ThreadPoolExecutor(n_threads) as pool:
        futures = deque(pool.submit(function, item) for item in islice(items, n_ahead))
        while futures:
            result = futures.popleft().result()
            futures.extend(pool.submit(function, item) for item in islice(items, 1))
            yield result
