"""The evaluation of a run: figures of its images and codes, and a page that shows them."""

from jaxae.evaluate.classifier import FEATURES_NOTE
from jaxae.evaluate.command import start
from jaxae.evaluate.images import Images, make_images

__all__ = ["FEATURES_NOTE", "Images", "make_images", "start"]
