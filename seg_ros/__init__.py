"""Semantic segmentation for ROS 2: train, export and run small nets on robots."""

from __future__ import annotations

__version__ = '0.1.0'
