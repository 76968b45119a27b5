"""A graph as training frameworks export it, whose answer can be told from the picture."""

from __future__ import annotations

from pathlib import Path


def write_primary_graph(path: Path, *, height: int = 48, width: int = 64) -> Path:
    """Write a graph whose three logits are the normalised channels."""
    import onnx
    from onnx import TensorProto, helper

    shape = [1, 3, height, width]
    graph = helper.make_graph(
        [helper.make_node('Identity', ['image'], ['logits'])],
        'primary',
        [helper.make_tensor_value_info('image', TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info('logits', TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
