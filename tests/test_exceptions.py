"""Errors name what was wrong and what to do; they survive a worker process and harm no terminal."""

import pickle

import pytest

from resnet_kmeans import exceptions
from resnet_kmeans.exceptions import list_reasons, printable

EXAMPLES = [  # each with what its message must name
    (exceptions.FolderNotFoundError("gone"), ["gone"]),
    (exceptions.NoImagesError("folder", [".jpg"]), ["folder", ".jpg"]),
    (exceptions.InvalidImagesError("a float at position 3"), ["a float at position 3", "[path]"]),
    (exceptions.DecodeError("the file is empty"), ["the file is empty"]),
    (
        exceptions.UnreadableImagesError({"a.jpg": "the file is empty"}),
        ["a.jpg: the file is empty", "unreadable="],
    ),
    (exceptions.TooFewImagesError(3, 5), ["n_clusters=5", "3"]),
    (exceptions.WeightsNotFoundError("file.h5", "no connection"), ["file.h5", "no connection"]),
    (exceptions.WeightsFileError("file.h5", "ResNet50", "shapes differ"), ["file.h5", "ResNet50"]),
    (exceptions.ConstantFeaturesError("all 24 images"), ["all 24 images", "layer"]),
    (exceptions.WeightsMismatchError("a" * 64, "b" * 64), ["aaaaaaaa", "bbbbbbbb"]),
    (exceptions.WorkerError(2), ["2 worker processes", "--jobs", "n_jobs"]),
    (exceptions.ModelNotFoundError("got no file"), ["got no file"]),
    (exceptions.FewerClustersWarning(9, 8), ["n_clusters=9", "8 clusters"]),
    (exceptions.UnreadableImagesWarning({"a.jpg": "the file is empty"}), ["a.jpg: the file is"]),
]


@pytest.mark.parametrize(
    ("error", "named"), EXAMPLES, ids=[type(error).__name__ for error, _ in EXAMPLES]
)
def test_errors_name_what_was_wrong_also_after_a_worker_process(error, named):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert [words for words in named if words not in str(copy)] == []
    assert type(error).__new__(type(error), *error.args).args == error.args  # as Dask's workers do


def test_all_errors_share_a_base_class():
    errors = [
        value
        for value in vars(exceptions).values()
        if isinstance(value, type)
        and issubclass(value, Exception)
        and value.__module__ == exceptions.__name__
        and not issubclass(value, Warning)
    ]
    assert len(errors) > 10
    assert all(issubclass(error, exceptions.ResNetKMeansError) for error in errors)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b ä.jpg", "a b ä.jpg"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb", "a\\nb"),
        ("\udcff", "\\udcff"),
        ("\u202egpj", "\\u202egpj"),
    ],
    ids=["plain", "escape code", "newline", "invalid UTF-8", "right to left"],
)
def test_control_characters_never_reach_a_terminal(text, shown):
    assert printable(text) == shown


def test_a_long_list_is_cut_and_counted():
    reasons = {f"{i}.jpg": "empty" for i in range(7)}
    assert list_reasons(reasons, 5).splitlines()[-1] == "  and 2 more"
    assert len(list_reasons(reasons).splitlines()) == 7
