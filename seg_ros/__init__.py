"""Semantic segmentation for ROS 2: train, export and run small nets on robots.

>>> import seg_ros
>>> segmenter = seg_ros.load('robocup_mini_unet')
>>> labels = segmenter.segment(image_bgr).labels
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import seg_ros.telemetry  # noqa: F401 - before any engine
from seg_ros.model_card import ClassInfo, ModelCard
from seg_ros.segmenter import Segmentation, Segmenter, load

if TYPE_CHECKING:
    from seg_ros.torch_module import export

__version__ = '0.2.0'

__all__ = ['ClassInfo', 'ModelCard', 'Segmentation', 'Segmenter', '__version__', 'export', 'load']


def __getattr__(name: str) -> Any:
    if name == 'export':  # not before it is used: a robot has no torch
        from seg_ros.torch_module import export  # noqa: PLC0415

        return export
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
