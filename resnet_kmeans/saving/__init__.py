"""Saves a fitted clusterer to a model file: arrays with a header, without code."""

from resnet_kmeans.saving.fitted_model import load_model, new_fitted_kmeans, save_model
