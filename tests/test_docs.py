"""README and docstrings say what is so, and what is code in them runs as it stands."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest
from numpydoc.validate import validate

import resnet_kmeans
from resnet_kmeans import ResNetFeaturizer
from resnet_kmeans.cli.parser import _parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS[:2], ids=["first screen", "in Python"])
def test_python_in_the_readme_runs(block, pictures, tmp_path, monkeypatch):
    """With EfficientNet-Lite0 in the place of ResNet50, whose weights may not be to hand."""
    (tmp_path / "photos").symlink_to(pictures)
    (tmp_path / "new-photos").symlink_to(pictures)
    monkeypatch.chdir(tmp_path)
    defaults = ResNetFeaturizer.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "backbone", "efficientnet_lite0")
    exec(compile(block.replace("range(2, 20)", "range(2, 4)"), "README.md", "exec"), {})


@pytest.mark.parametrize(
    "line", re.findall(r"^    resnet-kmeans (.*?)(?:\s+#.*)?$", README, flags=re.MULTILINE)
)
def test_commands_in_the_readme_parse(line):
    assert _parser().parse_args(line.split()).worker


def test_files_that_the_readme_names_are_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_first_screen_installs_and_runs():
    lines = README.splitlines()
    assert any(line.startswith("    pip install") for line in lines[:17])
    assert any(line.startswith("from resnet_kmeans") for line in lines[:35])


@pytest.mark.filterwarnings("ignore::resnet_kmeans.exceptions.UntrainedWeightsWarning")
@pytest.mark.parametrize(
    "module", ["clusterer", "display", "featurizer", "functions", "report.page"]
)
def test_examples_in_docstrings_run(module):
    tried = doctest.testmod(importlib.import_module(f"resnet_kmeans.{module}"))
    assert tried.attempted
    assert not tried.failed


DISPLAYS = ["ClusterMapDisplay", "ContactSheetDisplay", "NClustersDisplay", "SilhouetteDisplay"]


def documented():
    """Yield the full names of what the package offers, methods of classes included."""
    names = [f"resnet_kmeans.{name}" for name in resnet_kmeans.__all__]
    names += [f"resnet_kmeans.display.{name}" for name in DISPLAYS]
    names += ["resnet_kmeans.spark.fit", "resnet_kmeans.spark.assign"]
    for name in names:
        yield name
        module, _, last = name.rpartition(".")
        thing = getattr(importlib.import_module(module), last)
        if inspect.isclass(thing):
            members = [m for m, v in vars(thing).items() if m[0] != "_" and inspect.isfunction(v)]
            yield from (f"{name}.{member}" for member in members)


# What numpydoc asks for and this package does without: the summary on a line of its own
# (numpydoc 1.8), See Also, Examples and Extended Summary everywhere.
LEFT_OUT = {"GL01", "SA01", "EX01", "ES01"}


@pytest.mark.parametrize("name", list(documented()))
def test_public_docstrings_are_as_numpydoc_wants_them(name):
    errors = validate(name)["errors"]
    assert [error for error in errors if error[0] not in LEFT_OUT] == []
