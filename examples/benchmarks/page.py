"""Measure the page that `resnet-kmeans open` serves, in a real Chromium.

    python examples/benchmarks/page.py PHOTOS 20000

An export of that many different files is made of a folder of photos, in 100 folders, with
features drawn at random. Then, with no thumbnail made before: seconds from the command to its
address and to the first photos, the times of frames while the page scrolls, seconds from a key to
the end of a move of 100 images on the disk and to the end of its display, and the memory of the
server and of the tab. Times are of one run on one machine.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from exports import N_FOLDERS, Numbers
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from sklearn.cluster import MiniBatchKMeans

from resnet_kmeans import ImageFolderClusterer, export_log, find_images

# Milliseconds between frames while the page scrolls by 30 pixels a frame, and then by 400.
FRAMES = """
const done = arguments[0], times = [];
let last = performance.now(), n = 0;
function next(now) {
  times.push(now - last); last = now;
  scrollBy(0, n < 300 ? 30 : 400);
  if (++n < 600) requestAnimationFrame(next); else done(times.slice(1));
}
requestAnimationFrame(next);
"""
LOADED = """
const seen = [...document.querySelectorAll("#index img, .cluster li img")].filter((image) => {
  const box = image.getBoundingClientRect(); return box.top < innerHeight && box.bottom > 0; });
return seen.length > 0 && seen.every((image) => image.complete && image.naturalWidth > 1);
"""


def make_export(photos: Path, folder: Path, n_images: int) -> Path:
    """Write an export of copies of photos that differ in their last bytes."""
    source, out, contents = folder / "in", folder / "out", {}
    source.mkdir()
    found = find_images(photos)
    for i in range(n_images):
        photo = found[i % len(found)]
        contents.setdefault(photo, Path(photo).read_bytes())
        (source / f"{i:07}{Path(photo).suffix}").write_bytes(contents[photo] + b"%d" % i)
    kmeans = MiniBatchKMeans(n_init=1, random_state=0)
    model = ImageFolderClusterer(N_FOLDERS, featurizer=Numbers(), clusterer=kmeans)
    model.set_params(reducer=None, random_state=0).fit(find_images(source))
    model.export(out, action="move")
    return out


def memory_of(*words: str) -> float:
    """Return the largest memory, in MB, of a process whose command has all the words."""
    listed = subprocess.run(["ps", "-eo", "rss,args"], capture_output=True, text=True).stdout
    lines = [line.split(None, 1) for line in listed.splitlines()[1:]]
    return max(int(rss) for rss, command in lines if all(w in command for w in words)) / 1024


def wait_for(browser: webdriver.Chrome, script: str, seconds: float = 60) -> float:
    """Return the time at which a script returned true."""
    end = time.perf_counter() + seconds
    while not browser.execute_script(script):
        if time.perf_counter() > end:
            raise TimeoutError(script)
        time.sleep(0.01)
    return time.perf_counter()


def main() -> None:
    """Print a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("n_images", type=int, nargs="?", default=20_000)
    args = parser.parse_args()
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--window-size=1400,1000"):
        options.add_argument(option)
    with ExitStack() as ends:
        folder = ends.enter_context(tempfile.TemporaryDirectory())
        browser = ends.enter_context(webdriver.Chrome(options))
        out = make_export(args.photos, Path(folder), args.n_images)
        os.environ["RESNET_KMEANS_CACHE"] = f"{folder}/cache"  # no thumbnail is there
        imports = [sys.executable, "-c", "import resnet_kmeans.cli.running"]
        subprocess.run(imports, check=True)
        start = time.perf_counter()
        subprocess.run(imports, check=True)
        print(f"imports alone             {time.perf_counter() - start:6.2f} s")
        start = time.perf_counter()
        command = [sys.executable, "-m", "resnet_kmeans", "open", str(out), "--no-browser"]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        ends.callback(server.kill)
        printed = (re.search(r"http://\S+", line) for line in server.stderr)
        address = next(filter(None, printed))[0]
        print(f"address printed           {time.perf_counter() - start:6.2f} s")
        browser.get(address)
        print(f"first photos in view      {wait_for(browser, LOADED) - start:6.2f} s")
        time.sleep(2)
        times = np.array(browser.execute_async_script(FRAMES))
        for name, part in {"30 px": times[:299], "400 px": times[299:]}.items():
            spread = f"median {np.median(part):.1f}, 99% {np.quantile(part, 0.99):.1f}"
            print(f"frames, {name:6} a frame    {spread}, worst {part.max():.1f} ms")
        browser.execute_script("scrollTo(0, 0)")
        wait_for(browser, LOADED)
        for n in range(3):
            move(browser, out, n)
        print(f"memory of the server      {memory_of('resnet_kmeans', 'open'):6.0f} MB")
        print(f"memory of the tab         {memory_of('--type=renderer'):6.0f} MB")
        browser.execute_script("document.getElementById('quit').click()")
        server.wait(30)


def move(browser: webdriver.Chrome, out: Path, n: int) -> None:
    """Move the first 100 images of a cluster to another one, and print how long it takes."""
    ids = "laid[0].images.slice(0, 100).map((at) => base.id[at])"
    browser.execute_script(f"select({ids}); focusImage({ids}[0])")
    ActionChains(browser).send_keys("v").perform()
    wait_for(browser, "return document.getElementById('ask').open")
    ActionChains(browser).send_keys(f"new {n}").perform()
    n_steps = len(export_log(out))
    start = time.perf_counter()
    ActionChains(browser).send_keys("\ue007").perform()
    shown = wait_for(browser, "return picked.size === 0") - start
    done = wait_for(browser, "return log.length === 0 && !isBusy") - start
    assert len(export_log(out)) == n_steps + 1
    print(f"move of 100 images        {shown:6.2f} s until shown, {done:.2f} s until done")


if __name__ == "__main__":
    main()
