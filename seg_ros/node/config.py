"""The parameters of the node, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from seg_ros.backends import AUTO, BACKENDS, DEVICES, PRECISIONS
from seg_ros.image import MAX_IMAGE_PIXELS
from seg_ros.node.interface import GEOMETRY_TOPICS
from seg_ros.postprocess import EVERY_CLASS, parse_mapping
from seg_ros.schema import param, quoted, validate

if TYPE_CHECKING:
    from collections.abc import Iterable

RAW, COMPRESSED = 'raw', 'compressed'
_SUFFIX = f'/{COMPRESSED}'
_MAX_CAMERAS = 32


@dataclass(frozen=True)
class NodeConfig:
    """Settings of the segmentation node; those marked live can change while it runs."""

    model: str = param('robocup_mini_unet', 'Name or path of the model folder', live=True)
    backend: str = param(AUTO, 'Inference engine', choices=(AUTO, *BACKENDS))
    precision: str = param(
        AUTO,
        'What the net computes in; auto: the fastest here whose measured loss is small',
        choices=PRECISIONS,
    )
    require_device: str = param(
        '',
        'Fail instead of running elsewhere; empty: the best there is',
        choices=('', *(device for device in DEVICES if device != AUTO)),
    )
    num_threads: int = param(
        0,
        "Threads of engine and OpenCV; 0: their own choice, within a container's CPU quota",
        bounds=(0, 256),
    )

    image_topics: tuple[str, ...] = param(
        ('image',), 'Image topics, one per camera; with several, outputs get the camera as prefix'
    )
    image_transport: str = param(
        RAW,
        'raw: sensor_msgs/Image; compressed: sensor_msgs/CompressedImage under <topic>/compressed',
        choices=(RAW, COMPRESSED),
    )
    input_reliability: str = param(
        'auto',
        'auto: reliable when every publisher offers it, best effort otherwise',
        choices=('auto', 'reliable', 'best_effort'),
    )
    max_image_pixels: int = param(
        MAX_IMAGE_PIXELS,
        'Images of more pixels are rejected before they are decoded',
        bounds=(1, 1 << 30),
    )

    max_rate: float = param(
        0.0, 'Frames per second and camera that are taken; 0: all', bounds=(0.0, 1e4), live=True
    )
    max_age_s: float = param(
        0.0,
        'Frames whose stamp is older are dropped, before and after inference; 0: none',
        bounds=(0.0, 3600.0),
        live=True,
    )
    batch_timeout_ms: float = param(
        0.0,
        'How long a frame waits for those of other cameras, to be run as one batch; 0: never',
        bounds=(0.0, 1000.0),
    )

    class_remap: tuple[str, ...] = param(
        (),
        "Merge, drop, rename or renumber classes: ['line: field', 'ball: 2', 'background: void']",
        live=True,
    )
    min_confidence: float = param(
        0.0, 'Pixels of lower probability become 255 = void', bounds=(0.0, 1.0), live=True
    )
    min_area_px: tuple[str, ...] = param(
        (), "Smaller spots of a class become void: ['ball: 20', 'all: 5']", live=True
    )
    roi: tuple[int, int, int, int] = param(
        (0, 0, 0, 0),
        'Column, row, width, height in pixels; outside is void; width or height 0: to the edge',
        bounds=(0, 1 << 16),
        live=True,
    )
    self_mask: str = param(
        '',
        "PNG of the robot's body in the image, void where not 0; {camera} stands for its name",
        live=True,
    )

    label_encoding: str = param(
        'mono8', 'Encoding of ~/label_mask; 255 is void in both', choices=('mono8', '16SC1')
    )
    masks: tuple[str, ...] = param(
        (EVERY_CLASS,), 'Classes with a 0/255 mask under ~/mask/<class>; all: each', live=True
    )
    geometry: tuple[str, ...] = param(
        (), 'Shapes to publish', choices=tuple(GEOMETRY_TOPICS), live=True
    )
    overlay_alpha: float = param(
        0.5, 'Share of the class colour in ~/overlay', bounds=(0.0, 1.0), live=True
    )

    warn_processing_time_ms: float = param(
        200.0, 'Diagnostics: a frame should not take longer', bounds=(0.0, 1e6), live=True
    )
    error_consecutive_delay_ms: float = param(
        1000.0,
        'Diagnostics: ERROR once every frame took too long for this time',
        bounds=(0.0, 1e6),
        live=True,
    )
    warn_latency_ms: float = param(
        0.0,
        'Diagnostics: WARN when labels are older on leaving; 0: never',
        bounds=(0.0, 1e6),
        live=True,
    )
    error_latency_ms: float = param(
        0.0,
        'Diagnostics: ERROR when labels are older on leaving; 0: never',
        bounds=(0.0, 1e6),
        live=True,
    )
    error_stalled_s: float = param(
        5.0,
        'Diagnostics: ERROR when one frame is in work, or a camera silent, for longer',
        bounds=(0.1, 3600.0),
        live=True,
    )
    autostart: bool = param(True, 'Configure and activate without waiting for a lifecycle call')

    def __post_init__(self) -> None:
        validate(self)
        if not self.image_topics or not all(self.image_topics):
            raise ValueError(
                f'image_topics: {quoted(list(self.image_topics))} holds no or an empty topic'
            )
        if len(self.image_topics) > _MAX_CAMERAS:
            given = len(self.image_topics)
            raise ValueError(f'image_topics: {given} cameras; allowed are {_MAX_CAMERAS}')
        if len(set(self.image_topics)) != len(self.image_topics):
            raise ValueError(
                f'image_topics: {quoted(list(self.image_topics))} names a topic twice'
            )
        self.camera_names()
        for name in ('class_remap', 'min_area_px'):
            parse_mapping(name, getattr(self, name))

    def input_topic(self, image_topic: str) -> str:
        """Topic that is subscribed for one of ``image_topics``."""
        if self.image_transport == COMPRESSED and not image_topic.endswith(_SUFFIX):
            return image_topic + _SUFFIX
        return image_topic

    def camera_names(self) -> dict[str, str]:
        """Map each image topic to the prefix of its outputs; empty for a single camera.

        The prefix is the topic without its ``image_raw``-like last part: ``/front/image_raw``
        publishes under ``~/front/``. Where two topics would share it, the whole topic is kept.

        Raises:
            ValueError: If two cameras would publish on the same topics.
        """
        if len(self.image_topics) == 1:
            return {self.image_topics[0]: ''}
        whole = [topic.removesuffix(_SUFFIX).strip('/~') for topic in self.image_topics]
        names = _flat(map(_without_image_part, whole))
        if len(set(names)) < len(names):
            names = _flat(whole)
        taken: dict[str, str] = {}
        for topic, name in zip(self.image_topics, names, strict=True):
            if (other := taken.setdefault(name, topic)) != topic:
                raise ValueError(
                    f'image_topics: {quoted(other)} and {quoted(topic)} would both publish under '
                    f'~/{name}; give one another name, such as other/image, and remap it: '
                    f'-r other/image:={topic}'
                )
        return {topic: f'{name}/' for name, topic in taken.items()}


def _flat(names: Iterable[str]) -> list[str]:
    return [name.replace('/', '_') for name in names]


def _without_image_part(topic: str) -> str:
    head, _, tail = topic.rpartition('/')
    return head if head and tail.startswith('image') else topic


def camera_info_topic(image_topic: str) -> str:
    """Where image_transport puts the calibration: ``camera_info`` beside the image topic."""
    head, slash, _ = image_topic.removesuffix(_SUFFIX).rpartition('/')
    return f'{head}{slash}camera_info'
