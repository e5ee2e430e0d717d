"""Any member of the family of autoencoders, on any dataset, dense or convolutional.

    python experiments/family.py --objective beta-tc --beta 4

Does the same as `jaxae train`, whose recipe is in jaxae/commands/train.py. 20 epochs of MNIST
through the dense network take about a minute on two cores; objectives with several samples take
longer.
"""

from jaxae.commands import train

if __name__ == "__main__":
    train.start()
