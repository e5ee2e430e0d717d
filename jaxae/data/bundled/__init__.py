"""The subsets that come with the package: one .npz file per dataset, made by `make`."""
