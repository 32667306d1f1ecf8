"""Each example runs as it stands, offline, on a small folder and a real network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]_*.py"))
# What each takes besides a folder, prints, and leaves behind.
EXPECTED = {
    "1": (["PICTURES"], " -> ", ["clusters/clusters.csv", "clusters/report.html"]),
    "2": ([], "10 clusters: modularity", ["model.safetensors"]),
    "3": ([], "modularity", []),
    "4": (["--backbone", "efficientnet_lite0"], " images in clusters/", ["features"]),
}


def run_example(path, folder, *arguments):
    command = [sys.executable, "-W", "error::FutureWarning", path, *map(str, arguments)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_does_what_it_says(path, real_pictures, pictures, tmp_path):
    given, said, files = EXPECTED[path.name[0]]
    more = [pictures if argument == "PICTURES" else argument for argument in given]
    done = run_example(path, tmp_path, real_pictures, *more)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert [name for name in files if not (tmp_path / name).exists()] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_is_a_question_of_at_most_50_lines_in_the_table(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 50
    assert lines[0].startswith('"""I ') or lines[0].endswith("?")
    assert f"[{path.name}]({path.name})" in (path.parent / "README.md").read_text()
