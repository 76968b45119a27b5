"""The model folder: everything the robot needs to know about a net, in ``model.yaml``.

The folder is the only thing that crosses from training to deployment. It holds the card
(``model.yaml``), the exported graph (``model.onnx``), the weights (``weights.safetensors``) and,
where ``quantize`` made one, the same graph in int8 (``model_int8.onnx``).

The graph takes the image as the camera has it and does the arithmetic itself, so that no engine
needs a second preprocessing:

* input ``image``: (1, height, width, 3) uint8 RGB of exactly the card's input size,
* output ``logits``: (1, classes, height / logits_stride, width / logits_stride) float32.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from seg_ros.model_files import read_model_file, sha256_of
from seg_ros.model_name import check_model_name
from seg_ros.onnx_structure import FLOAT, UINT8, Port, graph_ports
from seg_ros.plain_yaml import load_plain_yaml
from seg_ros.schema import quoted

CARD_FILE = 'model.yaml'
GRAPH_FILE = 'model.onnx'
WEIGHTS_FILE = 'weights.safetensors'
INT8_GRAPH_FILE = 'model_int8.onnx'
SCHEMA = 1
VOID_ID = 255
MAX_CARD_BYTES = 1 << 16  # the shipped ones have 2 kB; a megabyte of YAML takes 20 s to parse
VARIANT_METRICS = ('mean_iou', 'label_agreement')
MAX_CLASSES = 255  # ids are uint8 and 255 is void
MAX_CLASS_NAME = 64  # characters; a topic name ends at about 250, its namespaces included

_NAME = re.compile(r'[a-z][a-z0-9_]*')


@dataclass(frozen=True)
class ClassInfo:
    """One class.

    Attributes:
        id: What a label image holds for it, 0 to 254.
        name: Lower case with underscores; it becomes the topic ``~/mask/<name>``.
        color: (red, green, blue), each 0 to 255.
    """

    id: int
    name: str
    color: tuple[int, int, int]

    def __post_init__(self) -> None:
        if not 0 <= self.id < VOID_ID:
            raise ValueError(f'class id {self.id} of {self.name!r} is outside 0..254')
        if not _NAME.fullmatch(self.name) or len(self.name) > MAX_CLASS_NAME:
            raise ValueError(
                f'class name {quoted(self.name)}: use lower-case letters, digits and underscores, '
                f'starting with a letter, {MAX_CLASS_NAME} at most (it is part of a topic name)'
            )
        if len(self.color) != 3 or not all(0 <= value <= 255 for value in self.color):
            raise ValueError(f'colour {self.color} of class {self.name!r}: give r, g, b in 0..255')


@dataclass(frozen=True)
class InputSpec:
    """The image that the graph takes.

    Attributes:
        height_px: Rows of the graph's input.
        width_px: Columns of the graph's input.
        logits_stride: Input pixels per logit in each direction (4 for the mini-UNet).
        mean: Per RGB channel, of pixels scaled to 0..1; subtracted inside the graph.
        std: Per RGB channel; divided by inside the graph.
    """

    height_px: int
    width_px: int
    logits_stride: int = 1
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        for name, value in (('height_px', self.height_px), ('width_px', self.width_px)):
            if not 16 <= value <= 8192:
                raise ValueError(f'input {name} is {value}; allowed are 16 to 8192')
            if self.logits_stride < 1 or value % self.logits_stride:
                raise ValueError(
                    f'input {name} {value} is no multiple of logits_stride {self.logits_stride}'
                )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(
                f'mean {self.mean} and std {self.std}: give three values, std above 0'
            )


@dataclass(frozen=True)
class Variant:
    """The same graph in another precision, and what that did to the labels.

    Attributes:
        file: Name of the graph; its hash is among the card's ``files``.
        metric: ``mean_iou``, or ``label_agreement`` with the fp32 graph where no truth was given.
        score: Value of the metric for this graph, 0..1.
        fp32_score: The same of ``model.onnx`` on the same images.
        measured_on: Images of the measurement, in words.
        calibrated_on: Images that the ranges come from, in words.
    """

    file: str
    metric: str
    score: float
    fp32_score: float
    measured_on: str
    calibrated_on: str

    def __post_init__(self) -> None:
        if self.metric not in VARIANT_METRICS:
            raise ValueError(f'metric {self.metric!r}; allowed are {", ".join(VARIANT_METRICS)}')
        if not (0 <= self.score <= 1 and 0 <= self.fp32_score <= 1):
            raise ValueError(f'scores {self.score} and {self.fp32_score} must lie in 0..1')

    @property
    def loss_points(self) -> float:
        """What the variant loses, in points of 100; below 0 where it gains."""
        return 100 * (self.fp32_score - self.score)


@dataclass(frozen=True)
class ModelCard:
    """A model folder, read and verified by ``load_model_card``.

    Attributes:
        name: The folder's name.
        net: Key of ``seg_ros.nets.NETS``.
        net_options: Keyword arguments of the net's builder beside ``num_classes``.
        classes: In the order of the logits; ``classes[i].id`` is what channel i is published as.
        input: Size and normalisation.
        files: File name -> sha256 in hex.
        variants: Precision (``int8``) -> the graph in it.
        temperature: Logits are divided by it before the softmax that gives the confidence.
        scores: What was measured: data set -> metric -> value.
        provenance: How the weights came about: data, recipe, commit, date, licence.
        folder: Where it was read from; None for a card not yet written.
    """

    name: str
    net: str
    classes: tuple[ClassInfo, ...]
    input: InputSpec
    net_options: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    variants: dict[str, Variant] = field(default_factory=dict)
    temperature: float = 1.0
    scores: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    def __post_init__(self) -> None:
        check_model_name(self.name)
        if not 2 <= len(self.classes) <= MAX_CLASSES:
            raise ValueError(f'{len(self.classes)} classes; allowed are 2 to {MAX_CLASSES}')
        for what in ('id', 'name'):
            values = [getattr(entry, what) for entry in self.classes]
            if len(set(values)) != len(values):
                raise ValueError(f'two classes have the same {what}: {values}')
        if not self.temperature > 0:
            raise ValueError(f'temperature {self.temperature} must be above 0')
        for precision, variant in self.variants.items():
            if precision != 'int8' or variant.file not in self.files:
                raise ValueError(
                    f'variant {precision!r} with file {variant.file!r}: allowed is int8, with one '
                    f'of the files {sorted(self.files)}'
                )

    @property
    def num_classes(self) -> int:
        """Number of logit channels."""
        return len(self.classes)

    def file(self, name: str) -> Path:
        """Path of one of the card's files.

        Raises:
            FileNotFoundError: If the card lists no such file.
        """
        if self.folder is None or name not in self.files:
            raise FileNotFoundError(
                f'model {self.name!r} has no {name}; its card lists {sorted(self.files)}'
            )
        return self.folder / name

    def read(self, name: str) -> bytes:
        """Read one of the card's files: the bytes that were hashed are the bytes that are used.

        Raises:
            FileNotFoundError: If the card lists no such file, or it is missing.
            ValueError: If its hash is wrong, it is too large, or a graph that needs other files.
        """
        return read_model_file(self.file(name).with_name(CARD_FILE), name, self.files[name])

    def read_graph(self, precision: str) -> bytes:
        """Read the graph for a precision: its variant, or ``model.onnx`` where it has none.

        Raises:
            FileNotFoundError: If the card lists no graph, or it is missing.
            ValueError: As ``read``, and if its inputs or outputs are not those of the card.
        """
        variant = self.variants.get(precision)
        name = variant.file if variant else GRAPH_FILE
        graph = self.read(name)
        inputs, outputs = graph_ports(graph)
        spec = self.input
        rows, columns = spec.height_px // spec.logits_stride, spec.width_px // spec.logits_stride
        image = Port('image', UINT8, (1, spec.height_px, spec.width_px, 3))
        logits = Port('logits', FLOAT, (1, self.num_classes, rows, columns))
        if (
            len(inputs) != 1
            or not inputs[0].fits(image)
            or not any(port.fits(logits) for port in outputs)
        ):
            raise ValueError(
                f'{self.file(name)} takes {_listed(inputs)} and gives {_listed(outputs)}; with '
                f'the input size, logits_stride and classes of its card it must take {image}, the '
                f'RGB image, and give {logits}'
            )
        return graph


def _listed(ports: list[Port]) -> str:
    shown = ', '.join(map(str, ports[:4])) or 'nothing'
    return f'{shown}, ...' if len(ports) > 4 else shown


def load_model_card(folder: Path | str) -> ModelCard:
    """Read ``model.yaml`` of a folder and verify every file that it lists.

    Args:
        folder: The model folder.

    Returns:
        The card, with ``folder`` set.

    Raises:
        FileNotFoundError: If the folder, its card or a listed file is missing.
        ValueError: If a field is missing, unknown or out of range, or a file's hash is wrong.
    """
    card = read_model_card(folder)
    for name in card.files:
        card.read(name)
    return card


def read_model_card(folder: Path | str) -> ModelCard:
    """Read ``model.yaml`` alone; takes milliseconds, where hashing the weights takes longer.

    Args:
        folder: The model folder.

    Returns:
        The card, with ``folder`` set and its files not looked at.

    Raises:
        FileNotFoundError: If the folder or its card is missing.
        ValueError: If a field is missing, unknown or out of range.
    """
    folder = Path(folder)
    path = folder / CARD_FILE
    if not path.is_file():
        raise FileNotFoundError(f'{folder} is no model folder: it has no {CARD_FILE}')
    raw = load_plain_yaml(path, MAX_CARD_BYTES)
    try:
        return _from_mapping(raw, folder)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def save_model_card(card: ModelCard, folder: Path) -> None:
    """Write ``model.yaml`` into a folder; the files it lists must lie there already."""
    raw: dict[str, Any] = {
        'schema': SCHEMA,
        'name': card.name,
        'net': card.net,
        'net_options': dict(card.net_options),
        'input': {
            'height_px': card.input.height_px,
            'width_px': card.input.width_px,
            'logits_stride': card.input.logits_stride,
            'mean': list(card.input.mean),
            'std': list(card.input.std),
        },
        'void_id': VOID_ID,
        'temperature': card.temperature,
        'classes': [
            {'id': entry.id, 'name': entry.name, 'color': list(entry.color)}
            for entry in card.classes
        ],
        'scores': card.scores,
        'provenance': card.provenance,
        'variants': {name: asdict(variant) for name, variant in card.variants.items()},
        'files': {name: sha256_of(folder / name) for name in card.files},
    }
    if not card.variants:
        del raw['variants']
    text = yaml.safe_dump(raw, sort_keys=False, allow_unicode=True, default_flow_style=None)
    # In one step: a reader finds the old card or the new one, never half of it.
    unfinished = folder / f'.{CARD_FILE}.{os.getpid()}'
    unfinished.write_text(text, encoding='utf-8')
    unfinished.replace(folder / CARD_FILE)


_REQUIRED = {'schema', 'name', 'net', 'input', 'void_id', 'classes', 'files'}
_OPTIONAL = {'net_options', 'temperature', 'scores', 'provenance', 'variants'}


def _from_mapping(raw: Any, folder: Path) -> ModelCard:
    if not isinstance(raw, dict):
        raise ValueError(f'expected a mapping, got {type(raw).__name__}')
    if missing := sorted(_REQUIRED - raw.keys()):
        raise ValueError(f'missing {missing}')
    if unknown := sorted(raw.keys() - _REQUIRED - _OPTIONAL, key=str):
        raise ValueError(f'unknown {unknown}; allowed are {sorted(_REQUIRED | _OPTIONAL)}')
    if raw['schema'] != SCHEMA:
        raise ValueError(f'schema {raw["schema"]!r}; this version of seg_ros reads {SCHEMA}')
    if raw['void_id'] != VOID_ID:
        raise ValueError(f'void_id {raw["void_id"]!r}; it is always {VOID_ID}')
    files = raw['files']
    if not isinstance(files, dict) or not files:
        raise ValueError('files must map file names to sha256')
    try:
        classes = tuple(_class_info(entry) for entry in raw['classes'])
        spec = {**raw['input']}
        for key in ('mean', 'std'):
            if key in spec:
                spec[key] = tuple(map(float, spec[key]))
        return ModelCard(
            name=str(raw['name']),
            net=str(raw['net']),
            net_options=dict(raw.get('net_options') or {}),
            classes=classes,
            input=InputSpec(**spec),
            files={str(name): str(digest) for name, digest in files.items()},
            variants={
                str(precision): Variant(**entry)
                for precision, entry in dict(raw.get('variants') or {}).items()
            },
            temperature=float(raw.get('temperature', 1.0)),
            scores=dict(raw.get('scores') or {}),
            provenance=dict(raw.get('provenance') or {}),
            folder=folder,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f'wrong or missing field: {error!r}') from error


def _class_info(entry: dict[str, Any]) -> ClassInfo:
    red, green, blue = map(int, entry['color'])
    return ClassInfo(int(entry['id']), str(entry['name']), (red, green, blue))
