"""Reads the page of a report as its visitors see it: clusters, images, points."""

import base64
import io
import json
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer
from resnet_kmeans.exceptions import UnreadableImagesWarning

HOSTILE = "<IMG src=x onerror=alert(1)>"


@dataclass
class ShownImage:
    """An image of a cluster: its number, and what is told of it."""

    name: str
    doubt: float | None
    suggestion: int
    position: int
    link: str
    thumbnail: str  # its data URI; empty without one

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the thumbnail."""
        data = base64.b64decode(self.thumbnail.partition(",")[2])
        return Image.open(io.BytesIO(data)).size if data else (0, 0)


@dataclass
class ShownCluster:
    """A cluster: its label, name, number of images, and those that are on the page."""

    label: int
    size: int
    name: str
    images: list[ShownImage] = field(default_factory=list)

    @property
    def positions(self) -> list[int]:
        return [image.position for image in self.images]


class ReportPage(HTMLParser):
    """The page in a file: the album that its script is given, and the text around it."""

    def __init__(self, file: Path):
        super().__init__()
        self.html = Path(file).read_text(encoding="utf-8")
        self.terms: list[tuple[str, str]] = []  # with their descriptions
        self.has_map = False
        self.text = ""  # without scripts, styles and tags
        self._scripts: dict[str, str] = {}  # by their ids
        self._open: list[tuple[str, str]] = []
        self.feed(self.html)
        self.album = album = json.loads(self._scripts["album"])
        self.points = album["points"]
        self.images = [
            ShownImage(
                name,
                None if doubt < 0 else doubt / 1000,
                suggestion,
                number,
                album["links"].get(str(number), ""),
                album["thumbnails"].get(str(number), ""),
            )
            for name, doubt, suggestion, number in zip(
                album["name"], album["doubt"], album["suggestion"], album["id"]
            )
        ]
        self.clusters = []
        for known in album["clusters"]:
            own = [im for im, label in zip(self.images, album["label"]) if label == known["label"]]
            size = known["hidden"] + len(own)
            self.clusters.append(ShownCluster(known["label"], size, known["name"], own))
        self.images.sort(key=lambda image: image.position)

    @property
    def positions(self) -> list[list[int]]:
        return [cluster.positions for cluster in self.clusters]

    def handle_starttag(self, tag, attributes):
        if tag not in ("img", "input", "meta", "link"):
            self._open.append((tag, dict(attributes).get("id", "")))
        self.has_map |= tag == "canvas"

    def handle_endtag(self, tag):
        while self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        tag, name = self._open[-1] if self._open else ("", "")
        if tag == "script":
            self._scripts[name] = data
        elif tag in ("dt", "dd"):
            self.terms += [(data, "")] if tag == "dt" else []
            self.terms[-1] = (self.terms[-1][0], data if tag == "dd" else "")
        if tag not in ("script", "style"):
            self.text = " ".join([*self.text.split(), *data.split()])


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
