"""The work on a Spark cluster: in one process, then on a real one whose worker is killed."""

import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer, find_images, spark
from resnet_kmeans.exceptions import (
    InvalidImagesError,
    NoImagesError,
    OutputFolderError,
    TooFewImagesError,
)
from resnet_kmeans.spark import driver
from resnet_kmeans.spark.worker import FEATURES, Featurize
import os
TEST_ALL = bool(os.environ.get("RESNET_KMEANS_TEST_ALL"))

pyspark = pytest.importorskip("pyspark", reason="pyspark, the spark extra, is not installed")
JAVA = shutil.which("java") or os.environ.get("JAVA_HOME")
needs_java = pytest.mark.skipif(not JAVA, reason="there is no Java to run Spark on")
pytestmark = [
    # Said of every DataFrame that pyspark 4 makes next to pandas 3; we make none with it.
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    # Spark's sockets to its own JVM are closed by the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
LOCAL = pytest.mark.parametrize("session", ["local[2]"], indirect=True)
STANDALONE = pytest.mark.parametrize("session", ["standalone"], indirect=True)
N_CLUSTERS = 4
BAD = {
    "broken.png": "not an image, or in a format that Pillow cannot read",
    "huge.jpg": "Spark could not read the file, or it is larger than 1 GiB",
}


@pytest.fixture(scope="module")
def session(request, tmp_path_factory):
    """A Spark session, either in this process or on a master and two workers."""
    from pyspark.sql import SparkSession

    folder = tmp_path_factory.mktemp("spark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setattr(driver, "N_STARTS", 1)  # for speed
        # As is this: the first compiler of Java alone, and one thread that collects garbage.
        patch.setenv("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        cluster = _start_cluster(folder) if request.param == "standalone" else []
        master = cluster[0].url if cluster else request.param
        try:
            builder = SparkSession.builder.master(master).config("spark.ui.enabled", False)
            builder = builder.config("spark.sql.shuffle.partitions", 2)
            # Four files in a task: they count 4 MiB each, however small they are.
            builder = builder.config("spark.sql.files.maxPartitionBytes", 16 * 2**20)
            builder = builder.config("spark.executor.memory", "512m")
            made = builder.config("spark.sql.warehouse.dir", str(folder)).getOrCreate()
            made.sparkContext.setLogLevel("OFF")  # the losses that we cause are not news
            yield made
            made.stop()
        finally:
            for daemon in cluster:
                daemon.stop()


class Daemon:
    """A master or a worker of Spark's own, as a process of its own."""

    def __init__(self, folder: Path, name: str, *arguments: str):
        home = Path(pyspark.__file__).parent
        self.log = folder / f"{name}.log"
        command = [home / "bin" / "spark-class", f"org.apache.spark.deploy.{name}", *arguments]
        environment = {**os.environ, "SPARK_HOME": str(home), "SPARK_NO_DAEMONIZE": "1"}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def wait_for(self, pattern: str) -> str:
        for _ in range(600):
            if found := re.search(pattern, self.log.read_text(errors="replace")):
                return found[0]
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        raise AssertionError(f"no {pattern} in a minute:\n{self.log.read_text()}")

    @property
    def url(self) -> str:
        return self.wait_for(r"spark://127\.0\.0\.1:\d+")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def _start_cluster(folder: Path) -> list[Daemon]:
    master = Daemon(folder, "master.Master", *_place(folder / "master"))
    size = ("--cores", "1", "--memory", "1g")
    workers = []
    for name in ("first", "second"):
        (folder / name).mkdir()
        where = (*_place(folder / name), "--work-dir", str(folder / name))
        workers.append(Daemon(folder / name, "worker.Worker", *size, *where, master.url))
    for worker in workers:
        worker.wait_for("Successfully registered with master")
    return [master, *workers]


def _place(folder: Path) -> tuple[str, ...]:
    return "--host", "127.0.0.1", "--port", "0", "--webui-port", "0"


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
def featurizer(tiny_network):
    return ResNetFeaturizer(
        weights=str(tiny_network), input_shape=(32, 32), preprocess="caffe", cache=None
    )


@pytest.fixture(scope="module")
def fitted(session, folder, featurizer):
    return spark.fit(str(folder), N_CLUSTERS, featurizer=featurizer, random_state=0)


def rows_by_name(frame):
    return {Path(row.path.removeprefix("file:")).name: row for row in frame.collect()}


def labels_of(rows):
    return {name: row.cluster for name, row in rows.items()}


def predicted(model, folder):
    """What the model says on this machine, of the images that Spark can read."""
    images = [path for path in find_images(folder) if path.name not in BAD]
    return {path.name: label for path, label in zip(images, model.predict(images).tolist())}


@needs_java
@LOCAL
def test_assign_returns_the_labels_of_a_single_machine(session, fitted, folder):
    rows = rows_by_name(spark.assign(fitted, str(folder)))
    assert {name: row.reason for name, row in rows.items() if row.cluster == -1} == BAD
    assert all(row.distance is None for row in rows.values() if row.cluster == -1)
    good = {name: row for name, row in rows.items() if name not in BAD}
    assert labels_of(good) == predicted(fitted, folder)
    assert sum(row.distance**2 for row in good.values()) == pytest.approx(fitted.inertia_, 1e-3)


@needs_java
@LOCAL
def test_a_fit_agrees_with_that_of_a_single_machine(session, fitted, folder, featurizer):
    images = [path for path in find_images(folder) if path.name not in BAD]
    alone = ImageFolderClusterer(N_CLUSTERS, featurizer=featurizer, random_state=0).fit(images)
    score = adjusted_mutual_info_score(alone.labels_, list(predicted(fitted, folder).values()))
    assert score > 0.8
    assert fitted.get_params()["featurizer"] is featurizer
    assert fitted.inertia_ < 1.1 * alone.inertia_


@needs_java
@LOCAL
def test_the_fitted_model_saves_loads_and_pickles(session, fitted, folder, tmp_path):
    expected = predicted(fitted, folder)
    fitted.save(tmp_path / "model.safetensors")
    loaded = ImageFolderClusterer.load(tmp_path / "model.safetensors")
    assert predicted(loaded, folder) == expected
    assert predicted(pickle.loads(pickle.dumps(fitted)), folder) == expected


@needs_java
@LOCAL
def test_features_in_parquet_replace_images(session, fitted, folder, featurizer, tmp_path):
    path = str(tmp_path / "features")
    model = spark.fit(
        str(folder), N_CLUSTERS, featurizer=featurizer, random_state=0, features_path=path
    )
    np.testing.assert_allclose(model.cluster_centers_, fitted.cluster_centers_, rtol=1e-5)
    rows = rows_by_name(spark.assign(model, session.read.parquet(path)))
    assert labels_of(rows) == predicted(model, folder) | dict.fromkeys(BAD, -1)
    assert {name: row.reason for name, row in rows.items() if row.cluster == -1} == BAD
    with pytest.raises(OutputFolderError, match=r"(?s)new folder .*features.*Nothing was comp"):
        spark.extract_features(str(folder), featurizer, path)


@needs_java
@LOCAL
def test_images_can_be_a_dataframe(session, fitted, folder):
    images = [path for path in find_images(folder) if path.name not in BAD]
    known = [(str(path), bytearray(path.read_bytes())) for path in images]
    frame = session.createDataFrame([*known, ("none", None)], "path string, content binary")
    rows = rows_by_name(spark.assign(fitted, frame))
    assert labels_of(rows) == predicted(fitted, folder) | {"none": -1}
    assert rows["none"].reason == "the file is empty"


@needs_java
@LOCAL
def test_a_sample_depends_on_paths_not_on_partitions(session, monkeypatch):
    monkeypatch.setattr(driver, "SAMPLE_ROWS", 100)
    rows = [(f"image{i}.jpg", [float(i), 1.0], None) for i in range(1000)]
    frame = session.createDataFrame(rows, FEATURES)
    sample = driver._sample(frame.repartition(1), 1000, seed=0)
    assert 60 < len(sample) < 140
    again = driver._sample(frame.repartition(7), 1000, seed=0)
    np.testing.assert_array_equal(sample, again)
    other = driver._sample(frame, 1000, seed=1)
    assert set(sample[:, 0]) != set(other[:, 0])


@needs_java
@LOCAL
def test_invalid_input_raises_an_error(session, folder, featurizer, tmp_path):
    with pytest.raises(NoImagesError, match=r"at least one image .*\.jpg"):
        spark.fit(str(tmp_path), 2, featurizer=featurizer)
    with pytest.raises(TooFewImagesError, match="n_clusters=25 readable images, got 24"):
        spark.fit(str(folder), 25, featurizer=featurizer)
    with pytest.raises(ValueError, match="n_clusters to be 2 or more, as MLlib requires, got 1"):
        spark.fit(str(folder), 1, featurizer=featurizer)
    with pytest.raises(InvalidImagesError, match=r"DataFrame with the columns .*id"):
        spark.assign(None, session.range(3))


@needs_java
@STANDALONE
@pytest.mark.skipif(not TEST_ALL, reason="takes half a minute; RESNET_KMEANS_TEST_ALL is not set")
def test_a_worker_killed_in_the_middle_changes_nothing(session, folder, featurizer, tmp_path):
    fragile = _fragile(tmp_path)(**featurizer.get_params())
    path = str(tmp_path / "features")
    model = spark.fit(
        str(folder), N_CLUSTERS, featurizer=fragile, random_state=0, features_path=path
    )
    assert (tmp_path / "killed").exists()
    found = rows_by_name(session.read.parquet(path))
    images = [image for image in find_images(folder) if image.name not in BAD]
    assert set(found) == {image.name for image in images} | set(BAD)
    features = [found[image.name].features for image in images]
    np.testing.assert_array_equal(np.float32(features), featurizer.transform(images))
    rows = rows_by_name(spark.assign(model, str(folder)))
    assert labels_of(rows) == predicted(model, folder) | dict.fromkeys(BAD, -1)


def _fragile(folder: Path):
    """A featurizer at whose second batch an executor dies, with the worker that runs it."""

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
                    worker = parent(executor)
                    assert b"deploy.worker.Worker" in Path(f"/proc/{worker}/cmdline").read_bytes()
                    os.kill(worker, signal.SIGKILL)
                    os.kill(executor, signal.SIGKILL)
                break
            return rows

    return FragileFeaturizer


def test_batches_without_rows_or_content_are_handled(featurizer, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow, of the spark extra, is missing")
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "7")
    schema = pyarrow.schema({"path": "string", "content": "binary"})
    batches = [
        pyarrow.RecordBatch.from_pylist(rows, schema)
        for rows in ([], [{"path": "a", "content": None}, {"path": "b", "content": b"junk"}])
    ]
    step = Featurize(featurizer.set_params(unreadable="nan").fit([b""]), None)
    none, bad = (batch.to_pylist() for batch in step(iter(batches)))
    assert none == []
    assert [row["features"] for row in bad] == [None, None]
    assert [row["reason"] for row in bad] == ["the file is empty", BAD["broken.png"]]
    assert os.environ["LOKY_MAX_CPU_COUNT"] == "1"  # bounds what decodes and what computes


def test_a_missing_pyspark_raises_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(ImportError, match=r"needs the spark extra: .*resnet-kmeans\[spark\]"):
        spark.fit("photos")
