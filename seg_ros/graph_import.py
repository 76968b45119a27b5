"""From a foreign ONNX graph to a model folder, checked in every engine on real images."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from seg_ros.foreign_graph import (
    IR_VERSIONS,
    ForeignNet,
    choose_input,
    choose_output,
    input_steps,
    logits_before_argmax,
    opset_of,
    prune,
    read_foreign,
    rename,
)
from seg_ros.foreign_output import OutputPort, interpret, output_steps
from seg_ros.model_card import (
    GRAPH_FILE,
    ClassInfo,
    InputSpec,
    ModelCard,
    load_model_card,
    save_model_card,
)
from seg_ros.model_files import sha256_of
from seg_ros.model_name import check_model_name
from seg_ros.parity import (
    MAX_RELATIVE_ERROR,
    MIN_LABEL_AGREEMENT,
    Parity,
    demand_parity,
    engine_parity,
    put_in_place,
)

NET = 'onnx'  # what the card says of a net that has no Python code here

Reference = Callable[[np.ndarray], np.ndarray]


class ForeignGraph:
    """A foreign graph whose input and output are known; ``write`` makes the model folder.

    Args:
        path: The ``.onnx`` file; weights in files beside it are taken into the graph.
        net: What the net expects.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the graph cannot be read, or its input or output are no image and no map.
    """

    def __init__(self, path: Path, net: ForeignNet) -> None:
        self.net = net
        self._model = read_foreign(path)
        self.source = {'file': path.name, 'sha256': sha256_of(path)}
        self._output = choose_output(self._model, net.output_name)
        self.port = choose_input(self._model, net)

    @property
    def spec(self) -> InputSpec:
        """Its input as a card says it, of a stride that is not known yet."""
        height, width = self.port.size_hw
        return InputSpec(height, width, 1, self.net.mean_rgb, self.net.std_rgb)

    def write(
        self,
        folder: Path,
        classes: Sequence[ClassInfo],
        images_hwc: Sequence[np.ndarray],
        *,
        overwrite: bool = False,
        min_label_agreement: float = MIN_LABEL_AGREEMENT,
        reference: Reference | None = None,
        provenance: dict[str, object] | None = None,
    ) -> tuple[ModelCard, OutputPort, dict[str, Parity]]:
        """Write a model folder, or nothing.

        Args:
            folder: The folder to write; its name becomes the model's.
            classes: One per channel (or id) of the output, in their order.
            images_hwc: Real images, (h, w, 3) uint8 RGB of the input's size.
            overwrite: Replace a folder that exists.
            min_label_agreement: Share of the pixels on which an engine must agree.
            reference: From one of these images to what the output should be; the foreign graph
                as it was, in ONNX Runtime, when None.
            provenance: Further facts for the card.

        Returns:
            The card, what the output was taken for, and how close each engine came.

        Raises:
            ValueError: If the output does not fit the classes, the graph refuses its input, or an
                engine computes something else.
            FileExistsError: If the folder exists and ``overwrite`` is false.
        """
        check_model_name(folder.name)
        if folder.exists() and not overwrite:
            raise FileExistsError(f'{folder} exists; choose another one, or allow overwriting')
        if not images_hwc:
            raise ValueError('no image to check the graph with; give at least one real image')
        output, expected = self._probe(len(classes), images_hwc, reference)
        stride = _stride(self.port.size_hw, output.hw)
        spec = replace(self.spec, logits_stride=stride)
        facts = {'imported': {**self.source, 'output': f'{output.name}: {output}'}}
        facts['imported'] |= {'order': self.net.order, 'layout': self.port.layout}
        card = ModelCard(
            folder.name,
            NET,
            tuple(classes),
            spec,
            files={GRAPH_FILE: ''},
            provenance={**(provenance or {}), **facts},
        )
        model = self._wrapped(output, spec, len(classes))
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f'.{folder.name}-', dir=folder.parent))
        try:
            (scratch / GRAPH_FILE).write_bytes(model.SerializeToString(deterministic=True))
            save_model_card(card, scratch)
            parity = self._checked(
                load_model_card(scratch), output, expected, images_hwc, min_label_agreement
            )
            found = {name: asdict(each) for name, each in parity.items()}
            card = replace(card, provenance={**card.provenance, 'export_parity': found})
            save_model_card(card, scratch)
            put_in_place(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return load_model_card(folder), output, parity

    def _checked(
        self,
        card: ModelCard,
        output: OutputPort,
        expected: list[np.ndarray],
        images_hwc: Sequence[np.ndarray],
        min_label_agreement: float,
    ) -> dict[str, Parity]:
        rows, columns = (
            size // card.input.logits_stride
            for size in (card.input.height_px, card.input.width_px)
        )
        if output.hw != (rows, columns):
            expected = [_resized(each, rows, columns) for each in expected]
        parity = engine_parity(card, expected, images_hwc)
        # An id that another engine rounds otherwise is wrong by the whole range of the logits.
        compared = parity
        if output.kind == 'ids':
            compared = {
                name: replace(each, relative_error=0.0, usual_error=0.0)
                for name, each in parity.items()
            }
        demand_parity(
            card.name,
            compared,
            min_label_agreement,
            max_error=MAX_RELATIVE_ERROR,
            reference='the graph as it was',
            command='import',
        )
        return parity

    def _probe(
        self, num_classes: int, images_hwc: Sequence[np.ndarray], reference: Reference | None
    ) -> tuple[OutputPort, list[np.ndarray]]:
        """Run the foreign graph: what its output is, and the logits for each image."""
        scores = logits_before_argmax(self._model.graph, self._output)
        outputs = self._run([self._output, *([scores] if scores else [])], images_hwc)
        raw = outputs[self._output]
        if reference is not None:
            raw = [reference(image) for image in images_hwc]
        port = interpret(self._output, raw, num_classes)
        expected = [port.logits(each, num_classes) for each in raw]
        if port.kind != 'ids' or scores is None:
            return port, expected
        try:
            cut = interpret(scores, outputs[scores], num_classes)
            logits = [cut.logits(each, num_classes) for each in outputs[scores]]
        except ValueError:
            before = outputs[scores][0]
            if before.ndim == 4 and np.array_equal(before[0].argmax(0), raw[0].reshape(port.hw)):
                raise  # so these are the channels, and the classes are not as many
            return port, expected
        same = cut.kind != 'ids' and all(
            found.shape == ids.shape and (found.argmax(0) == ids.argmax(0)).all()
            for found, ids in zip(logits, expected, strict=True)
        )
        return (cut, logits) if same else (port, expected)

    def _run(
        self, names: list[str], images_hwc: Sequence[np.ndarray]
    ) -> dict[str, list[np.ndarray]]:
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        listed = {port.name for port in model.graph.output}
        model.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in names if name not in listed
        )
        options = ort.SessionOptions()
        options.log_severity_level = 4
        height, width = self.port.size_hw
        try:
            session = ort.InferenceSession(
                model.SerializeToString(), options, providers=['CPUExecutionProvider']
            )
            runs = [
                session.run(names, {self.port.name: self.port.pixels(image, self.net)})
                for image in images_hwc
            ]
        except Exception as error:  # its errors share no narrower class
            reason = ' '.join(str(error).split())
            raise ValueError(
                f'the graph does not run on an image of {height}x{width}: {reason}. Many nets '
                'take multiples of 32 only: choose another --size, or export it for that size'
            ) from error
        return {name: [run[i] for run in runs] for i, name in enumerate(names)}

    def _wrapped(self, output: OutputPort, spec: InputSpec, num_classes: int) -> onnx.ModelProto:
        """The graph between ``image`` and ``logits``."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        del graph.output[:]
        graph.output.append(onnx.ValueInfoProto(name=output.name))
        prune(graph)
        rename(graph)
        before = input_steps(self.port, self.net)
        start = graph.output[0].name
        after = output_steps(start, output, spec, num_classes, opset_of(model))
        nodes = [*before.nodes, *graph.node, *after.nodes]
        del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
        graph.node.extend(nodes)
        graph.initializer.extend([*before.constants, *after.constants])
        height, width, stride = spec.height_px, spec.width_px, spec.logits_stride
        graph.input.append(
            helper.make_tensor_value_info('image', TensorProto.UINT8, (1, height, width, 3))
        )
        shape = (1, num_classes, height // stride, width // stride)
        graph.output.append(helper.make_tensor_value_info('logits', TensorProto.FLOAT, shape))
        lowest = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
        model.ir_version = min(max(model.ir_version, lowest), IR_VERSIONS[1])
        _strip_traces(model)
        try:
            onnx.checker.check_model(model)
        except onnx.checker.ValidationError as error:
            raise ValueError(f'the graph is not valid: {error}') from error
        return model


def _stride(size_hw: tuple[int, int], output_hw: tuple[int, int]) -> int:
    """Input pixels per logit; the next finer one where the output does not divide the input."""
    coarsest = max(1, min(size // found for size, found in zip(size_hw, output_hw, strict=True)))
    return next(s for s in range(coarsest, 0, -1) if not any(size % s for size in size_hw))


def _resized(logits_chw: np.ndarray, rows: int, columns: int) -> np.ndarray:
    planes = [
        cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_LINEAR) for plane in logits_chw
    ]
    return np.stack(planes)


def _strip_traces(model: onnx.ModelProto) -> None:
    """Remove what exporters note down about their machine."""
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ''
    model.graph.name = 'imported'
    for node in model.graph.node:
        node.doc_string = ''
        if hasattr(node, 'metadata_props'):
            del node.metadata_props[:]
