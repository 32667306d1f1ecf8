"""The model file: a fitted clusterer as arrays with a header, without code."""

from resnet_kmeans.saving.file_format import read_model, write_model
from resnet_kmeans.saving.fitted_model import (
    explain_model_errors,
    from_arrays,
    new_fitted_kmeans,
    projection_from_arrays,
    projection_to_arrays,
    save_model,
)
