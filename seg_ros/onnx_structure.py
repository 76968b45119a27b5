"""What a graph says of other files, and of its inputs and outputs, read without an ONNX parser.

A graph can keep weights in further files, for which nobody vouches, or ask for addresses in the
process's memory. The engines follow such references; so they are looked for in the structure of
the file (protobuf), field by field as the engines read it, not as a pattern of its bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FIELDS = 1 << 20  # the largest shipped graph has 6,600; packed numbers are one field
MAX_DEPTH = 64  # graphs within graphs; ONNX Runtime's parser stops at 100 messages
_MAX_TAG_BYTES, _MAX_VARINT_BYTES = 5, 10  # as protobuf reads them
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types; groups are not used in ONNX

# Messages of onnx.proto: number of a field -> the message that it holds. Others are stepped over.
_MESSAGES: dict[str, dict[int, str]] = {
    'Model': {7: 'Graph', 20: 'Training', 25: 'Function'},
    'Training': {1: 'Graph', 2: 'Graph'},
    'Graph': {1: 'Node', 5: 'Tensor', 15: 'SparseTensor'},
    'Function': {7: 'Node', 11: 'Attribute'},
    'Node': {5: 'Attribute'},
    'Attribute': {
        5: 'Tensor', 6: 'Graph', 10: 'Tensor', 11: 'Graph', 22: 'SparseTensor', 23: 'SparseTensor',
    },
    'SparseTensor': {1: 'Tensor', 2: 'Tensor'},
    'Tensor': {},
}  # fmt: skip
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a tensor
UINT8, FLOAT = 2, 1  # element types of onnx.proto
_ELEMENT_TYPES = {
    FLOAT: 'float32', UINT8: 'uint8', 3: 'int8', 6: 'int32', 7: 'int64', 10: 'float16',
    11: 'float64',
}  # fmt: skip


class Port(NamedTuple):
    """An input or output of a graph.

    Attributes:
        name: As the graph calls it.
        element_type: Number of onnx.proto; ``UINT8`` or ``FLOAT``, say.
        shape: None for a size that the graph leaves open; None altogether where it tells none.
    """

    name: str
    element_type: int
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        kind = _ELEMENT_TYPES.get(self.element_type, f'type {self.element_type}')
        sizes = 'any' if self.shape is None else ', '.join(str(size or '?') for size in self.shape)
        return f'{self.name[:40]!r} {kind} ({sizes})'

    def fits(self, wanted: Port) -> bool:
        """Tell whether it can be what is wanted; an open size can."""
        if (self.name, self.element_type) != (wanted.name, wanted.element_type):
            return False
        if self.shape is None or wanted.shape is None:
            return True
        return len(self.shape) == len(wanted.shape) and all(
            size in (None, expected)
            for size, expected in zip(self.shape, wanted.shape, strict=True)
        )


def check_self_contained(graph: bytes) -> None:
    """Refuse a graph that refers to anything outside of itself.

    Args:
        graph: Content of an ONNX file.

    Raises:
        ValueError: If a tensor lies in another file, or the bytes are no well-formed ONNX.
    """
    remaining = [MAX_FIELDS]
    _walk(memoryview(graph), 'Model', 0, remaining)


def graph_ports(graph: bytes) -> tuple[list[Port], list[Port]]:
    """Read the inputs and outputs of a graph that ``check_self_contained`` let pass."""
    remaining = [MAX_FIELDS]
    found: dict[int, list[Port]] = {11: [], 12: []}  # fields of a graph: input, output
    weights: set[bytes] = set()  # old graphs list them among the inputs, too
    for inner in _only(memoryview(graph), 7, remaining):
        for number, value in _fields(inner, remaining):
            if number in found and isinstance(value, memoryview):
                found[number].append(_port(value, remaining))
            if number == 5 and isinstance(value, memoryview):
                weights.update(bytes(name) for name in _only(value, 8, remaining))
    inputs = [port for port in found[11] if port.name.encode() not in weights]
    return inputs, found[12]


def _port(data: memoryview, remaining: list[int]) -> Port:
    """Read a ValueInfo: its name, and the element type and shape of its tensor."""
    name, element_type, shape = '', 0, None
    for text in _only(data, 1, remaining):
        name = bytes(text).decode(errors='replace')
    for kind in _only(data, 2, remaining):
        for tensor in _only(kind, 1, remaining):
            for number, value in _fields(tensor, remaining):
                if number == 1 and isinstance(value, int):
                    element_type = value
                if number == 2 and isinstance(value, memoryview):
                    dimensions = _only(value, 1, remaining)
                    shape = tuple(_size(dimension, remaining) for dimension in dimensions)
    return Port(name, element_type, shape)


def _size(dimension: memoryview, remaining: list[int]) -> int | None:
    sizes = [v for n, v in _fields(dimension, remaining) if n == 1 and isinstance(v, int)]
    return sizes[-1] if sizes else None


def _only(data: memoryview, number: int, remaining: list[int]) -> Iterator[memoryview]:
    """Iterate the messages or texts in one field."""
    for found, value in _fields(data, remaining):
        if found == number and isinstance(value, memoryview):
            yield value


def _walk(data: memoryview, message: str, depth: int, remaining: list[int]) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f'it is nested more than {MAX_DEPTH} deep')
    inner = _MESSAGES[message]
    for number, value in _fields(data, remaining):
        if message == 'Tensor' and (
            number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
        ):
            raise ValueError(
                'it keeps weights in a further file, for which the card does not vouch; '
                'export the model again'
            )
        if number in inner:
            if not isinstance(value, memoryview):
                raise ValueError('it is no well-formed ONNX: a message is a number')
            _walk(value, inner[number], depth + 1, remaining)


def _fields(data: memoryview, remaining: list[int]) -> Iterator[tuple[int, int | memoryview]]:
    """Iterate the fields of a protobuf message: number, and value or bytes."""
    position = 0
    while position < len(data):
        remaining[0] -= 1
        if remaining[0] < 0:
            raise ValueError(f'it has more than {MAX_FIELDS} fields')
        tag, position = _varint(data, position, _MAX_TAG_BYTES)
        number, wire = tag >> 3, tag & 7
        if number == 0 or tag >= 1 << 32:
            raise ValueError(f'it is no well-formed ONNX: a field has the number {number}')
        if wire == _VARINT:
            value, position = _varint(data, position, _MAX_VARINT_BYTES)
            yield number, value
            continue
        if wire == _BYTES:
            size, position = _varint(data, position, _MAX_VARINT_BYTES)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f'it is no well-formed ONNX: a field has the wire type {wire}')
        if position + size > len(data):
            raise ValueError('it is no well-formed ONNX: a field ends behind the file')
        yield number, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int, most: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte, however long it was written."""
    value = 0
    for index, byte in enumerate(data[position : position + most]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & (1 << 64) - 1, position + index + 1
    raise ValueError('it is no well-formed ONNX: a number has no end')
