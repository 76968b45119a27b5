"""Datasets by name: one file each, all giving numpy arrays (see ``sample.Sample``)."""

from __future__ import annotations

# name -> 'module:Class'; imported when it is asked for.
DATASETS: dict[str, str] = {}
