"""Draws the pictures of the project's README: a contact sheet, and an album that is open.

    python examples/pictures/draw.py --backbone efficientnet_lite0

from crops of two photos that scikit-learn ships, both CC BY 2.0: china.jpg by danielbuechele
(flickr.com/photos/danielbuechele/6061409035) and flower.jpg by vultilion
(flickr.com/photos/vultilion/6056698931). Needs matplotlib, selenium and chromium.
"""

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys
from sklearn.datasets import load_sample_image

from resnet_kmeans import ImageFolderClusterer, ResNetFeaturizer
from resnet_kmeans.display import ContactSheetDisplay
from resnet_kmeans.sample_pictures import draw_pictures

HERE = Path(__file__).parent
SIZE = (1280, 960)  # pixels of the screenshot


def cut_crops(folder, n_each=60):
    random = np.random.default_rng(0)
    for name in ("china.jpg", "flower.jpg"):
        photo = Image.fromarray(load_sample_image(name))
        for number in range(n_each):
            width, height = random.integers(110, 190, 2)
            left = random.integers(0, photo.width - width)
            top = random.integers(0, photo.height - height)
            crop = photo.crop((left, top, left + width, top + height))
            crop.save(folder / f"{Path(name).stem}_{number}.png")


@contextmanager
def opened(out):
    """Serve an export, and open it in a browser."""
    command = [sys.executable, "-m", "resnet_kmeans", "open", str(out), "--no-browser"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    size = {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    printed = (re.search(r"http://\S+", line) for line in server.stderr)
    browser.get(next(filter(None, printed))[0])
    try:
        yield browser
    finally:
        browser.quit()
        server.terminate()


def correct(browser):
    """Name two clusters, show the doubtful images of all, and select some of them."""
    for label, name in {8: "flowers", 9: "temples"}.items():  # by looking at them
        rename = f"document.querySelector('#cluster-{label} [data-act=rename]').click()"
        browser.execute_script(rename)
        ActionChains(browser).send_keys(name + Keys.ENTER).pause(1).perform()
    browser.execute_script("document.getElementById('unsure').click(); scrollTo(0, 0)")
    ActionChains(browser).send_keys(" ").pause(2).perform()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--preprocess", default="auto")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "photos")
        draw_pictures(folder, n_each=6)
        cut_crops(folder)
        featurizer = ResNetFeaturizer(
            weights=args.weights, backbone=args.backbone, preprocess=args.preprocess
        )
        clusterer = ImageFolderClusterer(10, featurizer=featurizer, random_state=11).fit(folder)
        sheet = ContactSheetDisplay.from_estimator(clusterer)
        sheet.figure_.savefig(Path(place, "sheet.png"), dpi=90)
        Image.open(Path(place, "sheet.png")).convert("RGB").save(
            HERE / "contact_sheet.jpg", quality=82, optimize=True
        )
        out = Path(place, "clusters")
        clusterer.export(out)
        with opened(out) as browser:
            correct(browser)
            picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
            picture.save(HERE / "album.jpg", quality=82, optimize=True)
