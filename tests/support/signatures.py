"""The checker of types, shapes and dtypes in jaxae's signatures."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # accepts an int as a float
