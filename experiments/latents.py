"""What the codes of a trained run can do, in pictures.

    python experiments/latents.py results/vae/RUN

Does what `jaxae latents` does: jaxae/commands/latents.py lists the pictures. About a minute on two
cores for codes of 20 numbers.
"""

from jaxae.commands import latents

if __name__ == "__main__":
    latents.start()
