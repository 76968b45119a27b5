"""The parameters of the evaluation node, each declared once."""

from __future__ import annotations

from dataclasses import dataclass

from seg_ros.node.config import COMPRESSED, RAW
from seg_ros.schema import param, validate

_TRANSPORTS = (RAW, COMPRESSED)


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of the evaluation node; topics are remapped as usual."""

    model: str = param(
        '', 'Model folder, for classes and card; empty: classes come from the node under test'
    )
    image_transport: str = param(
        RAW, 'Of image; compressed: image/compressed', choices=_TRANSPORTS
    )
    truth_transport: str = param(
        RAW, 'Of ground_truth/labels; compressed: PNG under .../compressed', choices=_TRANSPORTS
    )
    reliability: str = param(
        'reliable', 'What is asked of image and truth', choices=('reliable', 'best_effort')
    )
    void_ids: tuple[int, ...] = param((255,), 'Ids of the truth that are void', bounds=(0, 255))
    boundary: bool = param(True, 'Compute the boundary F1, the most expensive score')
    latency_from: str = param(
        'auto',
        'stamp: clock minus stamp; arrival: from image to label mask as they arrive; auto: stamp '
        'unless the stamps are those of a recording',
        choices=('auto', 'stamp', 'arrival'),
    )
    drop_after_s: float = param(
        5.0, 'A frame that has not come back after this time is dropped', bounds=(0.1, 3600.0)
    )
    start_within_s: float = param(
        0.0, 'End with status 2 when nothing came within this time; 0: wait', bounds=(0.0, 86400.0)
    )
    quiet_after_s: float = param(
        0.0, 'End when nothing came for this time; 0: run until a signal', bounds=(0.0, 86400.0)
    )
    min_miou: float = param(0.0, 'End with status 1 below this mIoU', bounds=(0.0, 1.0))
    min_scored: float = param(
        0.9,
        'End with status 1 when a smaller share of the true labels was scored',
        bounds=(0.0, 1.0),
    )
    expected_labels: int = param(
        0, 'How many true labels are sent; 0: as many as came', bounds=(0, 1 << 31)
    )
    json: str = param('', 'File for the report as JSON, written at the end')
    html: str = param('', 'File for the report as a page, written at the end')
    overwrite: bool = param(False, 'Replace these files where they exist')

    def __post_init__(self) -> None:
        validate(self)
