from .cache import FeatureCache as FeatureCache
from .cache import cache_path as cache_path
from .cache import file_state as file_state
from .cache import networks_folder as networks_folder
from .cache import row_key as row_key
from .extraction import Extraction as Extraction
from .progress import progress_bar as progress_bar
