"""A segmentation node whose engine stalls where it is told to.

    python -m test.robustness.stalling_node --ros-args ...

The name of the model's folder says how it loads: ``hangs`` never, ``slow`` in a minute. A frame
whose first pixel has the red ``HANGS_AT`` never comes back. As in a real engine all that happens
outside of Python, where no signal is handled. Before it, the file that the environment variable
``STALLS_AT`` names is made.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import numpy as np

from seg_ros import backends, cli

HANGS_AT = 13


def stall(seconds):
    Path(os.environ['STALLS_AT']).touch()
    ctypes.CDLL(None).sleep(seconds)


class StallingBackend:
    """Says which of red, green and blue is the strongest at a pixel, when it says anything."""

    name, device, precision, reason, max_batch = 'onnxruntime', 'cpu', 'fp32', 'a test', 1

    def __init__(self, card, **_):
        self._stride = card.input.logits_stride
        if 'hangs' in card.name or 'slow' in card.name:
            stall(60 if 'slow' in card.name else 86_400)

    @staticmethod
    def devices():
        return ('cpu',)

    def infer(self, image_hwc):
        if image_hwc[0, 0, 0] == HANGS_AT:
            stall(86_400)
        middle = self._stride // 2
        sampled = image_hwc[middle :: self._stride, middle :: self._stride]
        return np.ascontiguousarray(sampled.transpose(2, 0, 1), np.float32) / 25

    def infer_batch(self, images_nhwc):
        return self.infer(images_nhwc[0])[np.newaxis]


if __name__ == '__main__':
    backends.BACKENDS['onnxruntime'] = f'{__spec__.name}:{StallingBackend.__name__}'
    sys.exit(cli.main(command='segmentation_node'))
