"""ONNX Runtime: small, quick to start, on every processor that Python runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from seg_ros.model_card import GRAPH_FILE

if TYPE_CHECKING:
    from seg_ros.model_card import ModelCard


class OnnxRuntimeBackend:
    """Runs ``model.onnx`` on the CPU in fp32."""

    name = 'onnxruntime'
    device = 'CPU'
    precision = 'fp32'

    def __init__(self, card: ModelCard, *, num_threads: int = 0) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors; a message of every run would flood the node's log
        try:
            self._session = ort.InferenceSession(
                str(card.file(GRAPH_FILE)), options, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # its errors share no narrower class
            raise ValueError(f'ONNX Runtime refuses {card.name}: {error}') from error

    def infer(self, image_hwc: np.ndarray) -> np.ndarray:
        """Run the net; see ``Backend.infer``."""
        (logits, *_) = self._session.run(['logits'], {'image': image_hwc[np.newaxis]})
        return np.asarray(logits)[0]
