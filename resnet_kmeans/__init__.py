"""Cluster images by what they look like, with a pretrained ResNet and K-Means."""

import lazy_loader

__version__ = "0.1.0"

# The names are in __init__.pyi. Each is imported at its first use, as all together take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
# Modules are attributes too, but `import *` does not import them.
__all__ = [name for name in __all__ if name not in ("display", "exceptions", "exports", "spark")]
