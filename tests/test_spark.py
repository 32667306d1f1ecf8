"""The work on a Spark cluster gives what one machine gives, even when a worker is killed."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, find_images, spark
from resnet_kmeans.exceptions import (
    InvalidImagesError,
    NoImagesError,
    OutputFolderError,
    TooFewImagesError,
)
from resnet_kmeans.sample_pictures import group_of

pytestmark = [
    pytest.mark.slow,
    # Spark's sockets to its own JVM are closed by the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
N_CLUSTERS = 6
BAD = {
    "broken.png": "not an image, or in a format that Pillow cannot read",
    "huge.jpg": "Spark could not read the file, or it is larger than 1 GiB",
}
FEATURES = "path string, features array<float>, reason string"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A Spark session whose two executors are processes of their own, as on a real cluster."""
    pytest.importorskip("pyspark", reason="pyspark, the spark extra, is not installed")
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip("there is no Java to run Spark on")
    from pyspark.sql import SparkSession

    folder = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.ui.enabled": False,
        "spark.sql.shuffle.partitions": 2,
        # Four files in a task: they count 4 MiB each, however small they are.
        "spark.sql.files.maxPartitionBytes": 16 * 2**20,
        "spark.executor.memory": "512m",
        "spark.sql.warehouse.dir": str(folder),
        # For speed, the first compiler of Java alone, and one thread that collects garbage.
        "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("JDK_JAVA_OPTIONS", settings["spark.executor.extraJavaOptions"])
        patch.chdir(folder)  # Spark makes a folder for its workers where it starts
        builder = SparkSession.builder.master("local-cluster[2,1,512]")
        for name, value in settings.items():
            builder = builder.config(name, value)
        made = builder.getOrCreate()
        made.sparkContext.setLogLevel("OFF")  # the losses that we cause are not news
        yield made
        made.stop()


@pytest.fixture(scope="module")
def folder(pictures, tmp_path_factory) -> Path:
    """Drawn pictures, one with its extension in capitals, besides two that are bad."""
    folder = tmp_path_factory.mktemp("images") / "photos"
    shutil.copytree(pictures, folder / "inner")
    first = find_images(folder)[0]
    first.rename(first.with_suffix(".PNG"))
    (folder / "broken.png").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("not meant")
    with open(folder / "huge.jpg", "wb") as file:
        file.truncate(2**30 + 1)  # takes no room on disk
    return folder


@pytest.fixture(scope="module")
def featurizer(stand_in):
    return ResNetFeaturizer(weights=str(stand_in), input_shape=(32, 32), cache=None)


@pytest.fixture(scope="module")
def features_path(tmp_path_factory) -> str:
    """Where the fit writes the features of all images."""
    return str(tmp_path_factory.mktemp("written") / "features")


@pytest.fixture(scope="module")
def fitted(session, folder, featurizer, features_path):
    given = {"featurizer": featurizer, "random_state": 0, "features_path": features_path}
    return spark.fit(str(folder), N_CLUSTERS, **given)


def good_images(folder):
    return [path for path in find_images(folder) if path.name not in BAD]


def rows_by_name(frame):
    return {Path(row.path.removeprefix("file:")).name: row for row in frame.collect()}


def labels_of(rows):
    return {name: row.cluster for name, row in rows.items()}


def predicted(model, folder):
    """What the model says on this machine, of the images that Spark can read."""
    images = good_images(folder)
    return {path.name: label for path, label in zip(images, model.predict(images).tolist())}


def test_assign_returns_the_labels_of_a_single_machine(fitted, folder):
    rows = rows_by_name(spark.assign(fitted, str(folder)))
    assert {name: row.reason for name, row in rows.items() if row.cluster == -3} == BAD
    assert all(row.distance is None for row in rows.values() if row.cluster == -3)
    good = {name: row for name, row in rows.items() if name not in BAD}
    assert labels_of(good) == predicted(fitted, folder)
    assert {row.reason for row in good.values()} == {None}
    assert sum(row.distance**2 for row in good.values()) == pytest.approx(fitted.inertia_, 1e-3)


def test_a_fit_finds_what_a_single_machine_finds(fitted, folder, featurizer):
    images = good_images(folder)
    alone = ImageFolderClusterer(N_CLUSTERS, featurizer=featurizer, random_state=0).fit(images)
    assert list(predicted(fitted, folder).values()) == alone.labels_.tolist()
    np.testing.assert_array_equal(fitted.cluster_centers_, alone.cluster_centers_)
    assert fitted.inertia_ == alone.inertia_
    assert adjusted_rand_score([group_of(path) for path in images], alone.labels_) == 1
    assert fitted.get_params()["featurizer"] is featurizer


def test_the_fitted_model_saves_loads_and_pickles(fitted, folder, tmp_path):
    expected = predicted(fitted, folder)
    fitted.save(tmp_path / "model.safetensors")
    loaded = ImageFolderClusterer.load(tmp_path / "model.safetensors")
    assert predicted(loaded, folder) == expected
    assert predicted(pickle.loads(pickle.dumps(fitted)), folder) == expected


def test_features_in_parquet_replace_images(session, fitted, folder, featurizer, features_path):
    rows = rows_by_name(spark.assign(fitted, session.read.parquet(features_path)))
    assert labels_of(rows) == predicted(fitted, folder) | dict.fromkeys(BAD, -3)
    assert {name: row.reason for name, row in rows.items() if row.cluster == -3} == BAD
    with pytest.raises(OutputFolderError, match=r"(?s)features.*Nothing was comp"):
        spark.extract_features(str(folder), featurizer, features_path)


def test_features_are_those_of_a_single_machine(session, folder, featurizer):
    found = rows_by_name(spark.extract_features(str(folder), featurizer))
    images = good_images(folder)
    features = [found.pop(image.name).features for image in images]
    np.testing.assert_array_equal(np.float32(features), featurizer.transform(images))
    assert {name: (row.features, row.reason) for name, row in found.items()} == {
        name: (None, reason) for name, reason in BAD.items()
    }


@pytest.mark.parametrize("n_partitions", [1, 40], ids=["one", "more than images"])
def test_images_can_be_a_dataframe_in_any_partitions(session, fitted, folder, n_partitions):
    known = [(str(path), bytearray(path.read_bytes())) for path in good_images(folder)]
    frame = session.createDataFrame([*known, ("none", None)], "path string, content binary")
    rows = rows_by_name(spark.assign(fitted, frame.repartition(n_partitions)))
    assert labels_of(rows) == predicted(fitted, folder) | {"none": -3}
    assert rows["none"].reason == "the file is empty"


def test_a_fit_depends_on_paths_not_on_partitions(session, featurizer):
    # More rows than the reducer is fitted on, so that a sample is drawn.
    numbers = np.arange(22_000)
    rows = 4 * np.eye(8)[numbers % 5] + np.random.default_rng(0).random((22_000, 8)).round(2)
    known = [(f"image{i}.jpg", row, None) for i, row in zip(numbers, rows.tolist())]
    frame = session.createDataFrame(known, FEATURES)
    first, again = (
        spark.fit(frame.repartition(n), 5, featurizer=featurizer, random_state=0) for n in (1, 3)
    )
    np.testing.assert_array_equal(first.cluster_centers_, again.cluster_centers_)
    found = rows_by_name(spark.assign(first, frame))
    assert adjusted_rand_score(numbers % 5, [found[path].cluster for path, *_ in known]) > 0.99


def test_invalid_input_raises_an_error(session, folder, featurizer, tmp_path):
    with pytest.raises(NoImagesError, match=r"\.jpg"):
        spark.fit(str(tmp_path), 2, featurizer=featurizer)
    with pytest.raises(TooFewImagesError, match=r"n_clusters=25 .*24"):
        spark.fit(str(folder), 25, featurizer=featurizer)
    with pytest.raises(ValueError, match=r"n_clusters.* 0"):
        spark.fit(str(folder), 0, featurizer=featurizer)
    with pytest.raises(InvalidImagesError, match=r"DataFrame.* .*id"):
        spark.assign(None, session.range(3))


OWN_SESSION = """
import sys
from pyspark.sql import SparkSession
from resnet_kmeans import ResNetFeaturizer, spark

folder, weights = sys.argv[1:]
featurizer = ResNetFeaturizer(weights=weights, input_shape=(32, 32), cache=None)
own = spark.extract_features(folder, featurizer).sparkSession
print(own.range(1).rdd.map(lambda _: sys.executable).first())
own.stop()
given = SparkSession.builder.getOrCreate()
spark.extract_features(folder, featurizer)
print(given.sparkContext.pythonExec)
"""


def test_only_a_session_that_the_fit_starts_runs_its_interpreter(folder, stand_in, tmp_path):
    variables = {name: os.environ[name] for name in os.environ if name != "PYSPARK_PYTHON"}
    variables |= {"PATH": "/usr/bin:/bin", "SPARK_LOCAL_IP": "127.0.0.1"}
    command = [sys.executable, "-c", OWN_SESSION, str(folder), str(stand_in)]
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == [sys.executable, "python3"], done.stderr


def test_an_executor_killed_in_the_middle_changes_nothing(
    session, fitted, folder, featurizer, tmp_path
):
    fragile = _fragile(tmp_path)(**featurizer.get_params())
    written = spark.extract_features(str(folder), fragile, str(tmp_path / "features"))
    assert (tmp_path / "killed").exists()
    found = rows_by_name(written)
    images = good_images(folder)
    assert written.count() == len(found) == len(images) + len(BAD)
    features = [found[image.name].features for image in images]
    np.testing.assert_array_equal(np.float32(features), featurizer.transform(images))
    assert {name: row.reason for name, row in found.items() if row.reason} == BAD
    rows = rows_by_name(spark.assign(fitted, written))
    assert labels_of(rows) == predicted(fitted, folder) | dict.fromkeys(BAD, -3)


def _fragile(folder: Path):
    """A featurizer at whose second batch the executor that runs it dies."""

    # Defined in here, it travels to the cluster by value.
    class FragileFeaturizer(ResNetFeaturizer):
        def transform(self, X):
            import os
            import signal
            from pathlib import Path

            def parent(process):
                return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])

            rows = super().transform(X)
            for marker in ("begun", "killed"):
                try:
                    (folder / marker).touch(exist_ok=False)
                except FileExistsError:
                    continue
                if marker == "killed":
                    executor = parent(os.getppid())  # the parent is pyspark's daemon
                    command = Path(f"/proc/{executor}/cmdline").read_bytes()
                    assert b"CoarseGrainedExecutorBackend" in command
                    os.kill(executor, signal.SIGKILL)
                break
            return rows

    return FragileFeaturizer


def test_a_missing_pyspark_raises_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(ImportError, match=r"resnet-kmeans\[spark\]"):
        spark.fit("photos")
