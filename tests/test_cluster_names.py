"""A cluster's name is one that every file system takes for a folder."""

import os

import numpy as np
import pytest

from resnet_kmeans.cluster_names import (
    check_cluster_names,
    default_cluster_names,
    reason_invalid,
    renamed,
)
from resnet_kmeans.exceptions import ClusterNameError

INVALID = {
    "": "empty",
    "  ": "empty",
    "a/b": "takes /",
    "a\\b": r"takes \\",
    "a:b?": r"takes : \?",
    "a\tb": "control",
    "a\u2028b": "line breaks",
    "a\x7f": "control",
    "a\udce9": "no valid Unicode",
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
    "ü" * 128: "256 bytes long, 255 are the most",
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
def test_what_no_file_system_takes_is_refused_with_the_reason(name, reason):
    with pytest.raises(ClusterNameError, match=f"(?s)folders on every system.*{reason}"):
        check_cluster_names([name])


def test_what_is_no_text_is_refused():
    with pytest.raises(ClusterNameError, match="3: of type int, no text"):
        check_cluster_names([3])


@pytest.mark.parametrize("name", VALID)
def test_what_every_file_system_takes_is_a_name(name, tmp_path):
    assert reason_invalid(name) == ""
    (tmp_path / name).mkdir()
    assert os.listdir(tmp_path) == [name]


def test_all_bad_names_are_told_at_once():
    with pytest.raises(ClusterNameError, match=r"(?s)a/b: .*\n  con: .*\nNothing was changed"):
        check_cluster_names(["a/b", "cats", "con"])


def test_equal_names_are_a_merge():
    check_cluster_names(["cats", "dogs", "cats"])


@pytest.mark.parametrize("other", ["Café", "cafe\u0301"], ids=["case", "accent"])
def test_names_that_are_one_folder_on_some_systems_only_are_refused(other):
    with pytest.raises(ClusterNameError, match="some file systems take it for 'café'"):
        check_cluster_names(["café", other])


@pytest.mark.parametrize("given", [["a", "b", "c"], {2: "c", 0: "a", 1: "b"}], ids=["list", "all"])
def test_all_names_are_given_by_a_list_or_by_labels(given):
    assert renamed(["x", "y", "z"], given) == ["a", "b", "c"]


def test_a_mapping_leaves_the_other_names_as_they_are():
    assert renamed(["x", "y", "z"], {np.int32(1): "x"}) == ["x", "x", "z"]


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (["a"], "got 1"),
        ("abc", "got 1"),
        ({3: "a", 0: "b"}, "got those of 3 too"),
        ({"0": "a"}, "got those of '0' too"),
    ],
    ids=str,
)
def test_names_of_other_clusters_are_refused(given, got):
    with pytest.raises(ClusterNameError, match=rf"3 clusters, labels 0 to 2, {got}.*a list of 3"):
        renamed(["x", "y", "z"], given)


@pytest.mark.parametrize("given", [["con", "a", "b"], {0: "con"}], ids=["list", "mapping"])
def test_no_cluster_is_named_what_is_no_name(given):
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
