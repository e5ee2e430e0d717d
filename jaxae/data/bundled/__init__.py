"""The subsets that the package carries: one compressed NumPy archive a dataset, made by `make`."""
