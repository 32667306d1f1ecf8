"""Finds image files and decodes them to RGB pixels."""

from resnet_kmeans.images.decoding import MAX_FILE_BYTES, decode, open_upright, read_file
from resnet_kmeans.images.finding import (
    IMAGE_EXTENSIONS,
    find_images,
    is_image,
    passed_over,
    require_images,
)
from resnet_kmeans.images.sources import (
    as_sources,
    common_folder,
    images_of,
    short_name,
    source_name,
)
