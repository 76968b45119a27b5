"""The parameters of the node, each declared once."""

from __future__ import annotations

from dataclasses import dataclass

from seg_ros.backends import AUTO, BACKENDS, DEVICES, PRECISIONS
from seg_ros.image import MAX_IMAGE_PIXELS
from seg_ros.schema import param, validate

RAW, COMPRESSED = 'raw', 'compressed'
_SUFFIX = f'/{COMPRESSED}'


@dataclass(frozen=True)
class NodeConfig:
    """Settings of the segmentation node; those marked live can change while it runs."""

    model: str = param('robocup_mini_unet', 'Name or path of the model folder')
    backend: str = param(AUTO, 'Inference engine', choices=(AUTO, *BACKENDS))
    precision: str = param(
        AUTO,
        'What the net computes in; auto: the fastest here whose measured loss is small',
        choices=PRECISIONS,
    )
    device: str = param(
        AUTO, 'Where it runs; what is asked for is used or refused', choices=DEVICES
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
    label_encoding: str = param(
        'mono8', 'Encoding of ~/label_mask; 255 is void in both', choices=('mono8', '16SC1')
    )
    min_confidence: float = param(
        0.0, 'Pixels of lower probability become 255 = void', bounds=(0.0, 1.0), live=True
    )
    publish_masks: bool = param(True, 'Offer one 0/255 mask per class under ~/mask/<class>')
    overlay_alpha: float = param(
        0.5, 'Share of the class colour in ~/overlay', bounds=(0.0, 1.0), live=True
    )
    num_threads: int = param(
        0, 'Threads of engine and OpenCV; 0: their own choice', bounds=(0, 256)
    )
    max_image_pixels: int = param(
        MAX_IMAGE_PIXELS,
        'Images of more pixels are rejected before they are decoded',
        bounds=(1, 1 << 30),
    )
    autostart: bool = param(True, 'Configure and activate without waiting for a lifecycle call')

    def __post_init__(self) -> None:
        validate(self)
        if not self.image_topics or not all(self.image_topics):
            raise ValueError(f'image_topics: {list(self.image_topics)} holds no or an empty topic')
        if len(set(self.image_topics)) != len(self.image_topics):
            raise ValueError(f'image_topics: {list(self.image_topics)} names a topic twice')

    def input_topic(self, image_topic: str) -> str:
        """Topic that is subscribed for one of ``image_topics``."""
        if self.image_transport == COMPRESSED and not image_topic.endswith(_SUFFIX):
            return image_topic + _SUFFIX
        return image_topic

    def camera_names(self) -> dict[str, str]:
        """Map each image topic to the prefix of its outputs; empty for a single camera.

        The prefix is the topic without its ``image_raw``-like last part: ``/front/image_raw``
        publishes under ``~/front/``. Where two topics would share it, the whole topic is kept.
        """
        if len(self.image_topics) == 1:
            return {self.image_topics[0]: ''}
        whole = {topic: topic.removesuffix(_SUFFIX).strip('/~') for topic in self.image_topics}
        short = {topic: _without_image_part(name) for topic, name in whole.items()}
        if len(set(short.values())) < len(short):
            short = whole
        return {topic: name.replace('/', '_') + '/' for topic, name in short.items()}


def _without_image_part(topic: str) -> str:
    head, _, tail = topic.rpartition('/')
    return head if head and tail.startswith('image') else topic


def camera_info_topic(image_topic: str) -> str:
    """Where image_transport puts the calibration: ``camera_info`` beside the image topic."""
    head, slash, _ = image_topic.removesuffix(_SUFFIX).rpartition('/')
    return f'{head}{slash}camera_info'
