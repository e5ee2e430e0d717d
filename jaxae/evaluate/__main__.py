"""Starts the evaluation of a run: `python -m jaxae.evaluate RUN`."""

from jaxae.evaluate import start

if __name__ == "__main__":
    start(program="python -m jaxae.evaluate")
