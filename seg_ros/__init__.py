"""Semantic segmentation for ROS 2: train, export and run small nets on robots."""

from __future__ import annotations

from seg_ros.model_card import ClassInfo, ModelCard
from seg_ros.segmenter import Segmentation, Segmenter, load

__version__ = '0.1.0'

__all__ = ['ClassInfo', 'ModelCard', 'Segmentation', 'Segmenter', '__version__', 'load']
