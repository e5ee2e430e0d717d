"""The command `jaxae`: `main` starts one of its subcommands, `COMMANDS`.

The modules of the subcommands `train`, with its `optimizers`, and `latents` are imported on their
own, because JAX takes seconds.
"""

from jaxae.commands.dispatch import COMMANDS, main

__all__ = ["COMMANDS", "latents", "main", "optimizers", "train"]  # pyright: ignore[reportUnsupportedDunderAll]
