"""Model files: what is written comes back, what is not ours is refused by its own sentence."""

import json
import os
import pickle
import re
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as to_safetensors
from sklearn.cluster import BisectingKMeans
from sklearn.decomposition import FastICA

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer
from resnet_kmeans.clustering.model_file import read_model, write_model
from resnet_kmeans.exceptions import ModelFileError, WeightsMismatchError

HEADER = {"fingerprint": "abc", "clusterer": {"n_clusters": 2}, "weights": "/a/é\udcff.h5"}
ARRAYS = {
    "cluster_centers": np.arange(6, dtype=np.float32).reshape(2, 3),
    "normalize": np.array([True]),
    "inertia": np.array([1.5]),
}


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "model.safetensors"
    write_model(path, HEADER, ARRAYS)
    return path


def rewritten(path: Path, text: str, sha256: str = "") -> Path:
    path.write_bytes(to_safetensors(ARRAYS, {"resnet_kmeans": text, "sha256": sha256}))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as raised:
        read_model(path)
    message = str(raised.value)
    assert message.startswith("Expected a model file written by ImageFolderClusterer.save, got ")
    assert repr(str(path)) in message
    assert "Nothing was loaded. Check the path, or save the model again." in message
    return message


def test_header_and_arrays_are_read_as_written(path):
    header, arrays = read_model(path)
    assert header == {"format": 1, **HEADER}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_numpy_numbers_can_be_written_and_functions_raise_an_error(path):
    write_model(path, {"batch_size": np.int64(8)}, ARRAYS)
    assert read_model(path)[0]["batch_size"] == 8
    before = path.read_bytes()
    with pytest.raises(ModelFileError, match=r"got function.*Nothing was written.*joblib"):
        write_model(path, {"weights": lambda: None}, ARRAYS)
    assert path.read_bytes() == before


def test_an_earlier_model_is_replaced_but_no_other_file(path, tmp_path):
    write_model(path, {"fingerprint": "new"}, {})
    assert read_model(path)[0]["fingerprint"] == "new"
    for name, content in (("photo.jpg", b"\xff\xd8 precious"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=r"which is something else. Nothing was written"):
            write_model(tmp_path / name, HEADER, ARRAYS)
        assert (tmp_path / name).read_bytes() == content


def test_concurrent_saves_leave_a_complete_file(tmp_path):
    path = tmp_path / "model"
    together = threading.Barrier(4)

    def save(number):
        together.wait()
        for _ in range(10):
            write_model(path, {"number": number}, {"a": np.full(50_000, number)})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(4)))
    header, arrays = read_model(path)
    assert set(arrays["a"]) == {header["number"]}
    assert os.listdir(tmp_path) == ["model"]


def test_a_model_is_synced_to_disk_before_it_is_renamed(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: done.append("fsync") or fsync(file))
    monkeypatch.setattr(os, "replace", lambda *paths: done.append("replace") or replace(*paths))
    write_model(tmp_path / "model", HEADER, ARRAYS)
    assert done == ["fsync", "replace"]


def test_a_path_that_cannot_be_written_raises_an_error(tmp_path):
    with pytest.raises(ModelFileError, match=r"got .*nowhere.*: No such file.*Choose another"):
        write_model(tmp_path / "nowhere" / "model", HEADER, ARRAYS)
    with pytest.raises(ModelFileError, match="something else"):
        write_model(tmp_path, HEADER, ARRAYS)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_earlier_model_and_no_other_file(small_disk):
    path = small_disk / "model"
    write_model(path, HEADER, ARRAYS)
    before = path.read_bytes()
    with pytest.raises(ModelFileError, match=r"No space left.*What was there is unchanged"):
        write_model(path, HEADER, {"pca_components": np.ones((64, 2048), dtype=np.float32)})
    assert path.read_bytes() == before
    assert os.listdir(small_disk) == ["model"]


def test_a_missing_file_raises_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_model(tmp_path / "nowhere")


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
def test_a_file_of_another_kind_raises_an_error(tmp_path, content):
    (tmp_path / "model").write_bytes(content)
    assert "got a file of another kind, in" in refusal(tmp_path / "model")


def test_a_pipe_or_folder_raises_an_error_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert "got something that is not a file" in refusal(tmp_path / "fifo")
    assert "got something that is not a file" in refusal(tmp_path)


def test_a_file_truncated_anywhere_raises_an_error(path):
    whole = path.read_bytes()
    told = set()
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        message = refusal(path)
        told.add(re.sub(r"\d+ of", "N of", message.split(", in ")[0]))
        if length >= len(whole) - 33:  # header there, arrays not: 24, 8 and 1 bytes
            assert f"a truncated one, {length} of {len(whole)} bytes" in message
    # Too little is left to tell what it was; the header is cut; the arrays are.
    assert len(told) == 3


def test_a_flipped_bit_anywhere_raises_an_error(path):
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(bytes(flipped))
        try:
            header, _ = read_model(path)
        except ModelFileError as error:
            assert "Nothing was loaded" in str(error)  # noqa: PT017
        else:  # the case of a letter in an escape, \\u00E9 for \\u00e9, changes nothing
            assert header == {"format": 1, **HEADER}
            assert whole[place : place + 1].isalnum()


def test_a_changed_array_raises_an_error(path):
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(bytes(changed))
    assert "got contents that were changed after it was written" in refusal(path)


def test_a_missing_checksum_raises_an_error(path):
    path.write_bytes(to_safetensors(ARRAYS, {"resnet_kmeans": json.dumps({"format": 1})}))
    assert "got contents that were changed after it was written" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda centers: {"cluster_centers": centers.reshape(3, 2)},
        lambda centers: {"cluster_centers": centers.view(np.int32)},
        lambda centers: {"cluster_centres": centers},
    ],
    ids=["shape", "type", "name"],
)
def test_a_changed_shape_type_or_name_raises_an_error(path, change):
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    others = {name: array for name, array in ARRAYS.items() if name != "cluster_centers"}
    path.write_bytes(to_safetensors({**others, **change(ARRAYS["cluster_centers"])}, metadata))
    assert "got contents that were changed after it was written" in refusal(path)


def test_a_newer_format_raises_an_error_that_suggests_an_upgrade(path):
    message = refusal(rewritten(path, json.dumps({"format": 2, "anything": 1})))
    assert "one of format 2, newer than 1" in message
    assert message.endswith("Or upgrade resnet-kmeans.")


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"format": "x"}', "{", "[" * 200_000, "9" * 10_000]
)
def test_a_damaged_header_raises_an_error(path, text):
    assert "got a damaged header" in refusal(rewritten(path, text))


def test_a_file_too_large_for_a_model_is_not_read(tmp_path):
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(2**30 + 1)  # sparse
    assert "more than 1 GiB" in refusal(tmp_path / "huge")


@pytest.mark.parametrize("dtype", ["BF16", "F8_E5M2"])
def test_arrays_of_unknown_type_raise_an_error(path, dtype):
    text, width = json.dumps({"format": 1}), 2 if dtype == "BF16" else 1
    head = json.dumps(
        {
            "__metadata__": {"resnet_kmeans": text, "sha256": "0"},
            "x": {"dtype": dtype, "shape": [2 // width], "data_offsets": [0, 2]},
        }
    ).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"\0\0")
    assert re.search("got (arrays that cannot be read|contents that were changed)", refusal(path))


def test_an_escape_code_in_a_name_reaches_no_terminal(tmp_path):
    (tmp_path / "\x1b[31m").write_bytes(b"no model")
    with pytest.raises(ModelFileError) as raised:
        read_model(tmp_path / "\x1b[31m")
    assert "\x1b" not in str(raised.value)


class Bomb:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def test_no_code_in_a_file_is_run(tmp_path):
    trace, path = tmp_path / "executed", tmp_path / "model"
    bomb = pickle.dumps(Bomb(trace))
    texts = [json.dumps({"format": 1, "x": f"__import__('os').mkdir({str(trace)!r})"})]
    path.write_bytes(bomb)
    refusal(path)
    path.write_bytes(to_safetensors({"x": np.frombuffer(bomb, np.uint8)}))
    refusal(path)
    refusal(rewritten(path, texts[0]))
    assert not trace.exists()
    pickle.loads(bomb)
    assert trace.exists()  # so the bomb was a live one


@pytest.fixture(scope="module")
def featurizer(tiny_network) -> ResNetFeaturizer:
    return ResNetFeaturizer(weights=str(tiny_network), input_shape=(32, 32), preprocess="tf")


@pytest.fixture(scope="module")
def model(featurizer, pictures) -> ImageFolderClusterer:
    return ImageFolderClusterer(3, featurizer=featurizer, random_state=0).fit(pictures)


@pytest.mark.parametrize("reducer", ["auto", "discriminant", None])
def test_a_loaded_model_predicts_the_same_labels(featurizer, pictures, tmp_path, reducer):
    model = ImageFolderClusterer(4, featurizer=featurizer, reducer=reducer, random_state=0)
    labels = model.fit_predict(pictures)
    model.save(tmp_path / "model")
    loaded = ImageFolderClusterer.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(pictures), labels)
    np.testing.assert_allclose(loaded.transform(pictures), model.transform(pictures), atol=1e-5)
    assert loaded.get_params()["random_state"] == 0
    assert loaded.inertia_ == pytest.approx(model.inertia_)


def test_an_unpickled_model_predicts_the_same_labels(model, pictures):
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(pictures), model.labels_)
    assert len(pickle.dumps(model)) < 100_000  # the network is not in it


def test_another_network_raises_an_error_after_loading_and_unpickling(
    model, pictures, tmp_path, tiny_network
):
    import keras

    network = keras.models.load_model(tiny_network)
    network.set_weights([weights * 1.01 for weights in network.get_weights()])
    other = str(tmp_path / "other.keras")
    network.save(other)
    model.save(tmp_path / "model")
    loaded = ImageFolderClusterer.load(tmp_path / "model", weights=other)
    unpickled = pickle.loads(pickle.dumps(model))
    unpickled.pipeline_["featurizer"].weights = other
    for clusterer in (loaded, unpickled):
        with pytest.raises(WeightsMismatchError, match=r"network of the fit.*got another"):
            clusterer.predict(pictures)


def test_a_custom_step_raises_an_error_that_names_joblib(featurizer, pictures, tmp_path):
    for custom in (
        {"reducer": FastICA(3, random_state=0, max_iter=2000, tol=0.01)},
        {"clusterer": BisectingKMeans()},
    ):
        model = ImageFolderClusterer(2, featurizer=featurizer, random_state=0, **custom)
        model.fit(pictures)
        with pytest.raises(ModelFileError, match=r"saved without code.*Nothing.*joblib\.dump"):
            model.save(tmp_path / "model")
        assert not (tmp_path / "model").exists()


def test_a_model_of_100_clusters_and_2048_features_takes_less_than_a_megabyte(tmp_path):
    arrays = {
        "cluster_centers": np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32),
        "inertia": np.array([1.0]),
        "components": np.ones((64, 2048), dtype=np.float32),  # a learnt space has no more
        "intercept": np.ones(64, dtype=np.float32),
    }
    write_model(tmp_path / "model", HEADER, arrays)
    assert (tmp_path / "model").stat().st_size < 1_000_000


def test_a_misspelt_parameter_is_no_fault_of_the_file(tmp_path):
    with pytest.raises(TypeError, match="wieghts"):
        ImageFolderClusterer.load(tmp_path / "model", wieghts="own.h5")
