"""A look at the machine tells what to compute on, before anything heavy is imported."""

import os

import pytest

from resnet_kmeans.network.libraries import cpu_has_bfloat16, cpu_precision, may_have_gpu


@pytest.mark.parametrize(
    ("present", "visible", "expected"),
    [
        ("/dev/nvidia0", None, True),
        ("/proc/driver/nvidia/gpus", "0", True),
        ("/dev/dxg", None, True),
        ("/dev/null", None, False),
        ("/dev/nvidia0", "-1", False),
        ("/dev/nvidia0", "", False),
    ],
)
def test_a_gpu_is_detected_by_its_device_files_unless_hidden(
    monkeypatch, present, visible, expected
):
    monkeypatch.setattr(os.path, "exists", lambda path: path == present)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert may_have_gpu() == expected


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16", "bf16", "avx2"])
def test_bfloat16_is_detected_by_processor_flags(monkeypatch, flag):
    monkeypatch.setattr("pathlib.Path.read_text", lambda path: f"flags : fpu {flag} sse")
    assert cpu_has_bfloat16() == (flag != "avx2")
    assert cpu_precision("auto") == ("float32" if flag == "avx2" else "bfloat16")
    assert cpu_precision("float32") == "float32"


def test_bfloat16_is_not_assumed_without_processor_flags(monkeypatch):
    def refuse(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    assert not cpu_has_bfloat16()
