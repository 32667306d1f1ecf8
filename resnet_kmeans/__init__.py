"""Cluster images by what they look like, with a pretrained ResNet and K-Means."""

import lazy_loader

__version__ = "0.1.0"

# The names stand in __init__.pyi. Each is imported at its first use: all take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
# Modules are attributes too, but no part of `import *`.
__all__ = [name for name in __all__ if name not in ("display", "exceptions", "spark")]
