"""The family of autoencoders: one table of all members, and the functions that make them."""

from jaxae.family.making import choose_settings, make_model, make_objective, numbers_of
from jaxae.family.members import (
    Context,
    Member,
    denoising_maker,
    make_conditional,
    make_plain,
    make_scalar_quantized,
    make_sigmoid_code,
    make_top_k,
    make_variational,
    make_vector_quantized,
    objective_maker,
)
from jaxae.family.settings import Setting, Settings, defaults_of
from jaxae.family.table import FAMILY, describe_members, setting_fields

__all__ = [
    "FAMILY",
    "Context",
    "Member",
    "Setting",
    "Settings",
    "choose_settings",
    "defaults_of",
    "denoising_maker",
    "describe_members",
    "make_conditional",
    "make_model",
    "make_objective",
    "make_plain",
    "make_scalar_quantized",
    "make_sigmoid_code",
    "make_top_k",
    "make_variational",
    "make_vector_quantized",
    "numbers_of",
    "objective_maker",
    "setting_fields",
]
