from .running import open_export as open_export
