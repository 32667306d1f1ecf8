"""While the command runs, stderr holds its own lines; those of C libraries are dropped."""

import logging
import os
import re
import subprocess
import sys

import pytest
from PIL import ImageFile

from resnet_kmeans import ResNetFeaturizer
from resnet_kmeans.cli import main


@pytest.fixture
def cluster(pictures, tmp_path, stand_in):
    """A function that runs the command, which decodes images in its course."""

    def cluster(*more: str) -> int:
        options = ["--dry-run", "--cache", "none", "--weights", str(stand_in), *more]
        return main(["cluster", str(pictures), str(tmp_path / "out"), *options])

    return cluster


@pytest.fixture
def while_decoding(monkeypatch):
    """A function that has another one called with each image that is decoded."""
    load = ImageFile.ImageFile.load

    def use(do):
        def do_and_load(image):
            do()
            return load(image)

        monkeypatch.setattr(ImageFile.ImageFile, "load", do_and_load)

    return use


def test_lines_past_python_are_dropped_while_the_command_runs(
    cluster, while_decoding, capfd, monkeypatch
):
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    while_decoding(lambda: os.write(2, b"TIFFFetchNormalTag\n"))
    assert cluster() == 0
    os.write(2, b"later\n")
    print("after", file=sys.stderr)
    told = capfd.readouterr().err
    assert "TIFFFetchNormalTag" not in told
    assert told.startswith("Looking at 24 images")
    assert told.splitlines()[-2:] == ["later", "after"]


@pytest.mark.parametrize("error", [KeyError, RuntimeError])
def test_an_error_in_the_program_itself_is_never_hidden(cluster, capfd, monkeypatch, error):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    monkeypatch.setattr(os, "walk", fail)
    with pytest.raises(error):
        cluster()
    os.write(2, b"the traceback\n")
    assert capfd.readouterr().err.endswith("the traceback\n")


def test_a_missing_stderr_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["weights"]) == 0
    assert sys.stderr is None


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the redirections are those of a POSIX shell")
@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "<&- >&- 2>&-", ">&-"])
def test_closed_and_failing_streams_stop_no_work(pictures, tmp_path, stand_in, streams):
    command = [sys.executable, "-m", "resnet_kmeans", "cluster", pictures, tmp_path / "out"]
    shell = ["sh", "-c", f'exec "$@" {streams}', "sh", *command, "--weights", stand_in]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "clusters.csv").exists()
    if streams.startswith("2"):
        results = r"(cluster_\d  \d+ images\n)+24 images are in 5 clusters in .*\n"
        assert re.fullmatch(results, done.stdout)
    else:
        assert done.stdout == ""


def test_a_user_without_a_home_is_told_what_to_set(
    pictures, tmp_path, stand_in, capsys, monkeypatch
):
    pwd = pytest.importorskip("pwd", reason="Windows has no such users")

    def know_nobody(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", know_nobody)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "RESNET_KMEANS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    out = str(tmp_path / "out")
    commands = [
        ["cluster", str(pictures), out, "--weights", str(stand_in)],
        ["cache"],
        ["undo", out],
    ]
    for command in commands:
        assert main(command) == 2
        assert "HOME is not set" in capsys.readouterr().err.splitlines()[-1]


def test_memory_that_runs_out_is_an_error_of_one_sentence(cluster, capsys, monkeypatch):
    def fail(*args, **options):
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(os, "walk", fail)
    assert cluster() == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("resnet-kmeans: error: Memory ran out (Unable to allocate 9 GiB)")


def test_long_work_is_seen_in_a_log(pictures, tmp_path, stand_in, capsys, monkeypatch):
    for module in ("features.progress", "export.execution"):
        monkeypatch.setattr(f"resnet_kmeans.{module}.LOG_SECONDS", 0)
    assert main(["cluster", str(pictures), str(tmp_path / "out"), "--weights", str(stand_in)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"resnet-kmeans: Features: 4 of 24 images, \d+ images/s, 0:00:\d+ left", lines[1]
    )
    assert any(line.startswith("resnet-kmeans: Features: 24 of 24 images") for line in lines)
    assert lines[-1] == "resnet-kmeans: 24 of 24 files are in place"


@pytest.mark.parametrize(("options", "shown"), [([], "IW"), (["--quiet"], "W")], ids=["", "quiet"])
def test_the_log_is_shown_while_the_command_runs(cluster, while_decoding, capsys, options, shown):
    logger = logging.getLogger("resnet_kmeans")

    def log():
        logger.info("I was said")
        logger.warning("W was said")

    while_decoding(log)
    assert cluster(*options) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.endswith("was said")]
    assert set(told) == {f"resnet-kmeans: {level} was said" for level in shown}
    log()
    assert capsys.readouterr().err == ""


def test_using_the_package_from_python_redirects_nothing(
    stand_in, photo, while_decoding, capfd, monkeypatch
):
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    while_decoding(lambda: os.write(2, b"shown\n"))
    ResNetFeaturizer(weights=stand_in, cache=None).transform([photo])
    os.write(2, b"still here\n")
    assert list(dict.fromkeys(capfd.readouterr().err.splitlines())) == ["shown", "still here"]
