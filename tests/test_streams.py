"""The command's stderr holds its own lines, those of C libraries are dropped."""

import logging
import os
import subprocess
import sys

from resnet_kmeans import ResNetFeaturizer
from resnet_kmeans.cli.streams import log_to_stderr, own_stderr


def test_lines_past_python_are_dropped_while_the_command_runs(capfd, monkeypatch):
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    with own_stderr():
        os.write(2, b"TIFFFetchNormalTag\n")
        print("ours", file=sys.stderr)
    os.write(2, b"later\n")
    print("after", file=sys.stderr)
    assert capfd.readouterr().err.split() == ["ours", "later", "after"]


def test_a_traceback_is_never_dropped():
    program = (
        "from resnet_kmeans.cli.streams import own_stderr\nwith own_stderr(): raise KeyError(7)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "KeyError: 7" in done.stderr


def test_a_replaced_stderr_is_left_alone(capsys):
    replaced = sys.stderr
    with own_stderr():
        assert sys.stderr is replaced
        print("ours", file=sys.stderr)
    assert capsys.readouterr().err == "ours\n"


def test_a_missing_stderr_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with own_stderr():
        assert sys.stderr is None


def test_the_log_is_shown_while_the_command_runs(capsys):
    logger = logging.getLogger("resnet_kmeans.network")
    for quiet in (False, True):
        with log_to_stderr(quiet):
            logger.info("news %s", quiet)
            logger.warning("warned %s", quiet)
    expected = ["news False", "warned False", "warned True"]
    assert capsys.readouterr().err.splitlines() == [f"resnet-kmeans: {line}" for line in expected]
    assert not logging.getLogger("resnet_kmeans").handlers


def test_using_the_package_from_python_redirects_nothing(tiny_network, photo, capfd, monkeypatch):
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    before = os.fstat(2)
    network = {"weights": str(tiny_network), "input_shape": (32, 32), "preprocess": "tf"}
    ResNetFeaturizer(**network).transform([str(photo)])
    assert os.path.samestat(os.fstat(2), before)
    os.write(2, b"still here")
    assert capfd.readouterr().err.endswith("still here")
