"""OpenVINO's first use in a process: it reports to nobody, and any thread may be the first."""

import os
import subprocess
import sys

import pytest

# A package of that name that tells on stderr whenever it is used, found before the real one.
SPY = """
import sys
print("reported: imported", file=sys.stderr)
class Telemetry:
    def __init__(self, *given, **named): print("reported: started", file=sys.stderr)
    def __getattr__(self, name):
        if name == "backend": raise AttributeError(name)
        return lambda *given, **named: print("reported", file=sys.stderr)
"""
FEATURIZE = """
import sys
import numpy as np
from resnet_kmeans import ResNetFeaturizer

image = np.zeros((40, 40, 3), np.uint8)
featurizer = ResNetFeaturizer(weights=sys.argv[1], input_shape=(32, 32), cache=None)
"""


@pytest.fixture
def spied(tmp_path):
    """Run a program, return what the spy saw."""
    package = tmp_path / "openvino_telemetry"
    package.mkdir()
    (package / "__init__.py").write_text(SPY)
    (package / "backend.py").write_text("backend_ga4 = None")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}

    def run(program, *arguments):
        command = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return [line for line in done.stderr.splitlines() if "reported" in line]

    return run


@pytest.mark.slow
def test_the_spy_sees_what_a_plain_import_reports(spied):
    assert spied("import openvino")


@pytest.mark.slow
def test_features_are_computed_without_a_report_and_others_can_report_afterwards(spied, stand_in):
    program = f"{FEATURIZE}\nfeaturizer.transform([image])\n"
    checked = "assert 'openvino' in sys.modules\nimport openvino_telemetry\n"
    assert spied(program + checked, stand_in) == ["reported: imported"]


@pytest.mark.slow
def test_int8_is_prepared_without_a_report(spied, tiny_network, tmp_path):
    pytest.importorskip("nncf", reason="nncf, the int8 extra, is not installed")
    change = f"precision='int8', preprocess='tf', cache={str(tmp_path / 'cache')!r}"
    program = f"{FEATURIZE}\nfeaturizer.set_params({change}).fit([image])\n"
    assert spied(program + "assert 'nncf' in sys.modules\n", tiny_network) == []


THREADS = """
import threading

sys.setswitchinterval(1e-6)
n_threads = int(sys.argv[2])
start, rows, load = threading.Barrier(n_threads), [], featurizer.transform

def use():
    start.wait()
    rows.append(load([image]))

threads = [threading.Thread(target=use) for _ in range(n_threads)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(rows) == n_threads, len(rows)
assert all((row == rows[0]).all() for row in rows)
"""


@pytest.mark.parametrize("n_threads", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_several_threads_can_be_the_first_to_use_openvino(stand_in, n_threads):
    command = [sys.executable, "-W", "error", "-c", FEATURIZE + THREADS, stand_in, str(n_threads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


FORK = """
import os, signal

rows = featurizer.transform([image])
child = os.fork()
if child == 0:
    signal.alarm(30)
    os._exit(0 if (featurizer.transform([image]) == rows).all() else 1)
assert os.waitpid(child, 0) == (child, 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_process_computes_the_same_rows(stand_in):
    # A network's threads do not survive a fork, so that one loaded before would wait forever.
    command = [sys.executable, "-c", FEATURIZE + FORK, stand_in]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
