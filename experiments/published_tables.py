"""The tables: the runs that each of them needs, and the figures it shows."""

from dataclasses import dataclass, replace
from itertools import product

from jaxae import data, evaluate

# Published squared errors per pixel of PCA, by size of the code.
_PCA = {2: "0.0557", 8: "0.0374", 16: "0.0269", 32: "0.0168", 64: "0.0090"}


@dataclass(frozen=True)
class Job:
    """A run that a table needs."""

    label: str
    arguments: str  # of `jaxae train`
    epochs: int
    published: str = ""  # the number that the source prints
    name: str = ""  # of the run's folder


def jobs_of(table: str, dataset: str) -> list[Job]:
    """Returns the runs of a table on a dataset."""
    dynamic = "--binarization dynamic --batch-size 20 --schedule cosine"
    iwae = f"--hidden 200 200 --activation tanh --latent 50 {dynamic}"
    deep = "--hidden 1000 500 250 --activation tanh --latent 30 --schedule cosine"
    size16 = "--latent 16 --likelihood gaussian"
    colors = "--size 32 --fit crop --likelihood gaussian --batch-size 64 --schedule cosine"
    members = {
        "vae": f"--latent 64 {colors}",
        "rae-l2": f"--latent 64 {colors}",
        "vq": f"--latent 16 --codebook 256 {colors}",
    }
    jobs = {
        "vae": [
            Job("784-500-20", "--hidden 500 --latent 20 --binarization static", 10, "near 104"),
        ],
        "iwae": [
            Job("784-400-40", f"--hidden 400 --latent 40 {dynamic}", 80, "89.8"),
            Job("vae-1", f"--objective iwae --samples 1 {iwae}", 80, "86.8"),
            Job("vae-5", f"--objective miwae --samples 1 --groups 5 {iwae}", 80, "86.5"),
            Job("iwae-5", f"--objective iwae --samples 5 {iwae}", 80, "85.5"),
            Job("miwae-8-8", f"--objective miwae --samples 8 --groups 8 {iwae}", 16, "85.0"),
        ],
        "deep": [
            Job(
                "30",
                f"--objective reconstruction {deep} --learning-rate 0.002 --weight-decay 0.1",
                40,
                "3.00",
            ),
        ],
        "deep-settings": [
            Job(
                f"{rate}-{decay}",
                f"--objective reconstruction {deep} --learning-rate {rate} --weight-decay {decay} "
                "--validation 5000",
                40,
            )
            for rate, decay in product(("0.0005", "0.001", "0.002"), ("0", "0.1", "0.3"))
        ],
        "pca": [
            Job(str(size), f"--objective reconstruction --latent {size}", 10, published)
            for size, published in _PCA.items()
        ],
        "rae": [
            Job("rae-l2", f"--objective rae-l2 {size16}", 15),
            Job("rae-gp", f"--objective rae-gp {size16}", 15),
            Job("vae", f"--objective vae {size16}", 15),
            Job("wae", f"--objective wae --weight 500 {size16}", 15),
        ],
        "pictures": [
            Job(f"{member}-{network}", f"--objective {member} --network {network} {flags}", epochs)
            for member, flags in members.items()
            for network, epochs in {"conv": 100, "resnet": 60}.items()
        ],
    }
    named = data.shown_name(dataset).replace("/", "-")
    return [replace(job, name=f"{table}-{named}-{job.label}") for job in jobs[table]]


# For each table, its title, its columns' headings by the names of the figures in summary.json or
# evaluation.json, and a note that explains it.
TABLES = {
    "vae": (
        "A variational autoencoder of binarized images",
        {"test_loss": "test loss, nats", "negative_log_likelihood": "NLL, 200 samples, nats"},
        "Test loss is the negative ELBO, which Flax's example of the same network prints. Training "
        "and test images are binarized once (static binarization). Flax's example trains on 50,000 "
        "images of its own binarized MNIST.",
    ),
    "iwae": (
        "Importance-weighted autoencoders of binarized images",
        {"negative_log_likelihood": "NLL, 200 samples, nats", "active_units": "active units"},
        "Training pixels are binarized at each step (dynamic binarization), test images once; the "
        "numbers do not compare with those on statically binarized MNIST. As in Burda et al. 2016, "
        "batches have 20 images and the learning rate falls from 0.001. They train for 3,280 "
        "epochs; the default here is as many as two cores can train in two hours. Adam's epsilon "
        "and the initialization differ from theirs. The sources use 200 (784-400) and 5,000 "
        "importance samples for the estimate.",
    ),
    "deep": (
        "Hinton and Salakhutdinov's deep autoencoder",
        {"squared_error": "squared error per image"},
        "784-1000-500-250-30 with a linear code, trained on cross-entropy, all layers at once and "
        "without layer-by-layer pretraining. Hinton and Salakhutdinov 2006 print 3.00, and 13.87 "
        "for PCA. Their logistic units are trained here as tanh(x) = 2 logistic(2x) - 1: the same "
        "network with other weights, which Adam finds sooner if units have mean 0. The learning "
        "rate and the weight decay are those of the lowest validation error in the table of "
        "settings (`published.py deep-settings`), whose runs are single ones and hold out 5,000 "
        "training images; these runs train on all of them.",
    ),
    "deep-settings": (
        "Settings of the deep autoencoder",
        {"validation_squared_error": "squared error per image, validation"},
        "The same network, with 5,000 training images held out for validation, by learning rate "
        "and weight decay. Test errors are recorded, and do not choose.",
    ),
    "pca": (
        "Squared error per pixel by size of the code",
        {"test_mse": "autoencoder"},
        "One hidden layer of 500 ReLU units on each side of the code, trained on cross-entropy. "
        "The published numbers are PCA's.",
    ),
    "rae": (
        "Regularized, variational and Wasserstein autoencoders",
        {
            "test_mse": "MSE",
            "fid": "FID, prior",
            "mixture_fid": "FID, mixture",
            "reconstruction_fid": "FID, reconstructions",
            "linear_probe_accuracy": "linear probe",
            "negative_log_likelihood": "NLL, nats",
        },
        f"Codes have 16 dimensions, with one hidden layer of 500 on each side and Gaussian pixels "
        f"with a standard deviation of 0.1. WAE's discrepancy has weight 500, which relative to an "
        f"image's squared error is the 10 of its paper (Tolstikhin et al. 2018). "
        f"{evaluate.FEATURES_NOTE}",
    ),
    "pictures": (
        "Color pictures of one's own",
        {
            "parameters": "parameters",
            "test_mse": "MSE",
            "test_psnr": "PSNR, dB",
            "test_ssim": "SSIM",
            "fid": "FID, prior",
            "mixture_fid": "FID, mixture",
            "resample_fid": "FID, resampled",
            "reconstruction_fid": "FID, reconstructions",
            "linear_probe_accuracy": "linear probe",
        },
        "Three members with strided convolutions and with residual networks, at 32x32 pixels. The "
        "pictures of a folder come without a test split, so a tenth is held out. Codes have 64 "
        "numbers, or are maps of 16 channels whose vectors come from a codebook of 256. New maps "
        "take each vector from training codes independently of its neighbors, so samples of vq "
        "have no shapes.",
    ),
}
