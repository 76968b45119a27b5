"""What becomes of a model's labels under the parameters of this moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seg_ros.node import messages
from seg_ros.node.interface import GEOMETRY_TOPICS, MASK_PREFIX
from seg_ros.overlay import palette
from seg_ros.postprocess import EVERY_CLASS, Postprocessor, load_self_mask, parse_mapping
from seg_ros.schema import quoted

if TYPE_CHECKING:
    import numpy as np

    from seg_ros.model_card import ClassInfo
    from seg_ros.node.config import NodeConfig
    from seg_ros.segmenter import Segmenter

# parameter `geometry` -> the class that must be there, and those that belong to it where they are
_SHAPES: dict[str, tuple[str, tuple[str, ...]]] = {
    'ball': ('ball', ()),
    'field_boundary': ('field', ('line',)),
    'drivable_edge': ('road', ('lane_marking', 'road_marking')),
}


@dataclass(frozen=True)
class LabelScheme:
    """Classes and everything that is derived from them.

    Attributes:
        classes: As they are published, after the remap.
        palette: Of ``overlay.palette``.
        masks: Topic ``mask/<class>`` -> class id.
        shapes: Topic of a geometry output -> class ids that it is taken from.
        postprocessors: By image topic.
        self_mask: The parameter, as it was when the files were read.
        bodies: Image topic -> what was read: (H, W) bool, true where the robot sees itself.
    """

    classes: tuple[ClassInfo, ...]
    palette: np.ndarray
    masks: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    postprocessors: dict[str, Postprocessor]
    self_mask: str
    bodies: dict[str, np.ndarray | None]

    def topics(self) -> dict[str, str]:
        """Outputs that come and go with the classes and parameters: name -> type."""
        shapes = {topic.name: topic.type for topic in GEOMETRY_TOPICS.values()}
        return {
            **dict.fromkeys(self.masks, 'sensor_msgs/Image'),
            **{name: shapes[name] for name in self.shapes},
        }


@dataclass(frozen=True)
class Serving:
    """A model, its classes and the parameters; the worker takes it whole, once per frame.

    Labels, masks and class topics come from this one object, so that no result goes out under
    the classes of another model.
    """

    segmenter: Segmenter
    scheme: LabelScheme
    config: NodeConfig


def build_label_scheme(
    classes: tuple[ClassInfo, ...], config: NodeConfig, present: LabelScheme | None = None
) -> LabelScheme:
    """Fit the parameters to the classes of a model.

    Args:
        classes: Those of the model.
        config: The parameters.
        present: What runs; its self masks go on while the parameter stays, even where their files
            are gone.

    Raises:
        ValueError: If they do not fit: an unknown class, an unusable self mask, no vision_msgs.
        FileNotFoundError: If there is no such self mask.
    """
    if present is not None and present.self_mask == config.self_mask:
        bodies = present.bodies
    else:
        bodies = {
            topic: _read_body(config.self_mask, prefix.strip('/'))
            for topic, prefix in config.camera_names().items()
        }
    postprocessors = {
        topic: Postprocessor(
            classes,
            remap=parse_mapping('class_remap', config.class_remap),
            min_area_px=parse_mapping('min_area_px', config.min_area_px),
            roi=config.roi,
            self_mask=body,
        )
        for topic, body in bodies.items()
    }
    published = next(iter(postprocessors.values())).classes
    ids = {entry.name: entry.id for entry in published}
    return LabelScheme(
        classes=published,
        palette=palette(published),
        masks=_masks(ids, config.masks),
        shapes=dict(_shape(ids, shape) for shape in config.geometry),
        postprocessors=postprocessors,
        self_mask=config.self_mask,
        bodies=bodies,
    )


def _read_body(path: str, camera: str) -> np.ndarray | None:
    return load_self_mask(Path(path.replace('{camera}', camera)).expanduser()) if path else None


def _masks(ids: dict[str, int], chosen: tuple[str, ...]) -> dict[str, int]:
    for name in chosen:
        if name not in ids and name != EVERY_CLASS:
            raise ValueError(
                f'masks: no class {quoted(name)}; there are {", ".join([*ids, EVERY_CLASS])}'
            )
    return {
        MASK_PREFIX + name: label
        for name, label in ids.items()
        if name in chosen or EVERY_CLASS in chosen
    }


def _shape(ids: dict[str, int], shape: str) -> tuple[str, tuple[int, ...]]:
    topic = GEOMETRY_TOPICS[shape]
    needed, further = _SHAPES[shape]
    if needed not in ids:
        raise ValueError(
            f'geometry: {shape} is taken from a class {needed!r}; there are {", ".join(ids)}. '
            'Rename one with class_remap'
        )
    if topic.type.startswith('vision_msgs') and not messages.HAS_VISION_MSGS:
        raise ValueError(
            f'geometry: {shape} is published as {topic.type}, which is not installed; '
            'apt install ros-$ROS_DISTRO-vision-msgs, or without a distribution: make vision-msgs'
        )
    return topic.name, tuple(ids[name] for name in (needed, *further) if name in ids)
