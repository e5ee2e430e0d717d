"""Exports that are read again: their network with its variables, without a checkpoint."""

from pathlib import Path

import flax.linen as nn

from jaxae import runs
from jaxae.exports import arrays
from jaxae.exports.contents import ARRAY_FILES, Contents, check_loads, read_contents, verify
from jaxae.likelihoods import Likelihood
from jaxae.network import Network, Trained


def read_export(
    folder: Path,
    *,
    model: nn.Module | Network | None = None,
    likelihood: Likelihood | str | None = None,
) -> tuple[Trained, Contents]:
    """Returns the network of an export in safetensors or npz, and what the export holds.

    Args:
      folder: the export's folder, whose files are verified; no code of it runs.
      model: the network that was exported, or its module, if it is not from `jaxae.models`.
      likelihood: the likelihood of that module, or its name.

    Raises:
      UserError: the folder is no such export, a file is damaged or missing, or the variables are
        not those of the network.
    """
    contents = read_contents(folder)
    check_loads(contents, folder, folder / "README.md")
    verify(folder, contents, [runs.CONFIG_FILE, ARRAY_FILES[contents.format]])
    variables = arrays.read(folder, contents.format)
    return runs.with_variables(folder, variables, model=model, likelihood=likelihood), contents
