"""Makes groups of small pictures: drawn patterns and crops of two photos."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = 160  # pixels
# Some groups have the same pattern, and orange is close to yellow, so neither pattern nor color
# alone separates all groups.
GROUPS = {
    "blue_dots": ((40, 80, 200), "dots"),
    "green_stripes": ((40, 150, 70), "stripes"),
    "orange_dots": ((240, 140, 30), "dots"),
    "red_rings": ((200, 40, 50), "rings"),
    "violet_stripes": ((120, 60, 170), "upright stripes"),
    "yellow_checks": ((235, 205, 60), "checks"),
}

# Both are part of scikit-learn, under CC BY 2.0: china.jpg by danielbuechele
# (flickr.com/photos/danielbuechele/6061409035), flower.jpg by vultilion
# (flickr.com/photos/vultilion/6056698931).
PHOTOS = {"flower": "flower.jpg", "temple": "china.jpg"}


def draw_pictures(folder: str | os.PathLike[str], n_each: int = 8, seed: int = 0) -> list[Path]:
    """Draw pictures of each group as ``folder/GROUP_NUMBER.png``; return their paths.

    Parameters
    ----------
    folder : str or path-like
        Created if missing.
    n_each : int, default=8
        Number of pictures per group.
    seed : int, default=0
        Determines the small differences within a group.
    """
    random = np.random.default_rng(seed)
    paths = []
    for group, (color, pattern) in GROUPS.items():
        for number in range(n_each):
            picture = draw_picture(color, pattern, random)
            paths.append(_save(picture, Path(folder, f"{group}_{number}.png")))
    return paths


def crop_photos(folder: str | os.PathLike[str], n_each: int = 8, seed: int = 0) -> list[Path]:
    """Save square crops of `PHOTOS` as ``folder/GROUP_NUMBER.jpg``; return their paths.

    Parameters
    ----------
    folder : str or path-like
        Created if missing.
    n_each : int, default=8
        Number of crops per photo.
    seed : int, default=0
        Determines the positions and sizes of the crops.
    """
    from sklearn.datasets import load_sample_image

    random = np.random.default_rng(seed)
    paths = []
    for group, name in PHOTOS.items():
        photo = Image.fromarray(load_sample_image(name))
        for number in range(n_each):
            # Crops contain most of the photo, whose height is 427 pixels, so they look alike.
            side = int(random.integers(300, 400))
            left = int(random.integers(photo.width - side))
            top = int(random.integers(photo.height - side))
            picture = photo.crop((left, top, left + side, top + side))
            paths.append(_save(picture, Path(folder, f"{group}_{number}.jpg")))
    return paths


def _save(picture: Image.Image, path: Path) -> Path:
    if not path.exists():  # files that exist may be the user's own
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=90)
    return path


def draw_picture(
    color: tuple[int, int, int], pattern: str, random: np.random.Generator
) -> Image.Image:
    """Draw one picture: a pattern in a shade of `color` on a light background."""
    shade = np.clip(np.array(color) + random.integers(-18, 19, 3), 0, 255)
    paper = 255 - random.integers(0, 25, 3)
    image = Image.new("RGB", (SIZE, SIZE), tuple(int(c) for c in paper))
    draw = ImageDraw.Draw(image)
    ink = tuple(int(c) for c in shade)
    step, shift = int(random.integers(22, 32)), int(random.integers(0, 20))
    cells = [(x, y) for x in range(-shift, SIZE, step) for y in range(-shift, SIZE, step)]
    if pattern == "stripes":
        for y in range(-shift, SIZE, step):
            draw.rectangle((0, y, SIZE, y + step // 2), fill=ink)
    elif pattern == "upright stripes":
        for x in range(-shift, SIZE, step):
            draw.rectangle((x, 0, x + step // 2, SIZE), fill=ink)
    elif pattern == "dots":
        for x, y in cells:
            draw.ellipse((x, y, x + step * 0.8, y + step * 0.8), fill=ink)
    elif pattern == "checks":
        for x, y in cells:
            if ((x + shift) // step + (y + shift) // step) % 2:
                draw.rectangle((x, y, x + step - 1, y + step - 1), fill=ink)
    else:
        for radius in range(step // 2, SIZE, step):
            box = [SIZE / 2 + sign * radius + shift - 10 for sign in (-1, -1, 1, 1)]
            draw.ellipse(box, outline=ink, width=step // 3)
    return image


def group_of(path: str | os.PathLike[str]) -> str:
    """Return the group of a picture, read from its file name."""
    return Path(path).stem.rpartition("_")[0]
