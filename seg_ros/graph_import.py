"""From a foreign ONNX graph to a model folder, checked in every engine on real images."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from seg_ros.foreign_graph import (
    IR_VERSIONS,
    ForeignNet,
    Steps,
    choose_input,
    choose_output,
    input_steps,
    logits_before_argmax,
    opset_of,
    prune,
    read_foreign,
    rename,
)
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
ONE_HOT = 10.0  # logit of the class of an id, against 0 of the others
_SMALLEST = 1e-6  # probability; below, its logarithm says nothing
_SUM_TOLERANCE = 1e-3

Reference = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class OutputPort:
    """What a foreign graph gives, as a run on a real image showed it.

    Attributes:
        name: Of the tensor.
        kind: ``logits``, ``probabilities`` or ``ids``.
        layout: ``nchw``, ``nhwc``, or ``nhw`` for ids without channels.
        is_binary: One channel for two classes: that of the second one.
        is_float32: Whether no cast is needed.
        hw: Rows and columns.
    """

    name: str
    kind: str
    layout: str
    is_binary: bool
    is_float32: bool
    hw: tuple[int, int]

    def __str__(self) -> str:
        form = 'one channel' if self.is_binary else self.layout
        return f'{self.kind} ({form}, {self.hw[0]}x{self.hw[1]})'

    def logits(self, raw: np.ndarray, num_classes: int) -> np.ndarray:
        """(C, h, w) float32 logits of what the graph gave."""
        if self.kind == 'ids':
            ids = raw.reshape(self.hw).astype(np.int64)
            wrong = ids[(ids < 0) | (ids >= num_classes)]
            if wrong.size:
                raise ValueError(
                    f'output {self.name!r} gives the id {wrong[0]}, and the classes are '
                    f'{num_classes}: list a class for each id from 0 on, in their order'
                )
            one_hot = ids[np.newaxis] == np.arange(num_classes)[:, np.newaxis, np.newaxis]
            return one_hot.astype(np.float32) * np.float32(ONE_HOT)
        values = raw[0].astype(np.float32)
        values = values.transpose(2, 0, 1) if self.layout == 'nhwc' else values
        if self.is_binary:
            first = 1 - values if self.kind == 'probabilities' else np.zeros_like(values)
            values = np.concatenate([first, values])
        if self.kind == 'probabilities':
            values = np.log(np.maximum(values, np.float32(_SMALLEST)))
        return np.ascontiguousarray(values)


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
        port = _interpreted(self._output, raw, num_classes)
        expected = [port.logits(each, num_classes) for each in raw]
        if port.kind != 'ids' or scores is None:
            return port, expected
        try:
            cut = _interpreted(scores, outputs[scores], num_classes)
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


def output_steps(
    start: str, output: OutputPort, spec: InputSpec, num_classes: int, opset: int
) -> Steps:
    """From the foreign output to ``logits``."""
    steps = Steps('output', start)
    rows, columns = output.hw
    if output.kind == 'ids':
        steps.add('Cast', to=TensorProto.INT32)
        steps.add('Reshape', np.array([1, 1, rows, columns], np.int64))
        steps.add('Equal', np.arange(num_classes, dtype=np.int32).reshape(1, -1, 1, 1))
        steps.add('Cast', to=TensorProto.FLOAT)
        steps.add('Mul', np.array(ONE_HOT, np.float32))
    else:
        if not output.is_float32:
            steps.add('Cast', to=TensorProto.FLOAT)
        if output.layout == 'nhwc':
            steps.add('Transpose', perm=[0, 3, 1, 2])
        if output.is_binary:
            second = steps.last
            zero_or_one = np.array(float(output.kind == 'probabilities'), np.float32)
            if output.kind == 'probabilities':
                first = steps.join('Sub', [steps.constant(zero_or_one), second])
            else:
                first = steps.join('Mul', [second, steps.constant(zero_or_one)])
            steps.join('Concat', [first, second], axis=1)
        if output.kind == 'probabilities':
            steps.add('Max', np.array(_SMALLEST, np.float32))
            steps.add('Log')
    height, width = (s // spec.logits_stride for s in (spec.height_px, spec.width_px))
    if (height, width) != output.hw:
        if opset < 11:
            raise ValueError(
                f'the output is {rows}x{columns}, which does not divide the input; that needs '
                'opset 11 or newer, export the graph with that'
            )
        sizes = steps.constant(np.array([1, num_classes, height, width], np.int64))
        empty = steps.constant(np.zeros(0, np.float32))
        steps.join('Resize', [steps.last, empty, empty, sizes], mode='linear')
    steps.join('Identity', [steps.last])
    steps.nodes[-1].output[0] = 'logits'
    return steps


def _interpreted(name: str, raw: Sequence[np.ndarray], num_classes: int) -> OutputPort:
    """Tell what an output is from what it gave for every image."""
    first = raw[0]
    described = f'output {name!r} is {first.dtype} {first.shape}'
    shape = first.shape
    is_float = np.issubdtype(first.dtype, np.floating)
    is_map = first.ndim in (2, 3, 4) and sum(size == 1 for size in shape) >= first.ndim - 2
    whole = is_map and all(bool((each == np.round(each)).all()) for each in raw)
    single = first.ndim == 4 and 1 in (shape[1], shape[3]) and shape[0] == 1
    if is_map and (not is_float or (whole and num_classes > 2)):
        rows, columns = shape[1:3] if first.ndim == 4 and shape[3] == 1 else shape[-2:]
        return OutputPort(name, 'ids', 'nhw', False, False, (rows, columns))
    if first.ndim != 4 or shape[0] != 1 or not is_float:
        raise ValueError(
            f'{described}; it must be logits, probabilities or ids of one image: '
            f'(1, {num_classes}, h, w), (1, h, w, {num_classes}) or (1, h, w)'
        )
    is_binary = num_classes == 2 and single
    channels = 1 if is_binary else num_classes
    if channels not in (shape[1], shape[3]):
        raise ValueError(
            f'{described}, and the classes are {num_classes}: list one class for each channel, in '
            'their order, or name another --output'
        )
    layout = 'nchw' if shape[1] == channels else 'nhwc'
    axis = 1 if layout == 'nchw' else 3
    kind = 'probabilities' if _are_probabilities(raw, axis, is_binary) else 'logits'
    hw = shape[2:] if layout == 'nchw' else shape[1:3]
    return OutputPort(name, kind, layout, is_binary, first.dtype == np.float32, hw)


def _are_probabilities(raw: Sequence[np.ndarray], axis: int, is_binary: bool) -> bool:
    for each in raw:
        if each.min() < 0 or each.max() > 1 + _SUM_TOLERANCE:
            return False
        if not is_binary and np.abs(each.sum(axis, np.float32) - 1).max() > _SUM_TOLERANCE:
            return False
    return True


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
