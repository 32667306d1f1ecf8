"""Fixtures: a tiny network, a trained one, pictures, folders apart from the user's own."""

import os
import shutil
import subprocess
from pathlib import Path

# Before TensorFlow is imported: its own start-up lines would bury what a test prints.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Before NumPy is imported: on the few rows of a test, threads wait longer than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from PIL import Image

from resnet_kmeans import ResNetFeaturizer
from resnet_kmeans.sample_pictures import crop_photos, draw_pictures
from tests.stand_in import write_stand_in


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, so that no worker is left alone with one."""
    items.sort(key=lambda item: item.path.stem not in ("test_spark", "test_clusterer"))


@pytest.fixture(scope="session")
def compiled_networks(tmp_path_factory) -> Path:
    """A folder of compiled networks that all tests share; only the first use takes TensorFlow."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "networks"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def new_cache(tmp_path_factory, compiled_networks):
    """A function that makes an empty cache, in which no feature is known but each network is."""

    def make() -> Path:
        cache = tmp_path_factory.mktemp("cache")
        (cache / "networks").symlink_to(compiled_networks)
        return cache

    return make


def _set_own_folders(patch, tmp_path_factory, cache):
    patch.setenv("RESNET_KMEANS_CACHE", str(cache))
    patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
    patch.delenv("RESNET_KMEANS_BACKBONE", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _own_folders_of_the_session(tmp_path_factory, new_cache):
    """Keep fixtures that outlive a test away from the user's cache and Keras' folder."""
    with pytest.MonkeyPatch.context() as patch:
        _set_own_folders(patch, tmp_path_factory, new_cache())
        for name in ("XDG_STATE_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
            patch.setenv(name, str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory, monkeypatch, new_cache):
    """Keep each test away from the user's folders, and from the features of other tests."""
    _set_own_folders(monkeypatch, tmp_path_factory, new_cache())


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory) -> Path:
    """A file of a network that runs at once, for tests in which the network is not the point."""
    return write_stand_in(tmp_path_factory.mktemp("stand_in") / "stand_in.network")


@pytest.fixture(scope="session")
def tiny_network(keras, tmp_path_factory) -> Path:
    """A whole Keras model in a file: two residual blocks, 16 features, 32x32 pixels."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(16, 5, strides=2, name="stem_conv")(inputs)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    x = keras.layers.ReLU(name="stem_relu")(x)
    for block in ("block1", "block2"):
        y = keras.layers.Conv2D(16, 3, padding="same", name=f"{block}_conv")(x)
        y = keras.layers.BatchNormalization(name=f"{block}_bn")(y)
        x = keras.layers.Add(name=f"{block}_add")([x, y])
        x = keras.layers.ReLU(name=f"{block}_out")(x)
    model = keras.Model(inputs, x, name="tiny")
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    path = tmp_path_factory.mktemp("network") / "tiny.keras"
    model.save(path)
    return path


@pytest.fixture(scope="session")
def keras():
    """Keras, on TensorFlow."""
    return pytest.importorskip("keras", reason="Keras is not installed")


@pytest.fixture(scope="session")
def tiny(keras, tiny_network):
    """The Keras model of `tiny_network`."""
    return keras.models.load_model(tiny_network)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder of 24 drawn pictures, four of each of six groups."""
    folder = tmp_path_factory.mktemp("drawn") / "pictures"
    draw_pictures(folder, n_each=4)
    return folder


@pytest.fixture(scope="session")
def real_pictures(tmp_path_factory) -> Path:
    """A folder of 48 pictures, six of each of eight groups: drawn ones, crops of two photos."""
    folder = tmp_path_factory.mktemp("real") / "pictures"
    draw_pictures(folder, n_each=6)
    crop_photos(folder, n_each=6)
    return folder


@pytest.fixture(scope="session")
def real_featurizer(new_cache) -> ResNetFeaturizer:
    """A trained network, for tests that say that clusters are right; it sees an image once."""
    # In float32, which gives the same clusters on any processor.
    return ResNetFeaturizer(backbone="efficientnet_lite0", precision="float32", cache=new_cache())


@pytest.fixture
def without_rights(tmp_path):
    """A function that makes the process a user without rights until the test ends."""
    if not hasattr(os, "getuid") or os.getuid() != 0:
        pytest.skip("needs root to become a user without rights")

    def become_nobody():
        for folder in (tmp_path, *tmp_path.parents):
            # Another run of pytest may have closed one above those that are open.
            if folder.stat().st_mode & 0o005 != 0o005:
                folder.chmod(0o755)
        os.seteuid(65534)

    yield become_nobody
    os.seteuid(0)


@pytest.fixture
def photo(tmp_path) -> Path:
    """A small JPEG with a gradient, in a folder of its own."""
    ramp = np.arange(48 * 64 * 3, dtype=np.uint32).reshape(48, 64, 3) * 255 // (48 * 64 * 3)
    path = tmp_path / "photos" / "photo.jpg"
    path.parent.mkdir()
    Image.fromarray(ramp.astype(np.uint8)).save(path, quality=95)
    return path


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB, to fill."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder that RESNET_KMEANS_TEST_DATA names, with images, images_hard and weights."""
    folder = os.environ.get("RESNET_KMEANS_TEST_DATA")
    if not folder:
        pytest.skip("RESNET_KMEANS_TEST_DATA names no folder with real images and weights")
    return Path(folder)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium that logs its requests."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    if None in programs:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    profile = tmp_path_factory.mktemp("profile")
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-component-update"
    # Where the page scrolls smoothly, selenium clicks where an element was.
    flags += " disable-background-networking disable-sync force-prefers-reduced-motion"
    for flag in flags.split():
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={profile}")
    # Its own service: otherwise selenium looks for a driver to download.
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    driver.set_window_size(1280, 900)
    driver.set_page_load_timeout(10)
    driver.get("about:blank")  # not the page for new tabs, which requests its icons
    yield driver
    driver.quit()
