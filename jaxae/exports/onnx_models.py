"""Exported networks as ONNX models, written from their lists of operations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jaxae
from jaxae.exports.contents import FUNCTIONS
from jaxae.exports.extra import need
from jaxae.exports.onnx_graph import Graph, Value
from jaxae.exports.onnx_operations import add_operations
from jaxae.exports.signature import Signature
from jaxae.models import Operation, Shape
from jaxae.network import Trained
from jaxae.programs import program_of

_OPSET = 20  # the first with Gelu
_IR_VERSION = 9  # of that opset


def write(folder: Path, trained: Trained, signature: Signature) -> None:
    """Writes each function, for any batch size, and checks it.

    Raises `UserError` if a package is missing, or a part of the network is not from jaxae.
    """
    program = program_of(trained, signature.shape)
    operations = {"encoder": program.encode, "decoder": program.decode}
    for name in FUNCTIONS:
        listed = operations.get(name, program.encode + program.decode)
        model = _make_model(name, listed, signature)
        need("onnx.checker", "the format onnx").check_model(model, full_check=True)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())


def _make_model(name: str, operations: Sequence[Operation], signature: Signature) -> Any:
    """Returns a model of operations, whose batch is the axis "batch"."""
    helper, types = need("onnx.helper", "the format onnx"), need("onnx", "the format onnx")
    number, whole, pixel = (
        getattr(types.TensorProto, kind) for kind in ("FLOAT", "INT32", "UINT8")
    )
    graph = Graph()

    def described(tensor: str, kind: int, shape: Shape) -> Any:
        return helper.make_tensor_value_info(tensor, kind, ["batch", *shape])

    if name == "decoder":
        value = Value("codes", signature.code_shape)
        inputs = [described(value.name, number, value.shape)]
    else:
        value = Value(signature.noun, signature.shape)
        as_pixels = signature.input == "uint8"
        inputs = [described(value.name, pixel if as_pixels else number, value.shape)]
        if as_pixels:
            floats = Value(graph.node("Cast", [value.name], {"to": number}), value.shape)
            value = graph.chain(floats, ("Div", [255]))
    labels = None
    if signature.classes is not None:
        labels = "labels"
        inputs.append(described(labels, whole, ()))
    value = add_operations(graph, operations, value, labels)
    result = "codes" if name == "encoder" else f"decoded_{signature.noun}"
    graph.nodes.append(helper.make_node("Identity", [value.name], [result], "result"))
    output = described(result, number, value.shape)
    constants = [tensor for _, tensor in graph.constants.values()]
    return helper.make_model(
        helper.make_graph(graph.nodes, name, inputs, [output], constants),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="jaxae",
        producer_version=jaxae.__version__,
    )
