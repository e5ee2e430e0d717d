"""Any member of the family of autoencoders, on any dataset, dense or convolutional.

    python experiments/family.py --objective beta-tc --beta 4

Does what `jaxae train` does: the recipe is in jaxae/commands/train.py. About a minute for 20 epochs
of MNIST through the dense network on two cores, more with several samples.
"""

from jaxae.commands import train

if __name__ == "__main__":
    train.start()
