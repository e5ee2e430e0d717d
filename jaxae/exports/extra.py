"""The packages of the extra `export`, which are imported only when they are needed."""

import importlib
from types import ModuleType

from jaxae.errors import UserError


def need(module: str, what: str) -> ModuleType:
    """Imports a module of the extra; raises `UserError` if it is not installed.

    Args:
      module: the name of the module.
      what: what needs it, for the error.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise UserError(
            f"{what} needs the package {package}, which is not installed: run `pip install "
            f"{package}`, or in a clone of jaxae `pip install -e '.[export]'`"
        ) from None
