"""A node under measurement: how it is started and where its topics lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.processes import Process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LABEL_MASK = 'label_mask'
PROCESSING = 'debug/processing_time_ms'


@dataclass(frozen=True)
class Contestant:
    """A node under measurement.

    Its topics lie in the namespace ``/<name>``: it takes ``image`` (or what ``cameras`` lists) and
    publishes ``segmentation/<output>``.

    Attributes:
        name: Also its namespace.
        title: What it is, for the reader of the results.
        module: What ``python -m`` takes.
        arguments: Its arguments before ``--ros-args``.
        parameters: ROS parameters.
        outputs: Images that it can publish, ``label_mask`` first.
        cameras: Image topics relative to the namespace -> prefix of their outputs.
    """

    name: str
    title: str
    module: str
    arguments: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = (LABEL_MASK,)
    cameras: Mapping[str, str] = field(default_factory=lambda: {'image': ''})

    def start(self) -> Process:
        """Start its process."""
        ros = ['--ros-args', '--log-level', 'warn', '-r', f'__ns:=/{self.name}']
        for key, value in self.parameters.items():
            ros += ['-p', f'{key}:={value}']
        return Process(self.module, [*self.arguments, *ros])

    def images(self) -> list[str]:
        """Topics to publish images on."""
        return [f'/{self.name}/{topic}' for topic in self.cameras]

    def topics(self, output: str) -> list[str]:
        """Topics of an output, one per camera, in the order of ``images``."""
        return [f'/{self.name}/segmentation/{prefix}{output}' for prefix in self.cameras.values()]


def seg_ros_node(
    name: str,
    title: str,
    model: str,
    *,
    class_names: Sequence[str] = (),
    cameras: int = 1,
    **parameters: str,
) -> Contestant:
    """Describe this package's node.

    Args:
        name: Also its namespace.
        title: What it is.
        model: Name or path of the model folder.
        class_names: Of the model, where the masks per class are to be measured.
        cameras: How many it serves.
        parameters: Further ROS parameters.
    """
    masks = tuple(f'mask/{each}' for each in class_names)
    topics = {'image': ''}
    if cameras > 1:
        topics = {f'camera_{index}/image_raw': f'camera_{index}/' for index in range(cameras)}
        listed = ', '.join(f"'{topic}'" for topic in topics)
        parameters['image_topics'] = f'[{listed}]'
    return Contestant(
        name,
        title,
        'seg_ros',
        ('segmentation_node',),
        {'model': model, **parameters},
        (LABEL_MASK, 'confidence', *masks, 'label_mask/compressed', 'color_mask', 'overlay'),
        topics,
    )
