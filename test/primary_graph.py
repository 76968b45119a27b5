"""The graph of the tests' primary model; three sizes are at hand where onnx is not installed.

python -m test.primary_graph    writes them anew
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent / 'data'
STORED = ((48, 64, 4), (96, 128, 4), (96, 128, 1))  # height, width, stride


def stored_path(height: int, width: int, stride: int) -> Path:
    """Where the graph of a size lies, if it is one of ``STORED``."""
    return FOLDER / f'primary_{height}x{width}_{stride}.onnx'


def read_graph(height: int, width: int, stride: int) -> bytes:
    """Give the graph of a size; needs onnx for those that are not stored."""
    if (height, width, stride) in STORED:
        return stored_path(height, width, stride).read_bytes()
    return build_graph(height, width, stride)


def build_graph(height: int, width: int, stride: int) -> bytes:
    """Build a graph that says how strong red, green and blue are around a pixel.

    The logits are the mean of the normalised channels over stride x stride pixels.
    """
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node('Cast', ['image'], ['float'], to=TensorProto.FLOAT),
        helper.make_node('Transpose', ['float'], ['chw'], perm=[0, 3, 1, 2]),
        helper.make_node('Mul', ['chw', 'scale'], ['scaled']),
        helper.make_node(
            'AveragePool', ['scaled'], ['logits'], kernel_shape=[stride] * 2, strides=[stride] * 2
        ),
    ]
    scale = helper.make_tensor('scale', TensorProto.FLOAT, [1], [10 / 255])
    graph = helper.make_graph(
        nodes,
        'primary',
        [helper.make_tensor_value_info('image', TensorProto.UINT8, [1, height, width, 3])],
        [
            helper.make_tensor_value_info(
                'logits', TensorProto.FLOAT, [1, 3, height // stride, width // stride]
            )
        ],
        [scale],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


if __name__ == '__main__':
    FOLDER.mkdir(exist_ok=True)
    for size in STORED:
        stored_path(*size).write_bytes(build_graph(*size))
