"""An export is served to one browser: who may ask, what is answered, what steps do to the disk."""

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import warnings

import filelock
import pytest
from PIL import Image, PngImagePlugin

from resnet_kmeans import (
    ImageFolderClusterer,
    ResNetFeaturizer,
    add_images,
    apply_curation,
    export_clusters,
    export_log,
    open_export,
    rename_cluster,
    undo_export,
)
from resnet_kmeans.exceptions import OutputFolderError
from resnet_kmeans.server.album import OpenAlbum
from resnet_kmeans.server.app import MAX_BODY, new_app
from resnet_kmeans.server.pictures import Pictures
from tests.export_folders import contents, draw, make_images, present_rows, visible

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette 1 would rather have another client than httpx
    from starlette.testclient import TestClient

OWN = "http://127.0.0.1:8000"
PATHS = ("/", "/album", "/map", "/progress", "/thumbnails/0", "/images/0")
POSTS = ("/steps", "/stop", "/quit")
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Opened:
    """An export that is open, and the browser of the person who opened it."""

    def __init__(self, folder):
        self.folder, self.closed = folder, []
        self.album = OpenAlbum(folder)
        self.pictures = Pictures()
        self.app = new_app(
            self.album, self.pictures, ("token", "once"), lambda: self.closed.append(True)
        )
        self.browser = self.new_browser(cookies=self.log_in())

    def new_browser(self, **options):
        headers = {"Origin": OWN} | options.pop("headers", {})
        return TestClient(self.app, OWN, raise_server_exceptions=False, headers=headers, **options)

    def log_in(self):
        browser = TestClient(self.app, OWN)
        assert browser.get("/", params={"token": "token"}).status_code == 200
        return dict(browser.cookies)

    def get(self, path, **options):
        return self.browser.get(path, **options)

    def step(self, **asked):
        return self.browser.post("/steps", json=asked)

    def done(self, **asked):
        """Make a step that succeeds; return the album."""
        answer = self.step(**asked)
        assert answer.status_code == 200, answer.text
        return answer.json()["album"]

    def path_of(self, number):
        return self.folder / self.album.paths[number]

    @property
    def commands(self):
        return [step.command for step in export_log(self.folder)]

    @property
    def folders(self):
        return {row.exported_path for row in present_rows(self.folder)}


@pytest.fixture
def out(tmp_path):
    """An export by moving: a and b in cluster 0, sub/a and c in cluster 1."""
    images = make_images(tmp_path / "in", ("a.png", "b.png", "sub/a.png", "c.png"))
    export_clusters(images, [0, 0, 1, 1], tmp_path / "out", action="move")
    return tmp_path / "out"


@pytest.fixture
def open_album():
    """A function that opens an export, until the test ends."""
    opened = []

    def open_one(folder):
        opened.append(Opened(folder))
        return opened[-1]

    yield open_one
    for each in opened:
        each.pictures.__exit__()


@pytest.fixture
def opened(out, open_album):
    return open_album(out)


@pytest.fixture
def clustered(tmp_path, stand_in):
    """An export that keeps features: blue pictures in one cluster, red ones in the other."""
    draw(tmp_path / "in", range(0, 60, 10))
    draw(tmp_path / "in", range(190, 250, 10))
    featurizer = ResNetFeaturizer(weights=stand_in, input_shape=(32, 32))
    clusterer = ImageFolderClusterer(2, featurizer=featurizer, random_state=0)
    clusterer.fit(tmp_path / "in").export(tmp_path / "out")
    return tmp_path / "out"


# Who may ask.


def test_a_stranger_gets_nothing_anywhere(opened):
    stranger = opened.new_browser()
    before = contents(opened.folder)
    answers = [stranger.get(path) for path in (*PATHS, "/?token=", "/?token=wrong", "/nothing")]
    answers += [stranger.post(path, json={"names": [[0, "cats"]]}) for path in POSTS]
    answers += [stranger.post("/steps?token=wrong", json={"names": [[0, "cats"]]})]
    answers += [stranger.get("/album", headers={"Cookie": "resnet-kmeans-8000=token"})]
    answers += [stranger.request(method, "/") for method in ("HEAD", "OPTIONS", "PUT", "TRACE")]
    assert {answer.status_code for answer in answers} == {403}
    assert not any("set-cookie" in answer.headers for answer in answers)
    assert contents(opened.folder) == before
    assert not opened.closed


def test_the_token_becomes_a_cookie_that_no_script_or_other_site_can_use(opened):
    answer = opened.new_browser().get("/?token=token")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "token=" not in cookie
    assert "8000" in cookie.split("=")[0]  # another album on another port keeps its own
    assert "token" not in dict(opened.browser.cookies).values()


def test_the_token_of_the_started_browser_serves_once(opened):
    first, second = opened.new_browser(), opened.new_browser()
    assert first.get("/?token=once").status_code == 200
    assert first.get("/album").status_code == 200
    assert second.get("/?token=once").status_code == 403
    assert second.get("/?token=token").status_code == 200


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"Origin": "http://evil.example"}),
        ("POST", {"Origin": "http://127.0.0.1:8001"}),
        ("POST", {"Origin": "null"}),
        ("POST", {"Sec-Fetch-Site": "cross-site"}),
        ("POST", {"Sec-Fetch-Site": "same-site"}),
        ("POST", {"Sec-Fetch-Site": "none"}),
        ("POST", {"Content-Type": "text/plain"}),
        ("POST", {"Content-Type": "application/x-www-form-urlencoded"}),
        ("GET", {"Origin": "http://evil.example"}),
        ("GET", {"Origin": "null"}),
        ("GET", {"Sec-Fetch-Site": "cross-site"}),
        ("GET", {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_a_request_of_another_site_is_refused_even_with_the_cookie(opened, method, headers):
    body = json.dumps({"names": [[0, "cats"]]}) if method == "POST" else None
    headers = {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"} | headers
    paths = POSTS if method == "POST" else PATHS
    answers = [
        opened.browser.request(method, path, content=body, headers=headers) for path in paths
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert opened.commands == ["export"]


def test_a_post_without_an_origin_is_refused(opened):
    browser = TestClient(opened.app, OWN, cookies=dict(opened.browser.cookies))
    assert browser.post("/steps", json={"names": [[0, "cats"]]}).status_code == 403
    assert opened.commands == ["export"]


@pytest.mark.parametrize("host", ["evil.example:8000", "127.0.0.1.evil.example", "[::1]", ""])
def test_a_name_that_was_made_to_lead_here_is_refused(opened, host):
    for path in ("/album", "/?token=token"):
        answer = opened.get(path, headers={"Host": host, "Origin": f"http://{host}"})
        assert answer.status_code in (400, 403)


@pytest.mark.parametrize("host", ["127.0.0.1:x", "127.0.0.1:99999", "127.0.0.1:", "localhost:-1"])
def test_a_host_without_a_port_that_is_one_is_refused(opened, host):
    assert opened.get("/album", headers={"Host": host}).status_code in (400, 403)


# What is answered.


def test_the_policy_of_the_page_allows_its_own_script_alone(opened):
    page = opened.get("/")
    policy = page.headers["content-security-policy"]
    nonce = re.search("script-src 'nonce-([^']+)'", policy)[1]
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert set(re.findall(r"<(?:script|style)[^>]* nonce=\"([^\"]+)\"", page.text)) == {nonce}
    assert len(re.findall(r"<(?:script|style)\b", page.text)) == 3
    assert nonce not in opened.get("/").text


def test_every_answer_is_for_the_page_alone(opened):
    answers = [opened.get(path) for path in (*PATHS[1:], "/images/9", "/nothing")]
    answers += [opened.browser.post("/stop", json={}), opened.step(do="dance")]
    for answer in [opened.get("/"), *answers]:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers
        assert "set-cookie" not in answer.headers
    assert {a.headers["content-security-policy"] for a in answers} == {
        "default-src 'none'; sandbox"
    }


def test_the_answer_to_a_stranger_cannot_be_sniffed_or_embedded(opened):
    answer = opened.new_browser().get("/")
    assert answer.headers.get("x-content-type-options") == "nosniff"
    assert answer.headers.get("cross-origin-resource-policy") == "same-origin"


@pytest.mark.parametrize(
    "path",
    [
        *("/images/../../in/secret.txt", "/images/%2e%2e/%2e%2e/in/secret.txt", "/images//etc"),
        *("/images/..%2f..%2fin%2fsecret.txt", "/images/%2Fetc%2Fpasswd", "/images/-1"),
        *("/images/99999999999999999999", "/images/0x0", "/images/0/", "/images/0.png"),
        *("/images/4", "/thumbnails/4", "/images/1000000000", f"/images/{'9' * 5000}"),
        *("/.resnet-kmeans.jsonl", "/clusters.csv", "/static/page.js", "/images/%D9%A0"),
    ],
)
def test_no_path_leads_out_of_the_images(opened, tmp_path, path):
    (tmp_path / "in" / "secret.txt").write_text("secret")
    answer = opened.get(path, follow_redirects=False)
    assert answer.status_code in (307, 400, 404)
    assert "secret" not in answer.text
    if answer.status_code == 307:
        assert answer.headers["location"] == f"{OWN}/images/0"


def test_neither_page_nor_album_tells_where_the_images_are(opened, tmp_path):
    for text in (opened.get("/").text, opened.get("/album").text):
        assert str(tmp_path) not in text
        assert "once" not in re.findall(r"\w+", opened.get("/album").text)


def test_a_thumbnail_tells_nothing_but_the_picture(tmp_path, open_album):
    exif = Image.Exif()
    exif[0x010E] = "a secret description"
    exif.get_ifd(0x8825)[1] = "N"
    picture, photo = Image.new("RGB", (9, 9)), tmp_path / "in" / "photo.jpg"
    photo.parent.mkdir()
    options = {"exif": exif, "comment": b"a secret comment", "xmp": b"<secret/>"}
    picture.save(photo, icc_profile=b"secret profile", **options)
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", "a secret comment")
    picture.save(tmp_path / "in" / "photo.png", pnginfo=told, exif=exif)
    export_clusters([photo, tmp_path / "in" / "photo.png"], [0, 0], tmp_path / "out")
    opened = open_album(tmp_path / "out")
    for number in (0, 1):
        thumbnail = opened.get(f"/thumbnails/{number}")
        assert thumbnail.headers["content-type"] == "image/jpeg"
        assert b"secret" not in thumbnail.content
        shown = Image.open(io.BytesIO(thumbnail.content))
        assert not shown.getexif()
        assert {"comment", "xmp", "exif", "icc_profile"}.isdisjoint(shown.info)


def test_a_thumbnail_is_made_once(out, open_album, monkeypatch):
    monkeypatch.setattr("resnet_kmeans.features.cache.SETTLED_AFTER", -1)
    first = open_album(out).get("/thumbnails/0").content

    def fail(*args):
        raise AssertionError("it was made again")

    monkeypatch.setattr("resnet_kmeans.server.pictures.make_thumbnail", fail)
    again = open_album(out).get("/thumbnails/0").content
    assert again.rstrip(b"\0") == first.rstrip(b"\0")
    Image.open(io.BytesIO(again)).load()


def test_an_edited_picture_gets_a_new_thumbnail(opened):
    before = opened.get("/thumbnails/0").content
    path = opened.path_of(0)
    Image.new("RGB", (4, 4), "red").save(path)
    assert opened.get("/thumbnails/0").content != before


def test_originals_are_served_as_they_are_where_browsers_show_them(tmp_path, open_album):
    names = ("a.png", "b.jpg", "c.webp", "d.gif", "e.tiff", "f.heic", "g.PNG")
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    pillow_heif.register_heif_opener()
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "in" / name for name in names]
    for shade, path in enumerate(paths):
        Image.new("RGB", (64, 64), (40 * shade, 0, 0)).save(path)
    export_clusters(paths, [0] * 7, tmp_path / "out")
    opened = open_album(tmp_path / "out")
    answers = [opened.get(f"/images/{number}") for number in range(7)]
    assert {answer.status_code for answer in answers} == {200}
    kinds = [answer.headers["content-type"].removeprefix("image/") for answer in answers]
    assert kinds == ["png", "jpeg", "webp", "gif", "jpeg", "jpeg", "png"]
    for path, answer in zip(paths, answers):
        is_same = answer.content == path.read_bytes()
        assert is_same == (path.suffix not in (".tiff", ".heic"))
        assert Image.open(io.BytesIO(answer.content)).size == (64, 64)


@pytest.mark.parametrize("name", ["page.jpg", "page.svg", "page.html", "page"])
def test_a_page_under_the_name_of_a_picture_is_never_a_page(tmp_path, open_album, name):
    page = tmp_path / "in" / name
    page.parent.mkdir()
    page.write_text("<html><script>alert(1)</script>")
    export_clusters([page], [0], tmp_path / "out")
    opened = open_album(tmp_path / "out")
    answer = opened.get("/images/0")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["content-type"] in ("image/jpeg", "application/json")
    assert answer.status_code == 404 or name == "page.jpg"
    assert opened.get("/thumbnails/0").status_code == 404


@pytest.mark.parametrize("kind", ["folder", "fifo", "link to nothing", "nothing", "device"])
@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_what_is_no_picture_any_more_is_not_found_and_nobody_waits(
    tmp_path, open_album, kind, name
):
    source = tmp_path / "in" / name
    source.parent.mkdir()
    Image.new("RGB", (4, 4)).save(source)
    export_clusters([source], [0], tmp_path / "out")
    opened = open_album(tmp_path / "out")
    path = opened.path_of(0)
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "link to nothing":
        path.symlink_to(tmp_path / "nothing")
    assert opened.get("/images/0").status_code == 404
    assert opened.get("/thumbnails/0").status_code == 404


def test_a_link_in_the_place_of_an_image_leads_to_no_other_file(opened, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    path = opened.path_of(0)
    path.unlink()
    path.symlink_to(tmp_path / "secret.txt")
    assert b"secret" not in opened.get("/images/0").content
    assert opened.get("/thumbnails/0").status_code == 404


@pytest.mark.parametrize("action", ["copy", "hardlink", "symlink", "move"])
def test_images_are_served_however_they_were_exported(tmp_path, open_album, action):
    images = make_images(tmp_path / "in", ["a.png", "b.png"])
    content = images[0].read_bytes()
    export_clusters(images, [0, 1], tmp_path / "out", action=action)
    opened = open_album(tmp_path / "out")
    assert opened.get("/images/0").content == content
    assert opened.get("/thumbnails/0").status_code == 200


def test_hostile_names_are_data_in_the_page(tmp_path, open_album):
    source = tmp_path / "in" / "<" / f"{HOSTILE.replace('/', '')}.png"
    make_images(tmp_path / "in", ["b.png"])
    source.parent.mkdir()
    Image.new("L", (4, 4), 9).save(source)
    export_clusters([source, tmp_path / "in" / "b.png"], [0, 1], tmp_path / "out")
    folder = tmp_path / "out" / HOSTILE.replace("/", "")
    (tmp_path / "out" / "cluster_0").rename(folder)
    shutil.copy(folder.parent / "cluster_1" / "b.png", folder / "</script><b>.png".replace("/", ""))
    opened = open_album(tmp_path / "out")
    page = opened.get("/").text
    assert len(re.findall("</script", page, re.IGNORECASE)) == 2
    assert "<img src=x" not in page
    assert HOSTILE.replace("/", "") in opened.get("/album").json()["album"]["clusters"][0]["name"]
    assert f"{HOSTILE}" not in page


@pytest.mark.skipif(sys.platform == "win32", reason="names are Unicode there")
def test_a_folder_whose_name_is_not_unicode_is_served_and_corrected(out, open_album):
    os.rename(out / "cluster_0", os.fsencode(out) + b"/\xff")
    opened = open_album(out)
    assert opened.get("/").status_code == 200
    assert opened.get("/album").status_code == 200
    assert opened.done(names=[[1, "cats"]])["clusters"][1]["name"] == "cats"


# Steps.


def test_each_correction_is_a_step_that_the_disk_has(opened):
    for asked in (
        {"moves": [[0, "cluster_1"]]},
        {"moves": [[1, "cluster_0"]]},
        {"moves": [[0, "new"], [2, "new"]]},
        {"names": [[1, "cats"]]},
        {"moves": [[3, None]]},
        {"names": [[2, "cluster_0"]]},
    ):
        album = opened.done(**asked)
        on_disk = {p.relative_to(opened.folder).as_posix() for p in opened.folder.rglob("*.png")}
        assert set(album["path"]) == on_disk == opened.folders
        assert {c["folder"] for c in album["clusters"]} == {p.split("/")[0] for p in on_disk}
    assert opened.commands == ["export", "apply", "confirm", "apply", "rename", "apply", "rename"]
    assert {path.split("/")[0] for path in opened.folders} == {"cluster_0", "_set_aside"}
    assert sum(row.is_confirmed for row in present_rows(opened.folder)) == 3


def test_undo_and_redo_on_the_page_are_those_of_the_export(opened):
    states = [visible(opened.folder)]
    for step in ({"moves": [[0, None]]}, {"names": [[1, "cats"]]}, {"names": [[0, "cats"]]}):
        opened.done(**step)
        states.append(visible(opened.folder))
    for before in states[-2::-1]:
        answer = opened.step(do="undo").json()
        assert answer["said"].startswith("Undone: ")
        assert visible(opened.folder) == before
    assert not answer["album"]["export"]["undo"]
    for after in states[1:]:
        assert opened.step(do="redo").json()["said"].startswith("Redone: ")
        assert visible(opened.folder) == after
    assert opened.step(do="redo").status_code == 409


def test_a_split_moves_the_images_to_new_folders(clustered, open_album):
    opened = open_album(clustered)
    before = visible(clustered)
    album = opened.done(do="split", label=0, k=2)
    assert {c["folder"] for c in album["clusters"]} == {
        *("cluster_0_1", "cluster_0_2", "cluster_1"),
    }
    assert opened.commands == ["export", "split"]
    assert opened.step(do="split", label=1, k=99).status_code == 409
    opened.done(do="undo")
    assert visible(clustered) == before


def test_undo_and_redo_on_the_page_never_concern_what_brought_the_images(
    clustered, open_album, tmp_path
):
    opened = open_album(clustered)
    answer = opened.step(do="undo")
    assert answer.status_code == 409
    assert "resnet-kmeans undo" in answer.json()["error"]
    draw(tmp_path / "more", [100, 110])
    add_images(clustered, tmp_path / "more")
    before = visible(clustered)
    assert opened.step(do="undo").status_code == 409
    assert visible(clustered) == before
    undo_export(clustered)
    assert opened.step(do="redo").status_code == 409
    assert opened.commands == ["export", "add", "undo"]
    assert not opened.get("/album").json()["album"]["export"]["redo"]


MALFORMED = [
    *("", "{", "[]", "3", "null", '"undo"', "\0", '{"do": 3}', '{"do": "export"}', '{"do": []}'),
    *('{"moves": 3}', '{"moves": [3]}', '{"moves": [[0]]}', '{"moves": null}', '{"names": "ab"}'),
    *('{"moves": [[0, 3]]}', '{"moves": [[[], "a"]]}', '{"moves": [["0", "a"]]}'),
    *('{"moves": [[-1, "a"]]}', '{"moves": [[9, "a"]]}', '{"moves": [[1e400, "a"]]}'),
    *('{"names": [[9, "a"]]}', '{"names": [[0, null]]}', '{"names": [[0, 3]]}'),
    *('{"names": [[null, "a"]]}', '{"names": [[0, ["a"]]]}', '{"names": [[0, "../x"]]}'),
    *('{"names": [[0, "a/b"]]}', '{"names": [[0, ""]]}', '{"names": [[0, "\\u0000"]]}'),
    *('{"moves": [[0, ".."]]}', '{"moves": [[0, "/tmp"]]}', '{"moves": [[0, "\\ud800"]]}'),
    *('{"moves": [[0, ".hidden"]]}', '{"moves": [[0, "clusters.csv"]]}'),
    *('{"do": "split"}', '{"do": "split", "label": 0}', '{"do": "split", "label": 9, "k": 2}'),
    *('{"do": "split", "label": 0, "k": "x"}', '{"do": "split", "label": 0, "k": 0}'),
    *('{"do": "split", "label": 0, "k": -1}', '{"do": "split", "label": 0, "k": 1e400}'),
    '{"do": "split", "label": 0, "k": NaN}',
    '{"do": "split", "label": 0, "k": 1000000000}',
    "[" * 100_000,
    '{"moves": [[0, "a"]], "a": ' + "[" * 100_000,
    '{"moves": [[' + "9" * 5000 + ', "a"]]}',
]


@pytest.mark.parametrize("body", MALFORMED, ids=[f"{body[:40]!r}" for body in MALFORMED])
def test_what_cannot_be_done_is_answered_and_changes_nothing(opened, body):
    before = contents(opened.folder)
    headers = {"Content-Type": "application/json"}
    answer = opened.browser.post("/steps", content=body, headers=headers)
    assert answer.status_code in (400, 409)
    assert answer.json()["error"]
    assert contents(opened.folder) == before
    assert opened.get("/album").status_code == 200


def test_a_body_that_is_too_large_is_refused(opened):
    headers = {"Content-Type": "application/json"}
    body = b'{"moves": [' + b" " * MAX_BODY
    assert opened.browser.post("/steps", content=body, headers=headers).status_code == 413
    assert opened.commands == ["export"]


def test_the_error_about_an_image_that_is_not_there_is_a_sentence(opened):
    assert re.search(r"\w+ \w+ \w+", opened.step(moves=[[9, "cats"]]).json()["error"])


def test_moves_of_an_image_that_was_deleted_by_hand_are_answered(opened):
    opened.path_of(0).unlink()
    answer = opened.step(moves=[[0, "cats"]])
    assert answer.status_code == 200
    assert "a.png" in answer.json()["said"]


def test_an_image_added_by_hand_is_shown_but_not_moved(out, open_album):
    Image.new("L", (4, 4), 99).save(out / "cluster_0" / "new.png")
    opened = open_album(out)
    album = opened.get("/album").json()["album"]
    number = album["id"][album["added"].index(1)]
    assert opened.get(f"/thumbnails/{number}").status_code == 200
    assert opened.step(moves=[[number, "cluster_1"]]).status_code == 409
    assert (out / "cluster_0" / "new.png").exists()


# Others who change the export meanwhile.


def test_a_second_window_sees_the_change_of_the_first(opened):
    known = opened.get("/album").json()["album"]["export"]["state"]
    second = opened.new_browser(cookies=opened.log_in())
    assert second.get("/album", params={"known": known}).status_code == 204
    now = opened.done(names=[[0, "cats"]])
    seen = second.get("/album", params={"known": known}).json()["album"]
    assert seen == now
    assert seen["clusters"][0]["name"] == "cats"
    known = seen["export"]["state"]
    assert second.get("/album", params={"known": known}).status_code == 204


def test_a_step_of_another_program_is_seen(opened):
    known = opened.get("/album").json()["album"]["export"]["state"]
    rename_cluster(opened.folder, 0, "cats")
    seen = opened.get("/album", params={"known": known}).json()["album"]
    assert seen["clusters"][0]["name"] == "cats"
    assert "rename" in seen["export"]["undo"]
    assert opened.get("/thumbnails/0").status_code == 200


def test_an_image_is_confirmed_and_no_other_whatever_another_program_did(opened):
    # Both clusters have a file a.png; the names are exchanged before the page looks again.
    apply_curation(opened.folder, {"names": {"cluster_0": "cluster_1", "cluster_1": "cluster_0"}})
    opened.step(moves=[[0, "cluster_0"]])
    confirmed = [row.source_path for row in present_rows(opened.folder) if row.is_confirmed]
    assert [path for path in confirmed if not path.endswith("in/a.png")] == []


def test_while_another_program_writes_a_step_is_refused_and_nothing_is_called_interrupted(opened):
    opened.done(names=[[0, "cats"]])
    with filelock.FileLock(opened.folder / ".resnet-kmeans.lock"):
        answer = opened.step(names=[[0, "dogs"]])
        assert answer.status_code == 409
        assert "Another process is writing" in answer.json()["error"]
    album = opened.get("/album").json()["album"]
    assert album["clusters"][0]["name"] == "cats"
    assert not album["export"]["interrupted"]  # or the page offers to take a good step back


def test_the_cluster_that_was_shown_is_split_whatever_another_program_did(clustered, open_album):
    opened = open_album(clustered)
    names = {row.exported_path for row in present_rows(clustered) if row.cluster == 0}
    apply_curation(clustered, {"names": {"cluster_0": "cluster_1", "cluster_1": "cluster_0"}})
    opened.step(do="split", label=0, k=2)
    parts = {path.name for path in clustered.glob("*_[12]/*.png")}
    assert parts <= {name.split("/")[1] for name in names}


@pytest.mark.parametrize("look", [1, 2])
def test_an_export_that_was_taken_back_meanwhile_says_so_each_time(opened, look):
    known = opened.get("/album").json()["album"]["export"]["state"]
    undo_export(opened.folder)
    answers = [opened.get("/album", params={"known": known}) for _ in range(look)]
    assert answers[-1].status_code == 409
    assert "undone" in answers[-1].json()["error"]
    assert opened.step(names=[[0, "cats"]]).status_code == 409
    assert opened.get("/").status_code == 409
    assert opened.get("/thumbnails/0").status_code == 404
    assert not opened.folder.exists()


# Steps that are stopped or interrupted.


def stop_at(opened, monkeypatch, n):
    """Let another window stop the next step after n files; return the progress it saw."""
    seen, watch = [], opened.album._watch
    second = opened.new_browser(cookies=opened.log_in())

    def watching(n_done, n_total):
        if n_done == n:
            assert second.post("/stop", json={}).status_code == 200
        try:
            watch(n_done, n_total)
        finally:
            seen.append(second.get("/progress").json())

    monkeypatch.setattr(opened.album, "_watch", watching)
    return seen


@pytest.mark.parametrize("command", ["moves", "names", "split"])
def test_a_step_that_is_stopped_leaves_everything_as_it_was(
    clustered, open_album, monkeypatch, command
):
    opened = open_album(clustered)
    steps = {
        "moves": {"moves": [[number, "new"] for number in range(12)]},
        "names": {"names": [[0, "cluster_1"]]},
        "split": {"do": "split", "label": 0, "k": 2},
    }
    before = visible(clustered)
    seen = stop_at(opened, monkeypatch, 2)
    answer = opened.step(**steps[command])
    assert [each["done"] for each in seen] == [1, 2]
    assert answer.status_code == 200
    assert answer.json()["said"] == "Stopped: everything is as it was."
    assert visible(clustered) == before
    assert opened.get("/progress").json() == {"done": 0, "total": 0, "isStoppable": False}
    assert not answer.json()["album"]["export"]["interrupted"]


def test_an_undo_cannot_be_stopped(clustered, open_album, monkeypatch):
    before, opened = visible(clustered), open_album(clustered)
    opened.done(moves=[[number, "new"] for number in range(12)])
    seen = stop_at(opened, monkeypatch, 2)
    opened.done(do="undo")
    assert len(seen) == 12
    assert not any(each["isStoppable"] for each in seen)
    assert visible(clustered) == before


def test_a_stop_without_a_step_stops_no_later_one(opened):
    assert opened.browser.post("/stop", json={}).status_code == 200
    opened.done(names=[[0, "cats"]])
    assert opened.commands == ["export", "rename"]


def test_a_step_that_failed_midway_is_finished_on_the_page(opened, monkeypatch):
    names = "resnet_kmeans.export.execution.rename_file"
    with monkeypatch.context() as patch:
        patch.setattr(names, lambda *paths: (_ for _ in ()).throw(OSError(28, "No space")))
        answer = opened.step(names=[[0, "cats"]])
    assert answer.status_code == 409
    assert "No image was lost" in answer.json()["error"]
    assert opened.get("/album").json()["album"]["export"]["interrupted"]
    assert opened.step(names=[[1, "dogs"]]).status_code == 409
    album = opened.done(do="finish")
    assert album["clusters"][0]["folder"] == "cats"
    assert not album["export"]["interrupted"]


def test_other_windows_learn_that_a_step_was_interrupted(opened, monkeypatch):
    known = opened.get("/album").json()["album"]["export"]["state"]
    names = "resnet_kmeans.export.execution.rename_file"
    with monkeypatch.context() as patch:
        patch.setattr(names, lambda *paths: (_ for _ in ()).throw(OSError(28, "No space")))
        opened.step(names=[[0, "cats"]])
    seen = opened.get("/album", params={"known": known})
    assert seen.status_code == 200
    assert seen.json()["album"]["export"]["interrupted"]


def test_two_steps_at_once_are_made_one_after_the_other(opened):
    windows = [opened.new_browser(cookies=opened.log_in()) for _ in range(8)]
    answers = []

    def work(i):
        asked = {"moves": [[i % 4, f"new{i}"]]}
        answers.append(windows[i].post("/steps", json=asked).status_code)

    threads = [threading.Thread(target=work, args=[i]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 8
    assert len(opened.folders) == 4
    assert len(opened.commands) == 9


# Opening and closing.


def test_a_taken_port_is_said(out):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OutputFolderError, match="cannot be used"):
            open_export(out, port=other.getsockname()[1], browser=False)


@pytest.mark.parametrize("port", [70000, -1])
def test_a_port_that_is_none_is_said(out, port):
    with pytest.raises((OutputFolderError, ValueError)):  # no OverflowError with its traceback
        open_export(out, port=port, browser=False)


def test_what_is_no_export_is_not_opened(tmp_path):
    with pytest.raises(OutputFolderError):
        open_export(tmp_path, browser=False)


def test_closing_calls_back(opened):
    assert opened.browser.post("/quit", json={}).status_code == 200
    assert opened.closed


def test_the_command_serves_until_the_album_is_closed_on_the_page(out):
    command = [sys.executable, "-m", "resnet_kmeans", "open", str(out), "--no-browser"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        address = next(
            found[0] for line in process.stdout if (found := re.findall(r"http\S+", line))
        )
        own = address.split("/?")[0]
        assert own.startswith("http://127.0.0.1:")
        page = urllib.request.urlopen(address)
        cookie = page.headers["Set-Cookie"].split(";")[0]
        headers = {"Cookie": cookie, "Origin": own, "Content-Type": "application/json"}
        # Somebody who connected and says nothing does not keep it open.
        with socket.create_connection(("127.0.0.1", int(own.rsplit(":")[-1]))):
            asked = urllib.request.Request(f"{own}/quit", b"{}", headers)
            assert urllib.request.urlopen(asked).status == 200
            page.close()
            began = time.monotonic()
            assert process.wait(10) == 0
            assert time.monotonic() - began < 5
        assert "Traceback" not in process.stdout.read()
