"""While the command runs, stderr holds its own lines; those of C libraries are dropped."""

import logging
import os
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


def test_an_error_in_the_program_itself_is_never_hidden(cluster, capfd, monkeypatch):
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    monkeypatch.setattr(os, "walk", lambda *args, **options: {}["no such key"])
    with pytest.raises(KeyError):
        cluster()
    os.write(2, b"the traceback\n")
    assert capfd.readouterr().err.endswith("the traceback\n")


def test_a_missing_stderr_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["weights"]) == 0
    assert sys.stderr is None


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
