"""Computes the features of images with the cache and the network."""

import hashlib
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import joblib
import numpy as np

from resnet_kmeans.exceptions import DecodeError, WeightsMismatchError, WorkerError
from resnet_kmeans.features.cache import FeatureCache, file_state, networks_folder
from resnet_kmeans.images import decode_noting, read_file
from resnet_kmeans.network import Network, NetworkSpec, compiled_spec, load_network

MAX_DECODERS = 16  # threads; more would only wait for Python's global interpreter lock
PREFETCH_BYTES = 32 * 2**20  # decoded pixels waiting for the network: 222 images at 224x224
PROCESS_BATCH = 32  # images sent to a worker process at a time, 5 MB at 224x224
NO_FEATURES = "the image can be read, but the network returns NaN for it"
PARENT_SECONDS = 0.5  # between two looks whether the parent of a worker is still there
FILES_PER_WRITE = 256  # file states written to the cache at a time

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass
class _Image:
    """One image being processed: a row from the cache, pixels, or the reason for neither."""

    position: int
    digest: bytes = b""
    row: np.ndarray | None = None
    pixels: np.ndarray | None = None
    reason: str = ""
    missing: str = ""  # what the image lacks, although it has pixels
    file: tuple[str, str, bytes] | None = None  # path, state and digest to be cached


class Extraction:
    """Computes the features of images with one network and one cache.

    Parameters
    ----------
    spec : NetworkSpec
        Describes the network and how images are resized for it.
    cache : FeatureCache
        Where rows are looked up and stored.
    n_jobs : int, default=None
        Number of processes that run the network, as in joblib; None uses this process.
    report : callable, default=None
        Called with the number of images just processed, and whether the network ran on them.
    network : Network, default=None
        A network that is already in memory; None loads the network of `spec`.

    Attributes
    ----------
    fingerprint : str
        The `fingerprint` of the network. If it is in the cache, the network is not loaded.
    n_features : int
        Number of features per image.
    reasons : dict of int to str
        Set by `run`: the position of each unreadable image and the reason.
    missing : dict of int to str
        Set by `run`: the position of each image that was read in part, and what is missing.
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
            identity = spec.identity()  # again, as the weights may be a new download
            content = "" if cache.file is None else spec.content()
            about = f"{content} {network.numbers}", network.fingerprint, network.n_features
            known = cache.add_network(identity, *about)
        self._network = network
        self._key, self.fingerprint, self.n_features = known
        self.reasons: dict[int, str] = {}
        self.missing: dict[int, str] = {}
        # Images with equal content are computed once: the position of the first image with each
        # content, and pairs (position, position of the first) for the others.
        self._first: dict[bytes, int] = {}
        self._duplicates: list[tuple[int, int]] = []
        self._files: list[tuple[str, str, bytes]] = []

    def run(self, sources: list[Any]) -> np.ndarray:
        """Return the features of images.

        Parameters
        ----------
        sources : list of length n
            Paths, bytes, PIL images or arrays.

        Returns
        -------
        ndarray of shape (n, n_features), dtype float32
            In the order of `sources`; NaN where an image cannot be read.
        """
        rows = np.full((len(sources), self.n_features), np.nan, dtype=np.float32)
        self._cache.touch(self._key, [s for s in sources if isinstance(s, (str, os.PathLike))])
        # Closed at once: after Ctrl-C, a traceback would keep them, and their threads going.
        misses = self._misses(sources, rows)
        batches = self._through_network(misses)
        with warnings.catch_warnings(), closing(misses), closing(batches):
            # Pillow warns about damaged metadata, which does not affect the pixels.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            for images in batches:
                for image in images:
                    rows[image.position] = image.row
                    if np.isnan(rows[image.position]).any():
                        self.reasons[image.position], image.row = NO_FEATURES, None
                    elif image.missing:
                        # Not cached, so that the next run says so too.
                        self.missing[image.position], image.row = image.missing, None
                self._store(images)
                self._report(len(images), True)
        self._store_files()
        for position, original in self._duplicates:
            rows[position] = rows[original]
            for noted in (self.reasons, self.missing):
                if original in noted:
                    noted[position] = noted[original]
        return rows

    def _misses(self, sources: list[Any], rows: np.ndarray) -> Generator[_Image]:
        """Yield the images that need the network; fill in the rows of all others."""
        n_threads = min(joblib.cpu_count(), MAX_DECODERS)
        numbered = iter(enumerate(sources))
        for image in _prefetch(self._look_up, numbered, self._n_prefetched(), n_threads):
            if image.reason:
                self.reasons[image.position] = image.reason
            elif image.row is not None:
                rows[image.position] = image.row
                self._files += [image.file] if image.file else []
            elif image.digest in self._first:
                self._duplicates.append((image.position, self._first[image.digest]))
            else:
                self._first[image.digest] = image.position
                yield image
                continue
            self._report(1, False)

    def _n_prefetched(self) -> int:
        height, width = self._spec.input_shape
        return max(MAX_DECODERS, PREFETCH_BYTES // (height * width * 3))

    def _look_up(self, numbered: tuple[int, Any]) -> _Image:
        """Look up the row of an image, or else decode its pixels; runs in a thread."""
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
        except (OSError, ValueError):  # `read_file` will raise an error with the reason
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
        else:
            # An array or PIL image is hashed by its pixels. `person` makes these hashes differ
            # from those of files.
            pixels = self._decode(image, content)
            hashed = hashlib.blake2b(pixels.tobytes(), digest_size=16, person=b"pixels")
            image.digest = hashed.digest()
        image.row = self._cache.find_row(self._key, image.digest)
        if image.row is None and image.pixels is None:
            self._decode(image, content)

    def _decode(self, image: _Image, content: Any) -> np.ndarray:
        spec = self._spec
        image.pixels, image.missing = decode_noting(content, spec.input_shape, spec.resize)
        return image.pixels

    def _through_network(self, misses: Iterator[_Image]) -> Generator[list[_Image]]:
        """Compute the rows of images; yield the images in batches."""
        first = next(misses, None)
        if first is None:
            return  # the network is not even loaded
        misses = chain([first], misses)
        if joblib.effective_n_jobs(self._n_jobs) > 1:
            yield from self._in_processes(_batches(misses, PROCESS_BATCH))
            return
        network = self._network or _load(self._spec, self.fingerprint, self._folder)

        def compute(images: list[_Image]) -> list[_Image]:
            _assign_rows(images, network(_take_pixels(images)))
            return images

        batches = _batches(misses, network.batch_size)
        # One more thread than streams stacks the pixels of the next batch in the meantime.
        n_threads = network.n_streams + 1
        yield from _prefetch(compute, batches, n_threads + 1, n_threads)

    def _in_processes(self, batches: Iterator[list[_Image]]) -> Iterator[list[_Image]]:
        n_jobs = joblib.effective_n_jobs(self._n_jobs)
        n_threads = max(1, joblib.cpu_count() // n_jobs)
        compute = joblib.delayed(_compute_in_worker)
        compiled = compiled_spec(self._spec, self._folder)
        # Workers get pixels and return rows; the images wait here for their rows, in order.
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
            max_nbytes=None,  # memory-mapping would write each batch to disk
            initializer=_end_with_parent,
            initargs=(os.getpid(),),
        )
        try:
            for rows in parallel(tasks()):
                images = waiting.popleft()
                _assign_rows(images, rows)
                yield images
        except BrokenExecutor as error:  # the system ended a worker
            raise WorkerError(n_jobs) from error

    def _store(self, images: list[_Image]) -> None:
        self._cache.add_rows(self._key, [(i.digest, i.row) for i in images if i.row is not None])
        self._files += [image.file for image in images if image.file is not None]
        if len(self._files) >= FILES_PER_WRITE:
            self._store_files()

    def _store_files(self) -> None:
        self._cache.add_files(self._files)
        self._files = []


def _load(
    spec: NetworkSpec, fingerprint: str, folder: Path | None = None, n_threads: int | None = None
) -> Network:
    network = load_network(spec, folder, n_threads)
    if network.fingerprint != fingerprint:
        raise WeightsMismatchError(fingerprint, network.fingerprint)
    return network


def _end_with_parent(parent: int) -> None:
    """End this worker process when its parent is gone; otherwise it would wait for work forever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _compute_in_worker(
    spec: NetworkSpec,
    compiled: NetworkSpec,
    fingerprint: str,
    n_threads: int,
    pixels: np.ndarray,
) -> np.ndarray:
    """Run the network in a worker process, with its share of the threads."""
    # A worker on another machine does not have the compiled file, but may have the weights.
    is_there = compiled.file.is_file()
    return _load(compiled if is_there else spec, fingerprint, n_threads=n_threads)(pixels)


def _take_pixels(images: list[_Image]) -> np.ndarray:
    pixels = np.stack([image.pixels for image in images if image.pixels is not None])
    for image in images:  # frees memory, now that the pixels are copied
        image.pixels = None
    return pixels


def _assign_rows(images: list[_Image], rows: np.ndarray) -> None:
    for image, row in zip(images, rows):
        image.row = row


def _batches(images: Iterator[_Image], size: int) -> Iterator[list[_Image]]:
    while batch := list(islice(images, size)):
        yield batch


def _prefetch(
    function: Callable[[_In], _Out], items: Iterator[_In], n_items: int, n_threads: int
) -> Generator[_Out]:
    """Map a function in threads; yield in order, with at most `n_items` results ahead."""
    pool = ThreadPoolExecutor(n_threads)
    try:
        futures = deque(pool.submit(function, item) for item in islice(items, n_items))
        while futures:
            result = futures.popleft().result()
            futures.extend(pool.submit(function, item) for item in islice(items, 1))
            yield result
    finally:  # `with` would wait for all items that were submitted
        pool.shutdown(cancel_futures=True)
