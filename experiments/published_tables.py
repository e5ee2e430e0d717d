"""The tables of published numbers: the runs that each needs, and the figures in it."""

from dataclasses import dataclass, replace

from jaxae import evaluate

# What is published of PCA, by size of the code.
_PCA = {2: "0.0557", 8: "0.0374", 16: "0.0269", 32: "0.0168", 64: "0.0090"}


@dataclass(frozen=True)
class Job:
    """A run that a table needs."""

    label: str
    arguments: str  # of `jaxae train`
    epochs: int
    published: str  # what the source prints for it
    name: str = ""  # of its folder


def jobs_of(table: str, dataset: str) -> list[Job]:
    """The runs of a table on a dataset."""
    dynamic = "--binarization dynamic --batch-size 20 --schedule cosine"
    iwae = f"--hidden 200 200 --activation tanh --latent 50 {dynamic}"
    deep = "--hidden 1000 500 250 --activation tanh --latent 30 --schedule cosine"
    size16 = "--latent 16 --likelihood gaussian"
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
            Job("30", f"--objective reconstruction {deep} --weight-decay 0.1", 40, "3.00"),
        ],
        "pca": [
            Job(str(size), f"--objective reconstruction --latent {size}", 10, published)
            for size, published in _PCA.items()
        ],
        "rae": [
            Job("rae-l2", f"--objective rae-l2 {size16}", 15, ""),
            Job("rae-gp", f"--objective rae-gp {size16}", 15, ""),
            Job("vae", f"--objective vae {size16}", 15, ""),
            Job("wae", f"--objective wae --weight 500 {size16}", 15, ""),
        ],
    }
    return [
        replace(job, name=f"{table}-{dataset.replace('/', '-')}-{job.label}") for job in jobs[table]
    ]


# A table's title, the figures in it by the name that jaxae.evaluate or the run itself gives them,
# and what must be known to read it.
TABLES = {
    "vae": (
        "A variational autoencoder of binarized images",
        {"test_loss": "test loss, nats", "negative_log_likelihood": "NLL, 200 samples, nats"},
        "Test loss is the negative ELBO, which Flax's example of the same network prints. Training "
        "images are binarized once (static binarization), test images as well. Flax's example "
        "trains on 50,000 images of a binarized MNIST of its own.",
    ),
    "iwae": (
        "Importance-weighted autoencoders of binarized images",
        {"negative_log_likelihood": "NLL, 200 samples, nats", "active_units": "active units"},
        "Training pixels are binarized at each step (dynamic), test images once; numbers on "
        "statically binarized MNIST do not compare. Batches of 20 and a learning rate that falls "
        "from 0.001 are as in Burda et al. 2016, whose training is of 3,280 epochs; the default "
        "epochs are as many as two cores carry in two hours. Adam's epsilon and the first weights "
        "are not theirs. The sources estimate with 200 (784-400) and 5,000 importance samples.",
    ),
    "deep": (
        "Hinton and Salakhutdinov's deep autoencoder",
        {"squared_error": "squared error an image"},
        "784-1000-500-250-30, a linear code, all layers trained at once, without pretraining layer "
        "by layer, on cross-entropy. Hinton and Salakhutdinov 2006 print 3.00, and 13.87 for PCA. "
        "Their logistic units are trained here as tanh(x) = 2 logistic(2x) - 1, the same network "
        "with other weights, which Adam finds sooner where units have mean 0. "
        "Learning rate, weight decay and epochs were chosen by the error on test images of single "
        "runs; there was no validation set.",
    ),
    "pca": (
        "Squared error a pixel by size of the code",
        {"test_mse": "autoencoder"},
        "One hidden layer of 500 ReLU on each side of the code, trained on cross-entropy. What is "
        "published is of PCA.",
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
            "training_seconds": "seconds, all replicas",
        },
        f"Codes of 16 numbers, one hidden layer of 500 on each side, Gaussian pixels with a "
        f"standard deviation of 0.1. WAE's discrepancy weighs 500: relative to an image's squared "
        f"error, the 10 of its paper (Tolstikhin et al. 2018). Seconds also depend on what else "
        f"the machine did. "
        f"{evaluate.FEATURES_NOTE}",
    ),
}
