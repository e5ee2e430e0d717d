"""The command line of a sweep: which values are options of their own, and the cells they span."""

import pytest

from jaxae.errors import UserError
from jaxae.sweeps import make_cells, read_axes


def cells(line: str, *together: str) -> dict[str, str]:
    axes = read_axes(line.split(), [names.split() for names in together])
    return {name: " ".join(words) for name, words in make_cells(axes).items()}


def test_cells_are_the_product_of_all_values() -> None:
    assert cells("--objective vae rae-l2 --latent 2 8 --dataset mnist_mini --replicas 3") == {
        f"objective-{member}_latent-{size}": (
            f"--objective {member} --latent {size} --dataset mnist_mini --replicas 3"
        )
        for member in ("vae", "rae-l2")
        for size in (2, 8)
    }


def test_values_may_come_in_several_places_and_forms() -> None:
    once = cells("--batch-size 32 64")
    assert cells("--batch_size=32 --batch-size 64") == once
    assert list(once) == ["batch-size-32", "batch-size-64"]
    assert cells("--latent 2") == {"run": "--latent 2"}
    assert cells("") == {"run": ""}


def test_an_option_with_several_values_is_given_several_times() -> None:
    assert cells("--hidden 500 250 --hidden 100") == {
        "hidden-500-250": "--hidden 500 250",
        "hidden-100": "--hidden 100",
    }
    assert list(cells("--levels 8 5 --levels 4")) == ["levels-8-5", "levels-4"]


def test_a_switch_may_be_on_and_off() -> None:
    assert cells("--drop-remainder --no-drop-remainder --epochs 3") == {
        "drop-remainder": "--drop-remainder --epochs 3",
        "no-drop-remainder": "--no-drop-remainder --epochs 3",
    }


def test_zipped_options_change_together() -> None:
    line = "--latent 2 8 --epochs 1 2 --learning-rate 0.1 0.2"
    assert list(cells(line, "latent learning_rate")) == [
        f"latent-{size}_learning-rate-{rate}_epochs-{epochs}"
        for size, rate in ((2, 0.1), (8, 0.2))
        for epochs in (1, 2)
    ]
    assert len(cells(line, "--latent --epochs learning-rate")) == 2
    assert len(cells(f"{line} --seed 1 2", "latent epochs", "learning-rate seed")) == 4


def test_names_of_folders_are_distinct_and_have_no_separators() -> None:
    names = list(cells("--dataset /data/cats.npz data-cats.npz ../x"))
    assert names == ["dataset-data-cats.npz", "dataset-data-cats.npz_2", "dataset-x"]


def test_long_names_are_cut_and_stay_distinct() -> None:
    names = list(cells(f"--dataset {'a' * 150}x {'a' * 150}y"))
    assert len(set(names)) == 2
    assert all(len(name) < 150 for name in names)


@pytest.mark.parametrize(
    ("line", "together", "said"),
    [
        ("--latnt 2", (), "--latnt is no option of jaxae train: did you mean --latent?"),
        ("--xyzzy", (), "jaxae train --help lists its options"),
        ("2 --latent 3", (), "2: give the option that it is a value of first"),
        ("--latent", (), "--latent without a value: give one or more"),
        ("--latent 2 8 2", (), "--latent 2 was given twice"),
        ("--stream yes", (), "--stream yes: leave the value out"),
        ("--no-latent", (), "--no-latent is no option of jaxae train"),
        ("--resume run", (), "--resume is not for sweeps: the same command continues a sweep"),
        ("--devices 2", (), "a sweep is one process and uses all its devices"),
        ("--latent 2 8 --seed 1 2 3", ("latent seed",), "--latent has 2, --seed has 3 values"),
        ("--latent 2 8", ("latent seed",), "--seed has no values"),
        ("--latent 2 8", ("latent",), "that is one option"),
        ("--latent 2 8", ("latent latent",), "that is one option"),
        ("--latent 2 8 --seed 1 2 --epochs 1 2", ("latent seed", "seed epochs"), "--seed has no"),
    ],
)
def test_errors_say_what_to_do(line: str, together: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=r".") as error:
        cells(line, *together)
    assert said in str(error.value)
