"""OpenVINO: the fastest engine measured on x86 and 64-bit Arm processors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openvino as ov

from seg_ros.model_card import GRAPH_FILE

if TYPE_CHECKING:
    from seg_ros.model_card import ModelCard


class OpenVinoBackend:
    """Runs ``model.onnx`` on the CPU in fp32, one request reused for every frame."""

    name = 'openvino'
    device = 'CPU'
    precision = 'fp32'

    def __init__(self, card: ModelCard, *, num_threads: int = 0) -> None:
        settings = {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': 'f32'}
        if num_threads:
            settings['INFERENCE_NUM_THREADS'] = str(num_threads)
        try:
            core = ov.Core()
            model = core.read_model(card.file(GRAPH_FILE))
            self._request = core.compile_model(model, 'CPU', settings).create_infer_request()
        except RuntimeError as error:
            raise ValueError(f'OpenVINO refuses {card.name}: {error}') from error

    def infer(self, image_hwc: np.ndarray) -> np.ndarray:
        """Run the net; see ``Backend.infer``."""
        image = ov.Tensor(image_hwc[np.newaxis], shared_memory=True)
        self._request.infer({'image': image})
        logits: np.ndarray = self._request.get_tensor('logits').data
        return logits[0]
