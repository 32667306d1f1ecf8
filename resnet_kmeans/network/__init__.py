"""Turns the name of a network, or a weights file, into a function from pixels to features."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
