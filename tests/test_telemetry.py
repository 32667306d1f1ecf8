"""Nothing is reported to anybody: what would report is never imported."""

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


@pytest.fixture
def spied(tmp_path, monkeypatch):
    """Run a program, return what the spy saw."""
    package = tmp_path / "openvino_telemetry"
    package.mkdir()
    (package / "__init__.py").write_text(SPY)
    (package / "backend.py").write_text("backend_ga4 = None")
    monkeypatch.syspath_prepend(tmp_path)

    def run(program):
        program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{program}"
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stderr.count("reported")

    return run


def test_the_spy_sees_what_a_plain_import_reports(spied):
    assert spied("import openvino")


def test_importing_openvino_reports_nothing(spied):
    program = (
        "from resnet_kmeans.network.libraries import import_openvino\nimport_openvino().Core()"
    )
    assert not spied(program)


def test_importing_nncf_reports_nothing(spied):
    pytest.importorskip("nncf", reason="nncf, the int8 extra, is not installed")
    assert not spied("from resnet_kmeans.network.libraries import import_nncf\nimport_nncf()")


def test_others_can_import_the_reporter_afterwards():
    program = (
        "import sys, types\n"
        "from resnet_kmeans.network.libraries import import_openvino\n"
        "theirs = sys.modules['openvino_telemetry'] = types.ModuleType('openvino_telemetry')\n"
        "import_openvino()\n"
        "assert sys.modules.pop('openvino_telemetry') is theirs\n"
        "del sys.modules['openvino']\n"
        "import_openvino()\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


FIRST_USES = """
import sys, threading
from resnet_kmeans.network.libraries import import_openvino

sys.setswitchinterval(1e-6)
openvino = import_openvino()
start = threading.Barrier(4)

def use():
    start.wait()
    openvino.Type.u8.to_dtype()

threads = [threading.Thread(target=use) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("attempt", range(5))
def test_several_threads_can_use_openvino_first(attempt):
    # Without a use at import, half of such processes hang.
    subprocess.run([sys.executable, "-c", FIRST_USES], check=True, timeout=60)
