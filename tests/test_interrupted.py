"""Only the same command resumes an interrupted export, with everything it was asked to do."""

import functools
import shutil

import pytest

from resnet_kmeans.cli import clusters, main
from resnet_kmeans.export import execution, unfinished_journal
from tests.test_exporter import contents


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def options(tiny_network, monkeypatch):
    small = functools.partial(clusters.ResNetFeaturizer, input_shape=(32, 32))
    monkeypatch.setattr(clusters, "ResNetFeaturizer", small)
    return ["--weights", tiny_network, "--preprocess", "tf", "--quiet", "-k", 3]


@pytest.fixture
def interrupt(monkeypatch):
    """A function that runs a command that Ctrl-C stops before its n-th image."""

    def interrupted(n, *arguments):
        place_file, seen = execution.place_file, []

        def stop(*args):
            seen.append(args)
            if len(seen) == n:
                raise KeyboardInterrupt
            place_file(*args)

        with monkeypatch.context() as patch:
            patch.setattr(execution, "place_file", stop)
            assert run(*arguments) == 130

    return interrupted


@pytest.fixture
def photos(pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "in")
    return tmp_path / "in"


@pytest.mark.parametrize("action", ["copy", "move"])
def test_every_other_command_is_refused_and_says_how_to_finish_or_undo(
    photos, pictures, tmp_path, options, interrupt, capsys, action
):
    out, base = tmp_path / "out", ["cluster", photos, tmp_path / "out", *options]
    interrupt(5, *base, "--action", action, "--save-model", tmp_path / "model")
    before = contents(tmp_path)
    others = [
        [*base, "--action", "hardlink"],
        [*base[:-1], 4, "--action", action],
        [*base, "--seed", 1, "--action", action],
        ["cluster", pictures, *base[2:], "--action", action],
        ["assign", tmp_path / "model", photos, out, "--quiet"],
        ["report", out],
        ["rename", out, 0, "cats"],
        ["split", out, 0, "--quiet"],
        ["add", out, pictures, "--quiet"],
    ]
    for other in others:
        capsys.readouterr()
        assert run(*other) == 2, other
        said = capsys.readouterr().err
        assert "was interrupted" in said, other
        assert f"resnet-kmeans finish {out}" in said, other
        assert "or undo it with" in said, other
        assert contents(tmp_path) == before, other


@pytest.mark.parametrize("way", ["again", "finish"])
def test_a_resumed_command_also_writes_the_report_and_the_model(
    photos, tmp_path, options, interrupt, capsys, way
):
    out, model = tmp_path / "out", tmp_path / "model"
    command = ["cluster", photos, out, *options, "--action", "move", "--report"]
    interrupt(5, *command, "--save-model", model)
    model.unlink()
    assert run(*(command if way == "again" else ["finish", out])) == 0
    assert (out / "report.html").exists()
    assert model.exists()
    assert "24 images are in 3 clusters" in capsys.readouterr().out
    assert run("finish", out) == 0
    assert "Nothing was interrupted" in capsys.readouterr().out


def test_ctrl_c_says_what_was_done_and_what_to_do_next(
    photos, tmp_path, options, interrupt, capsys, monkeypatch
):
    out = tmp_path / "out"
    command = ["cluster", photos, out, *options, "--action"]

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(clusters, "export_clusters", stop)
        assert run(*command, "move") == 130
    assert "No image was touched. Run the command again" in capsys.readouterr().err
    interrupt(5, *command, "move")
    said = capsys.readouterr().err
    assert f"resnet-kmeans finish {out}, or undo it: resnet-kmeans undo {out}" in said
    assert run("undo", out) == 0
    with monkeypatch.context() as patch:
        patch.setattr(clusters, "write_page", stop)
        assert run(*command, "copy", "--report") == 130
    assert (
        f"is complete. To write its report: resnet-kmeans report {out}" in capsys.readouterr().err
    )
    assert unfinished_journal(out) is None
