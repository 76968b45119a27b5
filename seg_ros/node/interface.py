"""The topics and services of the node, each declared once; README's tables derive from it."""

from __future__ import annotations

from dataclasses import dataclass

MASK_PREFIX = 'mask/'


@dataclass(frozen=True)
class Topic:
    """A topic that the node publishes.

    Attributes:
        name: Without ``~/`` and the camera's prefix.
        type: ROS type as ``package/Name``.
        meaning: One line for people.
    """

    name: str
    type: str
    meaning: str


@dataclass(frozen=True)
class Service:
    """A service of the node beside those of every lifecycle node; fields as of ``Topic``."""

    name: str
    type: str
    meaning: str


CAMERA_TOPICS = (
    Topic(
        'label_mask',
        'sensor_msgs/Image',
        "mono8 (or 16SC1), class id per pixel, 255 = void; at the image's size",
    ),
    Topic('label_mask/compressed', 'sensor_msgs/CompressedImage', 'the same as png, lossless'),
    Topic('confidence', 'sensor_msgs/Image', 'mono8, probability of the winning class x 255'),
    Topic(
        'camera_info',
        'sensor_msgs/CameraInfo',
        'calibration of the image by its stamp, as it came; scaled where the image was',
    ),
    Topic('color_mask', 'sensor_msgs/Image', 'rgb8, the colours of the classes'),
    Topic('overlay', 'sensor_msgs/Image', 'rgb8, the colours laid over the image'),
    Topic('debug/processing_time_ms', 'std_msgs/Float64', 'from taking a frame to publishing it'),
    Topic('debug/preprocess_time_ms', 'std_msgs/Float64', 'decoding, resizing'),
    Topic('debug/inference_time_ms', 'std_msgs/Float64', 'the net alone'),
    Topic('debug/postprocess_time_ms', 'std_msgs/Float64', 'logits to labels, remap, specks'),
    Topic('debug/publish_time_ms', 'std_msgs/Float64', 'masks, shapes, pictures, messages'),
    Topic('debug/pipeline_latency_ms', 'std_msgs/Float64', "age of the image's stamp by then"),
)
MASK_TOPIC = Topic(
    f'{MASK_PREFIX}<class>', 'sensor_msgs/Image', 'mono8, 255 where the class is, 0 elsewhere'
)
# parameter `geometry` -> what it adds
GEOMETRY_TOPICS = {
    'ball': Topic(
        'ball_candidates',
        'vision_msgs/Detection2DArray',
        'box, centre and score of spots that may be the ball, best first; in pixels',
    ),
    'field_boundary': Topic(
        'field_boundary',
        'geometry_msgs/PolygonStamped',
        'convex border of the field, closed along the bottom of the image; in pixels',
    ),
    'drivable_edge': Topic(
        'drivable_edge',
        'geometry_msgs/PolygonStamped',
        'edge of the road ahead, closed along the bottom of the image; in pixels',
    ),
}
CLASS_TOPICS = (
    Topic(
        'class_names',
        'std_msgs/String',
        'latched JSON: `[{"id": 0, "name": "background", "color": [red, green, blue]}, ...]`',
    ),
    Topic(
        'label_info',
        'vision_msgs/LabelInfo',
        'latched; where vision_msgs is installed (for the wheels: `make vision-msgs`)',
    ),
)
DIAGNOSTICS = Topic(
    '/diagnostics',
    'diagnostic_msgs/DiagnosticArray',
    '1 Hz: state, reason, times, counters, model, device',
)
SERVICES = (
    Service('enable', 'std_srvs/SetBool', 'false: take no frames until it is called with true'),
    Service(
        'reload_model',
        'std_srvs/Trigger',
        'read the model folder anew, beside the running one; answers when it runs or says why not',
    ),
)
