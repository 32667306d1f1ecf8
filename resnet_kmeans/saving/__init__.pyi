from .file_format import read_model as read_model
from .file_format import write_model as write_model
from .fitted_model import explain_model_errors as explain_model_errors
from .fitted_model import from_arrays as from_arrays
from .fitted_model import new_fitted_kmeans as new_fitted_kmeans
from .fitted_model import projection_from_arrays as projection_from_arrays
from .fitted_model import projection_to_arrays as projection_to_arrays
from .fitted_model import to_arrays as to_arrays
