"""The ONNX graph of a net: camera bytes in, logits out, the same bytes for the same net."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxscript.optimizer
import onnxscript.rewriter
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript.rewriter.rules.common import fuse_pad_into_conv_rule
from torch import Tensor, nn

from seg_ros.nets.deployed import DeployedNet, WeightsDtype

# What the oldest engines that setup.py accepts can read, and so the last for Ubuntu 22.04.
OPSET, IR_VERSION = 20, 10
_CHATTY = ('onnx_ir', 'onnxscript')  # they tell of every node that they fold or remove


def write_graph(
    deployed: DeployedNet, size_hw: tuple[int, int], path: Path, dtype: WeightsDtype = 'float32'
) -> None:
    """Write the ONNX graph of a net for one input size; the same net gives the same bytes.

    Args:
        deployed: The net in eval mode.
        size_hw: Rows and columns of the graph's input ``image``.
        path: The file to write.
        dtype: Storage of the kernels; computed with in float32.
    """
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.ERROR)
    example = torch.zeros(1, *size_hw, 3, dtype=torch.uint8)
    with torch.no_grad():
        names = list(deployed.outputs(example))
        program = torch.onnx.export(
            _Outputs(deployed).eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=['image'],
            output_names=names,
            optimize=False,
            verbose=False,
        )
    assert program is not None  # it is None only for the old exporter
    # Folding constants is enough: merging batch normalisation into kernels is the engines' job,
    # and would make the graph's kernels others than those in weights.safetensors.
    onnxscript.optimizer.inline(program.model)
    onnxscript.optimizer.fold_constants(program.model)
    # A convolution pads each side by itself; no step of its own is needed.
    onnxscript.rewriter.rewrite(program.model, [fuse_pad_into_conv_rule])
    onnxscript.optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    model.ir_version = IR_VERSION  # the exporter would take its own newest
    _strip_traces(model)
    if dtype == 'float16':
        # The wrapper of the exported outputs and the deployed net each add their 'net.'.
        kernels = {f'net.net.{name}' for name in deployed.net.state_dict()}
        _store_half(model.graph, kernels)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


class _Outputs(nn.Module):
    """All maps as a tuple, in the order of their names."""

    def __init__(self, deployed: DeployedNet) -> None:
        super().__init__()
        self.net = deployed

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.net.outputs(image).values())


def _strip_traces(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes down about the machine: source paths and call stacks."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    model.graph.doc_string = ''
    for entries in (
        model.graph.node,
        model.graph.initializer,
        model.graph.input,
        model.graph.output,
    ):
        for entry in entries:
            del entry.metadata_props[:]
            entry.doc_string = ''


def _store_half(graph: onnx.GraphProto, names: set[str]) -> None:
    """Store kernels as float16 with a Cast to float32 in front of their use."""
    casts = []
    for tensor in graph.initializer:
        wanted = tensor.name in names and len(tensor.dims) > 1
        if not wanted or tensor.data_type != TensorProto.FLOAT:
            continue
        name = tensor.name
        half = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f'{name}.float16'))
        casts.append(
            helper.make_node('Cast', [tensor.name], [name], f'cast.{name}', to=TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
