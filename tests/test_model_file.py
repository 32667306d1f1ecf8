"""A model file gives the model back, runs no code, and is refused where it was damaged."""

import hashlib
import json
import os
import pickle
import shutil
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as to_safetensors
from sklearn.cluster import AgglomerativeClustering, BisectingKMeans, MiniBatchKMeans
from sklearn.decomposition import PCA, FastICA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer
from sklearn.utils._param_validation import InvalidParameterError

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, find_images
from resnet_kmeans.exceptions import ModelFileError, WeightsMismatchError
from resnet_kmeans.sample_pictures import group_of
from tests.numbered_images import NAMES, Numbers

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def featurizer(stand_in) -> ResNetFeaturizer:
    return ResNetFeaturizer(weights=stand_in, input_shape=(32, 32))


@pytest.fixture(scope="module")
def model(featurizer, pictures) -> ImageFolderClusterer:
    return ImageFolderClusterer(3, featurizer=featurizer, random_state=0).fit(pictures)


@pytest.fixture
def path(model, tmp_path) -> Path:
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def parts(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """The header and arrays of a model file."""
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["resnet_kmeans"]), {
            name: file.get_tensor(name) for name in file.keys()
        }


def rewrite(path: Path, text: str, arrays: dict[str, np.ndarray]) -> None:
    """Write a model file as another program that knows its format might."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} {arrays[name].dtype}".encode())
        digest.update(arrays[name].tobytes())
    metadata = {"resnet_kmeans": text, "sha256": digest.hexdigest()}
    path.write_bytes(to_safetensors(arrays, metadata))


def refuses(path: Path) -> str:
    """Check that a file is refused by an error that names it; return the message."""
    with pytest.raises(ModelFileError) as raised:
        ImageFolderClusterer.load(path)
    assert str(path) in str(raised.value)
    assert "Nothing was loaded" in str(raised.value)
    return str(raised.value)


# Files of earlier releases. Both models were fitted with 6 clusters and random_state=0 to the
# pictures of `draw_pictures(folder, n_each=17)`, in 32x32 pixels with the stand-in network, and
# in 40x40 pixels and reducer="pca" with one of 5x5 cells. The network was in /nowhere.
# models.json has the features of the first picture of each group, and what the models said of
# them. These files stay as they are: users have such files.

EXPECTED = json.loads((DATA / "models.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_of_an_earlier_release_gives_the_same_labels_of_features(name):
    expected = EXPECTED[name]
    loaded = ImageFolderClusterer.load(DATA / f"{name}.safetensors")
    rows = np.array(expected["rows"], dtype=np.float32)
    assert loaded.pipeline_[1:].predict(rows).tolist() == expected["labels"]
    reduced = loaded.pipeline_["reducer"].transform(rows)
    gaps = np.linalg.norm(reduced[:, None] - loaded.cluster_centers_, axis=2)
    np.testing.assert_allclose(gaps, expected["distances"], atol=0.01)
    assert loaded.cluster_names_ == expected["names"]
    assert loaded.inertia_ == pytest.approx(expected["inertia"], abs=1e-3)
    assert loaded.n_clusters == 6
    assert loaded.get_params()["random_state"] == 0


def test_a_file_of_an_earlier_release_labels_pictures(stand_in, pictures):
    expected = EXPECTED["model"]
    loaded = ImageFolderClusterer.load(DATA / "model.safetensors", weights=stand_in)
    label_of = dict(zip(expected["groups"], expected["labels"]))
    paths = [path for path in find_images(pictures) if group_of(path) != "orange_dots"]
    assert loaded.predict(paths).tolist() == [label_of[group_of(path)] for path in paths]
    # Some orange pictures look yellow to this network.
    oranges = {label_of["orange_dots"], label_of["yellow_checks"]}
    paths = [path for path in find_images(pictures) if group_of(path) == "orange_dots"]
    assert set(loaded.predict(paths)) <= oranges


# Saving and loading


@pytest.mark.parametrize("reducer", ["auto", "discriminant", "pca", None])
@pytest.mark.parametrize("clusterer", [None, MiniBatchKMeans(n_init=3)], ids=["default", "mini"])
def test_a_loaded_model_is_the_saved_one(featurizer, pictures, tmp_path, reducer, clusterer):
    model = ImageFolderClusterer(
        4, featurizer=featurizer, reducer=reducer, clusterer=clusterer, random_state=0
    )
    labels = model.fit_predict(pictures)
    model.set_cluster_names({1: "猫", 2: "dogs"}).save(tmp_path / "model")
    loaded = ImageFolderClusterer.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(pictures), labels)
    np.testing.assert_allclose(loaded.transform(pictures), model.transform(pictures), atol=1e-4)
    np.testing.assert_array_equal(loaded.cluster_centers_, model.cluster_centers_)
    assert loaded.cluster_names_ == ["cluster_0", "猫", "dogs", "cluster_3"]
    assert loaded.inertia_ == pytest.approx(model.inertia_)
    for name in ("n_clusters", "reducer", "unreadable", "random_state"):
        assert loaded.get_params()[name] == model.get_params()[name]
    assert loaded.score(pictures) == pytest.approx(model.score(pictures))
    loaded.save(tmp_path / "again")
    again = ImageFolderClusterer.load(tmp_path / "again")
    np.testing.assert_array_equal(again.predict(pictures), labels)


def test_wide_features_are_saved_with_their_principal_axes(tmp_path):
    # Of an earlier file, since the stand-in has fewer features than the 64 of PCA.
    text, arrays = parts(DATA / "model_pca.safetensors")
    assert arrays["pca_components"].shape == (64, 75)
    rewrite(tmp_path / "model", json.dumps(text), arrays)
    first = ImageFolderClusterer.load(tmp_path / "model")
    first.save(tmp_path / "again")
    again = ImageFolderClusterer.load(tmp_path / "again")
    rows = np.random.default_rng(0).random((50, 75), dtype=np.float32)
    np.testing.assert_allclose(
        again.pipeline_["reducer"].transform(rows),
        first.pipeline_["reducer"].transform(rows),
        atol=1e-6,
    )


def test_a_random_state_that_is_no_number_is_left_out(featurizer, pictures, tmp_path):
    for seed, expected in ((np.int64(7), 7), (np.random.RandomState(0), None), (None, None)):
        model = ImageFolderClusterer(2, featurizer=featurizer, random_state=seed).fit(pictures)
        model.save(tmp_path / "model")
        assert ImageFolderClusterer.load(tmp_path / "model").random_state == expected


def test_load_accepts_a_new_path_of_the_weights(model, path, pictures, tmp_path, stand_in):
    moved = shutil.copy(stand_in, tmp_path / "moved.network")
    loaded = ImageFolderClusterer.load(path, weights=moved)
    assert loaded.featurizer.weights == moved
    np.testing.assert_array_equal(loaded.predict(pictures), model.labels_)


def test_a_loaded_model_refuses_another_network(path, pictures):
    loaded = ImageFolderClusterer.load(path, input_shape=(48, 48))
    with pytest.raises(WeightsMismatchError, match="fit"):
        loaded.predict(pictures)


@pytest.mark.slow
def test_other_weights_of_the_same_network_are_refused(keras, tiny_network, pictures, tmp_path):
    featurizer = ResNetFeaturizer(weights=tiny_network, input_shape=(32, 32), preprocess="tf")
    ImageFolderClusterer(3, featurizer=featurizer).fit(pictures).save(tmp_path / "model")
    network = keras.models.load_model(tiny_network)
    network.set_weights([weights * 1.01 for weights in network.get_weights()])
    network.save(tmp_path / "other.keras")
    loaded = ImageFolderClusterer.load(tmp_path / "model", weights=str(tmp_path / "other.keras"))
    with pytest.raises(WeightsMismatchError, match="fit"):
        loaded.predict(pictures)


def test_a_parameter_that_is_wrong_is_no_fault_of_the_file(path):
    with pytest.raises(TypeError, match=r" weights.* got wieghts\. Nothing was loaded"):
        ImageFolderClusterer.load(path, wieghts="own.h5")
    with pytest.raises(InvalidParameterError, match="'batch_size' parameter of ResNetFeaturizer"):
        ImageFolderClusterer.load(path, batch_size=-1)
    with pytest.raises(TypeError, match="'k'"):
        ImageFolderClusterer(k=3)


def test_a_missing_file_raises_file_not_found(tmp_path):
    for error in (FileNotFoundError, ModelFileError):
        with pytest.raises(error, match=r"got no file, in .*nowhere'\. Nothing .* Check the path"):
            ImageFolderClusterer.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "got"),
    [("", "not a file"), ("text", "another kind"), ("text/a", "Not a directory"), ("\0", "null")],
)
def test_a_path_that_leads_to_no_model_says_what_is_there(tmp_path, name, got):
    (tmp_path / "text").write_text("no model")
    with pytest.raises(ModelFileError, match=f"{got}.* Nothing was loaded"):
        ImageFolderClusterer.load(tmp_path / name)


def test_a_model_of_100_clusters_takes_little_more_than_a_megabyte(model, path):
    header, _ = parts(path)
    arrays = {
        "cluster_centers": np.random.default_rng(0).random((100, 64), dtype=np.float32),
        "inertia": np.array([1.0]),
        "normalize": np.array([False]),
        "components": np.ones((64, 2048), dtype=np.float32),  # as wide as features of a ResNet
        "intercept": np.ones(64, dtype=np.float32),
        "axes": np.ones((64, 2048), dtype=np.float32),
        "axes_mean": np.ones(2048, dtype=np.float32),
        "residual_limit": np.array([0.5]),
        "counts": np.ones(101),
        "sums": np.ones((101, 32)),
        "products": np.eye(32),
    }
    rewrite(path, json.dumps({**header, "names": [f"c{i}" for i in range(100)]}), arrays)
    ImageFolderClusterer.load(path).save(path)
    assert path.stat().st_size < 1_200_000


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"reducer": PCA(2)}, "PCA"),
        ({"reducer": FastICA(3, random_state=0, max_iter=2000, tol=0.01)}, "FastICA"),
        ({"reducer": FunctionTransformer(np.sqrt)}, "FunctionTransformer"),
        ({"reducer": make_pipeline(Normalizer("l1"))}, "Pipeline"),
        ({"reducer": make_pipeline(Normalizer(), PCA(3, whiten=True))}, "Pipeline"),
        ({"clusterer": BisectingKMeans()}, "BisectingKMeans"),
        ({"clusterer": AgglomerativeClustering()}, "AgglomerativeClustering"),
        ({"featurizer": Numbers()}, "Numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_saving_custom_steps_raises_an_error_that_names_joblib(
    featurizer, pictures, tmp_path, changes, name
):
    model = ImageFolderClusterer(2, **{"featurizer": featurizer, **changes}, random_state=0)
    model.fit(NAMES if "featurizer" in changes else pictures)
    with pytest.raises(ModelFileError, match=rf"{name}.*Nothing was written.*joblib\.dump"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_model_file_does_not_set_the_cache_folder(featurizer, pictures, tmp_path):
    own = ResNetFeaturizer(**{**featurizer.get_params(), "cache": str(tmp_path / "cache")})
    ImageFolderClusterer(2, featurizer=own).fit(pictures).save(tmp_path / "model")
    assert ImageFolderClusterer.load(tmp_path / "model").featurizer.cache == "default"


def test_an_earlier_model_is_replaced_but_no_other_file(model, path, tmp_path):
    other = ImageFolderClusterer.load(path).set_cluster_names(["a", "b", "c"])
    other.save(path)
    assert ImageFolderClusterer.load(path).cluster_names_ == ["a", "b", "c"]
    for name, content in (("photo.jpg", b"\xff\xd8 precious"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=rf"{name}.*Nothing was written"):
            model.save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == content


def test_saves_at_the_same_time_leave_a_complete_file(path, tmp_path):
    together = threading.Barrier(4)

    def save(number):
        own = ImageFolderClusterer.load(path).set_cluster_names([f"writer {number}"] * 3)
        together.wait()
        for _ in range(10):
            own.save(tmp_path / "model")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(4)))
    assert len(set(ImageFolderClusterer.load(tmp_path / "model").cluster_names_)) == 1
    assert sorted(os.listdir(tmp_path)) == ["model", path.name]


def test_a_model_is_synced_to_disk_before_it_is_renamed(model, tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: done.append("fsync") or fsync(file))
    monkeypatch.setattr(os, "replace", lambda *paths: done.append("replace") or replace(*paths))
    model.save(tmp_path / "model")
    assert done == ["fsync", "replace"]


def test_a_path_that_cannot_be_written_raises_an_error(model, tmp_path):
    with pytest.raises(ModelFileError, match=r"nowhere.*No such file"):
        model.save(tmp_path / "nowhere" / "model")
    with pytest.raises(ModelFileError, match="Nothing was written"):
        model.save(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_earlier_model_and_no_other_file(model, small_disk):
    path = small_disk / "model"
    model.save(path)
    before = path.read_bytes()
    (small_disk / "photos").write_bytes(bytes(60 * 2**10))
    with pytest.raises(ModelFileError, match=r"No space left"):
        model.save(path)
    assert path.read_bytes() == before
    assert sorted(os.listdir(small_disk)) == ["model", "photos"]


# Files that are refused


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\0", b"PK\x03\x04 a zip", b"\xff\xd8\xff\xe0" * 100, b"\x80\x04K\x01."),
        struct.pack("<Q", 2**63) + b"{",
        struct.pack("<Q", 10**8 + 1) + b'{"__metadata__":{"a":"',
        to_safetensors({"x": np.zeros(3)}),
        to_safetensors({"x": np.zeros(3)}, {"format": "pt"}),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "model").write_bytes(content)
    refuses(tmp_path / "model")


def test_a_pipe_or_folder_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    refuses(tmp_path / "fifo")
    refuses(tmp_path)


def test_a_file_too_large_for_a_model_is_not_read(tmp_path):
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(2**30 + 1)  # sparse
    assert "1 GiB" in refuses(tmp_path / "huge")


def test_a_file_truncated_anywhere_is_refused(path):
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refuses(path)


@pytest.mark.slow
def test_a_flipped_bit_anywhere_is_refused_or_changes_nothing(path):
    whole, expected = path.read_bytes(), ImageFolderClusterer.load(path)
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(bytes(flipped))
        try:
            loaded = ImageFolderClusterer.load(path)
        except ModelFileError as error:
            assert "Nothing was loaded" in str(error)  # noqa: PT017
        else:  # the case of a letter in an escape, \\u00E9 for \\u00e9
            np.testing.assert_array_equal(loaded.cluster_centers_, expected.cluster_centers_)
            assert loaded.cluster_names_ == expected.cluster_names_


@pytest.mark.parametrize(
    "change",
    [
        lambda centers: {"cluster_centers": centers + 1},
        lambda centers: {"cluster_centers": centers.reshape(-1, 3)},
        lambda centers: {"cluster_centers": centers.view(np.int32)},
        lambda centers: {"cluster_centres": centers},
        lambda centers: {},
    ],
    ids=["values", "shape", "type", "name", "missing"],
)
def test_changed_arrays_are_refused(path, change):
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    _, arrays = parts(path)
    centers = arrays.pop("cluster_centers")
    path.write_bytes(to_safetensors({**arrays, **change(centers)}, metadata))
    refuses(path)


def test_a_missing_checksum_is_refused(path):
    header, arrays = parts(path)
    path.write_bytes(to_safetensors(arrays, {"resnet_kmeans": json.dumps(header)}))
    refuses(path)


def test_a_newer_format_is_refused_with_the_advice_to_upgrade(path):
    header, arrays = parts(path)
    rewrite(path, json.dumps({**header, "format": header["format"] + 1}), arrays)
    assert "pgrade resnet-kmeans" in refuses(path)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"format": "x"}', "{", "[" * 200_000, "9" * 10_000]
)
def test_a_damaged_header_is_refused(path, text):
    rewrite(path, text, parts(path)[1])
    refuses(path)


@pytest.mark.parametrize(
    "change",
    [
        *({"names": ["a"]}, {"names": ["con"] * 3}, {"names": 3}),
        {"featurizer": {"input_shape": [32, 32], "unknown": 1}},
        *({"featurizer": None}, {"clusterer": {"n_clusters": 3, "unknown": 1}}),
    ],
    ids=str,
)
def test_a_header_of_other_contents_is_refused(path, change):
    header, arrays = parts(path)
    rewrite(path, json.dumps({**header, **change}), arrays)
    refuses(path)


@pytest.mark.parametrize("name", ["cluster_centers", "inertia", "normalize", "axes", "sums"])
def test_a_file_without_an_array_is_refused(path, name):
    header, arrays = parts(path)
    arrays.pop(name)
    rewrite(path, json.dumps(header), arrays)
    refuses(path)


@pytest.mark.parametrize("name", ["featurizer", "fingerprint", "n_features", "clusterer", "names"])
def test_a_file_without_an_entry_of_its_header_is_refused(path, name):
    header, arrays = parts(path)
    header.pop(name)
    rewrite(path, json.dumps(header), arrays)
    refuses(path)


def test_a_file_chooses_no_cache_folder(path, tmp_path):
    header, arrays = parts(path)
    header["featurizer"]["cache"] = str(tmp_path / "chosen")
    rewrite(path, json.dumps(header), arrays)
    assert ImageFolderClusterer.load(path).featurizer.cache == "default"
    assert ImageFolderClusterer.load(path, cache=None).featurizer.cache is None


@pytest.mark.parametrize("dtype", ["BF16", "F8_E5M2"])
def test_arrays_of_unknown_type_are_refused(path, dtype):
    width = 2 if dtype == "BF16" else 1
    head = json.dumps(
        {
            "__metadata__": {"resnet_kmeans": json.dumps(parts(path)[0]), "sha256": "0"},
            "x": {"dtype": dtype, "shape": [2 // width], "data_offsets": [0, 2]},
        }
    ).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"\0\0")
    refuses(path)


def test_an_escape_code_in_a_name_reaches_no_terminal(tmp_path):
    (tmp_path / "\x1b[31m").write_bytes(b"no model")
    with pytest.raises(ModelFileError) as raised:
        ImageFolderClusterer.load(tmp_path / "\x1b[31m")
    assert "\x1b" not in str(raised.value)


class Bomb:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def test_no_code_in_a_file_is_run(path, tmp_path):
    trace = tmp_path / "executed"
    bomb = pickle.dumps(Bomb(trace))
    header, arrays = parts(path)
    path.write_bytes(bomb)
    refuses(path)
    path.write_bytes(to_safetensors({"x": np.frombuffer(bomb, np.uint8)}))
    refuses(path)
    code = f"__import__('os').mkdir({str(trace)!r})"
    rewrite(path, json.dumps({**header, "x": code, "featurizer": code}), arrays)
    refuses(path)
    assert not trace.exists()
    pickle.loads(bomb)
    assert trace.exists()  # so the bomb was a live one
