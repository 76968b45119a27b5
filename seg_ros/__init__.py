"""Semantic segmentation for ROS 2: train, export and run small nets on robots.

>>> import seg_ros
>>> segmenter = seg_ros.load('robocup_mini_unet')
>>> labels = segmenter.segment(image_bgr).labels
"""

from __future__ import annotations

import seg_ros.telemetry  # noqa: F401 - before any engine
from seg_ros.model_card import ClassInfo, ModelCard
from seg_ros.segmenter import Segmentation, Segmenter, load

__version__ = '0.1.0'

__all__ = ['ClassInfo', 'ModelCard', 'Segmentation', 'Segmenter', '__version__', 'load']
