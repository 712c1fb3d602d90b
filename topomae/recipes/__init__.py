"""Recipes: well-known data sets with their split, voxel size, window, crop and training, ready to be run."""
