"""Writes images to one folder per cluster; corrects, extends and takes back such an export."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
