"""A cluster's name is one that every file system takes for a folder."""

import os

import numpy as np
import pytest

from resnet_kmeans._folder_names import (
    check_cluster_names,
    default_cluster_names,
    reason_invalid,
    renamed,
)
from resnet_kmeans.exceptions import ClusterNameError

INVALID = {
    "": "empty",
    "  ": "empty",
    "a/b": "forbid /",
    "a\\b": r"forbid \\",
    "a:b?": r"forbid : \?",
    "a\tb": "control",
    "a\u2028b": "line breaks",
    "a\x7f": "control",
    "a\udce9": "invalid Unicode",
    "cats.": "dot",
    "cats ": "space",
    " cats": "space",
    "..": "dot",
    ".cats": "hides",
    "_set_aside": "underscore",
    "CON": "device",
    "nul.tar.gz": "device",
    "Com1": "device",
    "lpt²": "device",
    "aux .x": "device",
    "Clusters.CSV": "an export has a file",
    "report.html": "an export has a file",
    "ü" * 128: "256 bytes long, the maximum is 255",
}
VALID = [
    "cats",
    "cluster_0",
    "my cats",
    "a.b",
    "con artist",
    "comma",
    "ü" * 127,
    "-x",
    "👩‍🚀",
    "猫",
]


@pytest.mark.parametrize(("name", "reason"), INVALID.items(), ids=ascii)
def test_invalid_names_raise_an_error_with_the_reason(name, reason):
    with pytest.raises(ClusterNameError, match=f"(?s)folders on every system.*{reason}"):
        check_cluster_names([name])


def test_a_name_that_is_not_a_string_raises_an_error():
    with pytest.raises(ClusterNameError, match="3: of type int, not a string"):
        check_cluster_names([3])


@pytest.mark.parametrize("name", VALID)
def test_valid_names_are_accepted_and_can_be_folders(name, tmp_path):
    assert reason_invalid(name) == ""
    (tmp_path / name).mkdir()
    assert os.listdir(tmp_path) == [name]


def test_one_error_lists_all_invalid_names():
    with pytest.raises(ClusterNameError, match=r"(?s)a/b: .*\n  con: .*\nNothing was changed"):
        check_cluster_names(["a/b", "cats", "con"])


def test_equal_names_are_allowed():
    check_cluster_names(["cats", "dogs", "cats"])


@pytest.mark.parametrize("other", ["Café", "cafe\u0301"], ids=["case", "accent"])
def test_names_that_only_some_file_systems_distinguish_raise_an_error(other):
    with pytest.raises(ClusterNameError, match="some file systems treat it as 'café'"):
        check_cluster_names(["café", other])


@pytest.mark.parametrize("given", [["a", "b", "c"], {2: "c", 0: "a", 1: "b"}], ids=["list", "all"])
def test_renaming_takes_a_list_or_a_mapping_of_labels(given):
    assert renamed(["x", "y", "z"], given) == ["a", "b", "c"]


def test_a_mapping_leaves_the_other_names_unchanged():
    assert renamed(["x", "y", "z"], {np.int32(1): "x"}) == ["x", "x", "z"]


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (["a"], "got 1"),
        ("abc", "got 1"),
        ({3: "a", 0: "b"}, "got names for 3 too"),
        ({"0": "a"}, "got names for '0' too"),
    ],
    ids=str,
)
def test_unknown_labels_and_wrong_numbers_of_names_raise_an_error(given, got):
    with pytest.raises(
        ClusterNameError, match=rf"3 clusters, labels 0 to 2, {got}.*[Pp]ass a list of 3"
    ):
        renamed(["x", "y", "z"], given)


@pytest.mark.parametrize("given", [["con", "a", "b"], {0: "con"}], ids=["list", "mapping"])
def test_renaming_checks_the_names(given):
    with pytest.raises(ClusterNameError, match="con: Windows"):
        renamed(["x", "y", "z"], given)


@pytest.mark.parametrize(
    ("n_clusters", "last"), [(1, "cluster_0"), (10, "cluster_9"), (11, "cluster_10")]
)
def test_default_names_are_padded_to_equal_width(n_clusters, last):
    names = default_cluster_names(n_clusters)
    assert names[-1] == last
    assert len(names) == n_clusters
    assert len({len(name) for name in names}) == 1
    check_cluster_names(names)
