"""Pictures of what the codes of a trained run can do.

    python experiments/latents.py results/vae/RUN

Does the same as `jaxae latents`; jaxae/commands/latents.py lists the pictures. About a minute on
two cores for codes of 20 numbers.
"""

from jaxae.commands import latents

if __name__ == "__main__":
    latents.start()
