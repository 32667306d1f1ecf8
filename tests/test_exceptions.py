"""Errors say what was expected, got, done, next; they survive a worker process."""

import pickle

import pytest

from resnet_kmeans import exceptions
from resnet_kmeans.exceptions import list_reasons, printable

EXAMPLES = [
    exceptions.FolderNotFoundError("gone"),
    exceptions.NoImagesError("folder", [".jpg"]),
    exceptions.InvalidImagesError("a float at position 3"),
    exceptions.DecodeError("the file is empty"),
    exceptions.UnreadableImagesError({"a.jpg": "the file is empty"}),
    exceptions.TooFewImagesError(3, 5),
    exceptions.WeightsNotFoundError("file.h5", "no connection"),
    exceptions.WeightsFileError("file.h5", "ResNet50", "shapes differ"),
    exceptions.ConstantFeaturesError("all 24 images"),
    exceptions.WeightsMismatchError("a" * 64, "b" * 64),
    exceptions.UnreadableImagesWarning({"a.jpg": "the file is empty"}),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_can_be_pickled_by_worker_processes(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)


@pytest.mark.parametrize(
    "error",
    [e for e in EXAMPLES if not isinstance(e, (exceptions.DecodeError, Warning))],
    ids=lambda error: type(error).__name__,
)
def test_messages_state_what_was_expected_got_and_done(error):
    assert str(error).startswith("Expected")
    assert "got" in str(error)
    assert any(word in str(error) for word in ("Nothing", "No features", "nothing was"))


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
