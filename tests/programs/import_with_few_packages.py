"""Imports modules without some packages, and makes the recipes of the GPU benchmark.

    python import_with_few_packages.py orbax,tyro jaxae.train jaxae.models

Prints nothing; importing a missing package is an error. Needs experiments/speed on the path.
"""

import sys
from importlib import import_module

from support.missing import hide


def main(missing: str, *modules: str) -> None:
    """Hides the packages, then imports."""
    hide(missing.split(","))
    for module in modules:
        import_module(module)
    import experiment_files
    import gpu_sizes

    shape = gpu_sizes.tiled(2).shape[1:]
    for name in gpu_sizes.RECIPES:
        experiment = experiment_files.load_experiment(name)
        experiment.make_recipe(experiment.Options(), shape)


if __name__ == "__main__":
    main(*sys.argv[1:])
