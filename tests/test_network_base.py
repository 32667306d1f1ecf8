"""Networks are known by what shapes their features; batches have one shape."""

import hashlib

import numpy as np
import pytest

from resnet_kmeans.features import FeatureCache
from resnet_kmeans.network.base import Network
from resnet_kmeans.network.weights import NetworkSpec


class Sums(Network):
    """Gives the sum of each image's pixels, and notes the batches that it sees."""

    def __init__(self, spec, batch_size=4):
        super().__init__(
            spec,
            weights_hash="ab",
            n_features=1,
            batch_size=batch_size,
            precision="float32",
            n_streams=1,
        )
        self.seen = []

    def _compute(self, batch):
        self.seen.append(batch.shape)
        return batch.sum(axis=(1, 2, 3), dtype=np.float32)[:, None]


@pytest.mark.parametrize(("n_images", "n_batches"), [(1, 1), (4, 1), (5, 2)])
def test_batches_have_one_shape_and_padding_leaves_no_rows(n_images, n_batches):
    pixels = np.arange(n_images * 12, dtype=np.uint8).reshape(n_images, 2, 2, 3)
    network = Sums(NetworkSpec())
    rows = network(pixels)
    np.testing.assert_array_equal(rows[:, 0], pixels.sum(axis=(1, 2, 3)))
    assert network.seen == [(4, 2, 2, 3)] * n_batches


def test_the_fingerprint_is_that_of_earlier_releases():
    # Model files hold it: with another one they would be refused.
    shape = "(None, 'avg', (224, 224), 'stretch', 'caffe')"
    earlier = hashlib.sha256(f"ab {shape}".encode()).hexdigest()
    for precision in ("auto", "float32", "bfloat16"):
        assert Sums(NetworkSpec(precision=precision)).fingerprint == earlier


def test_int8_has_a_fingerprint_of_its_own():
    exact, coarse = (Sums(NetworkSpec(precision=p)).fingerprint for p in ("float32", "int8"))
    assert exact != coarse


def test_features_of_earlier_releases_are_not_found(tmp_path, tiny_network):
    import platform
    from dataclasses import astuple

    from resnet_kmeans._versions import library_versions

    spec = NetworkSpec(weights=str(tiny_network), input_shape=(32, 32), preprocess="tf")
    stat = tiny_network.stat()
    state = (str(tiny_network.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    versions = {name: v for name, v in library_versions().items() if name != "openvino"}
    earlier = repr((astuple(spec)[1:], state, versions, platform.node()))
    with FeatureCache(tmp_path) as cache:
        cache.add_network(earlier, "ab", 16)
        assert cache.find_network(earlier)
        assert cache.find_network(spec.identity()) is None
