"""Numbers about images, codes and densities."""

from jaxae.metrics.images import mse, psnr, ssim
from jaxae.metrics.pca import PCA, fit_pca

__all__ = ["PCA", "fit_pca", "mse", "psnr", "ssim"]
