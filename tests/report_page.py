"""Reads the page of a report as its visitors see it: clusters, images, points, scripts."""

import json
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer
from resnet_kmeans.exceptions import UnreadableImagesWarning

HOSTILE = "<IMG src=x onerror=alert(1)>"


@dataclass
class ShownImage:
    """An image of a cluster: its position among all images, and what is told of it."""

    name: str
    is_doubtful: bool
    doubt: float | None
    suggestion: int | None
    position: int = -1
    link: str = ""
    thumbnail: str = ""  # its source
    size: tuple[int, int] = (0, 0)  # of the thumbnail


@dataclass
class ShownCluster:
    """A cluster: its label, name, number of images, what is told of it, and its images."""

    label: int
    size: int
    name: str = ""
    text: str = ""  # beneath its name
    images: list[ShownImage] = field(default_factory=list)

    @property
    def positions(self) -> list[int]:
        return [image.position for image in self.images]


class ReportPage(HTMLParser):
    """The page in a file."""

    def __init__(self, file: Path):
        super().__init__()
        self.html = Path(file).read_text(encoding="utf-8")
        self.clusters: list[ShownCluster] = []
        self.scripts: dict[str, str] = {}  # by their ids
        self.terms: list[tuple[str, str]] = []  # with their descriptions
        self.has_map = False
        self.text = ""  # without scripts, styles and tags
        self._open: list[tuple[str, dict[str, str]]] = []
        self.feed(self.html)
        self.points = json.loads(self.scripts["points"])
        self.corrections = json.loads(self.scripts.get("corrections", "null"))

    @property
    def positions(self) -> list[list[int]]:
        return [cluster.positions for cluster in self.clusters]

    @property
    def images(self) -> list[ShownImage]:
        """All images in the order of their positions."""
        images = [image for cluster in self.clusters for image in cluster.images]
        return sorted(images, key=lambda image: image.position)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in ("img", "input", "meta", "link"):
            self._open.append((tag, given))
        if tag == "section" and given.get("class") == "cluster":
            label = int(given["id"].removeprefix("cluster-"))
            self.clusters.append(ShownCluster(label, int(given["data-size"])))
        elif tag == "li" and "data-name" in given:
            doubt = given.get("data-doubt")
            self.clusters[-1].images.append(
                ShownImage(
                    given["data-name"],
                    given.get("class") == "unsure",
                    None if doubt is None else float(doubt),
                    int(given["data-suggestion"]) if "data-suggestion" in given else None,
                )
            )
        elif tag == "a" and given.get("id", "").startswith("image-"):
            image = self.clusters[-1].images[-1]
            image.position = int(given["id"].removeprefix("image-"))
            image.link = given["href"]
        elif tag == "img" and self._is_in("a", "id") and "width" in given:
            image = self.clusters[-1].images[-1]
            image.thumbnail = given["src"]
            image.size = int(given["width"]), int(given["height"])
        self.has_map |= tag == "canvas"

    def handle_endtag(self, tag):
        while self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tag, given = self._open[-1] if self._open else ("", {})
        if tag == "script":
            self.scripts[given.get("id", "")] = data
        elif tag in ("dt", "dd"):
            self.terms += [(data, "")] if tag == "dt" else []
            self.terms[-1] = (self.terms[-1][0], data if tag == "dd" else "")
        elif given.get("id", "").startswith("title-"):
            self.clusters[-1].name = data
        elif self._is_in("section", "data-size") and self._is_in("p", "class"):
            self.clusters[-1].text += data
        if tag not in ("script", "style"):
            self.text = " ".join([*self.text.split(), *data.split()])

    def _is_in(self, tag, attribute):
        return any(open_tag == tag and attribute in given for open_tag, given in self._open)


def cluster_hostile(pictures: Path, folder: Path, stand_in: Path) -> ImageFolderClusterer:
    """Return a clusterer fitted on 24 drawn pictures, a broken one, and two of hostile names."""
    shutil.copytree(pictures, folder)
    (folder / "broken.jpg").write_bytes(b"")
    shutil.copy(folder / "red_rings_0.png", folder / f"{HOSTILE}.png")
    (folder / "<").mkdir()  # its name and the next one's make an end of script
    shutil.copy(folder / "red_rings_1.png", folder / "</script><b>\n\udcff\u202e.png")
    featurizer = ResNetFeaturizer(weights=stand_in, input_shape=(32, 32))
    with pytest.warns(UnreadableImagesWarning, match="broken.jpg"):
        return ImageFolderClusterer(5, featurizer=featurizer, random_state=0).fit(folder)
