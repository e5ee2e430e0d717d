"""The command `jaxae`, for `python -m jaxae`."""

from jaxae.commands import main

if __name__ == "__main__":
    main()
