"""README and docstrings say what is so, and what is code in them runs as it stands."""

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
from pathlib import Path

import pytest
from numpydoc.validate import validate

import resnet_kmeans
from resnet_kmeans import ResNetFeaturizer
from resnet_kmeans.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def run_block(block, pictures, folder, monkeypatch, **defaults):
    """Run a block of the README on drawn pictures, with other defaults of the featurizer."""
    (folder / "photos").symlink_to(pictures)
    (folder / "new-photos").symlink_to(pictures)
    monkeypatch.chdir(folder)
    for name, value in defaults.items():
        monkeypatch.setitem(ResNetFeaturizer.__init__.__kwdefaults__, name, value)
    exec(compile(block.replace("range(2, 20)", "range(2, 4)"), "README.md", "exec"), {})


def test_the_readme_shows_the_package_in_python():
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_in_the_readme_runs(block, pictures, tmp_path, stand_in, monkeypatch):
    run_block(block, pictures, tmp_path, monkeypatch, weights=stand_in)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_in_the_readme_runs_on_a_real_network(block, pictures, tmp_path, monkeypatch):
    """With EfficientNet-Lite0 in the place of ResNet50, whose weights may not be to hand."""
    monkeypatch.setenv("RESNET_KMEANS_BACKBONE", "efficientnet_lite0")
    run_block(block, pictures, tmp_path, monkeypatch, backbone="efficientnet_lite0")


@pytest.mark.parametrize(
    "line", re.findall(r"^    resnet-kmeans (.*?)(?:\s+#.*)?$", README, flags=re.MULTILINE)
)
def test_commands_in_the_readme_are_understood(line, tmp_path, monkeypatch, capsys):
    # Where none of their folders is there, and each new file is, they end with an error of their
    # own. A command that is not understood exits with its usage.
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)
    for word in words[1:]:
        if word.endswith((".keras", "-out")):
            Path(word).mkdir()
            Path(word, "occupied").touch()
    try:
        assert main(words) == 2
    except SystemExit:
        pytest.fail(capsys.readouterr().err)


def test_files_that_the_readme_names_are_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_first_screen_installs_and_runs():
    lines = README.splitlines()
    assert any(line.startswith("    pip install") for line in lines[:17])
    assert any(line.startswith("from resnet_kmeans") for line in lines[:35])


def modules():
    """Yield all modules of the package but the one that is the command."""
    yield resnet_kmeans
    for found in pkgutil.walk_packages(resnet_kmeans.__path__, "resnet_kmeans."):
        if not found.name.endswith(".__main__"):
            yield importlib.import_module(found.name)


def examples(are_slow):
    """Yield the docstrings whose examples run a network, or all others that have examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for module in modules() for test in finder.find(module)]
    for test in found:
        run = [e.source for e in test.examples if not e.options.get(doctest.SKIP)]
        takes_network = re.search(r"weights=None|(Featurizer|Clusterer)\(|spark", "".join(run))
        if run and bool(takes_network) == are_slow:
            yield pytest.param(test, id=test.name)


def run_example(test, folder, monkeypatch):
    monkeypatch.chdir(folder)
    told = []
    tried = doctest.DocTestRunner().run(test, out=told.append)
    assert not tried.failed, "".join(told)


@pytest.mark.parametrize("test", list(examples(are_slow=False)))
def test_examples_in_docstrings_run(test, tmp_path, monkeypatch):
    run_example(test, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::resnet_kmeans.exceptions.UntrainedWeightsWarning")
@pytest.mark.parametrize("test", list(examples(are_slow=True)))
def test_examples_in_docstrings_run_on_a_real_network(test, tmp_path, monkeypatch):
    run_example(test, tmp_path, monkeypatch)


def documented():
    """Yield the full names of what the package offers, methods of classes included."""
    names = [f"resnet_kmeans.{name}" for name in resnet_kmeans.__all__]
    for module in ("display", "spark"):
        home = importlib.import_module(f"resnet_kmeans.{module}")
        public = [name for name in vars(home) if name[0] != "_"]
        own = [name for name in public if is_of(getattr(home, name), home)]
        names += [f"{home.__name__}.{name}" for name in getattr(home, "__all__", own)]
    for name in names:
        yield name
        module, _, last = name.rpartition(".")
        thing = getattr(importlib.import_module(module), last)
        if inspect.isclass(thing):
            members = [m for m, v in vars(thing).items() if m[0] != "_" and inspect.isfunction(v)]
            yield from (f"{name}.{member}" for member in members)


def is_of(thing, module):
    return callable(thing) and getattr(thing, "__module__", "") == module.__name__


# What numpydoc asks for and this package does without: the summary on a line of its own
# (numpydoc 1.8), See Also, Examples and Extended Summary everywhere.
LEFT_OUT = {"GL01", "SA01", "EX01", "ES01"}


@pytest.mark.parametrize("name", list(documented()))
def test_public_docstrings_are_as_numpydoc_wants_them(name):
    errors = validate(name)["errors"]
    assert [error for error in errors if error[0] not in LEFT_OUT] == []
