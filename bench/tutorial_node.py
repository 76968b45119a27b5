"""What tutorials of semantic navigation start: ONNX Runtime behind a reliable queue of ten frames.

python -m bench.tutorial_node --graph net.onnx --ros-args -r __ns:=/tutorial

The graph takes (1, 3, H, W) float32, normalised, and gives (1, C, H, W) logits, as exporters of
training frameworks write it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import rclpy
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Image

MEAN = np.array((0.485, 0.456, 0.406), np.float32)
STD = np.array((0.229, 0.224, 0.225), np.float32)
QUEUE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE
)


class Predictor:
    """Preprocessing, net and postprocessing around an ONNX graph."""

    def __init__(self, graph: Path) -> None:
        self.session = ort.InferenceSession(str(graph), providers=['CPUExecutionProvider'])
        self.input = self.session.get_inputs()[0]

    def predict(self, image_bgr: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 BGR to (H, W) uint8 labels."""
        height, width = self.input.shape[2:]
        rgb = cv2.cvtColor(cv2.resize(image_bgr, (width, height)), cv2.COLOR_BGR2RGB)
        normalised = (rgb.astype(np.float32) / 255 - MEAN) / STD
        blob = normalised.transpose(2, 0, 1)[np.newaxis]
        (logits,) = self.session.run(None, {self.input.name: blob})
        labels = np.argmax(logits[0], axis=0).astype(np.uint8)
        size = (image_bgr.shape[1], image_bgr.shape[0])
        return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)


class TutorialNode(Node):
    """Subscribes to ``image``, publishes ``~/label_mask``."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__('segmentation')
        self.predictor = predictor
        self.publisher = self.create_publisher(Image, '~/label_mask', QUEUE)
        self.subscription = self.create_subscription(Image, 'image', self.on_image, QUEUE)

    def on_image(self, message: Image) -> None:
        """Segment and publish."""
        image = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        labels = self.predictor.predict(image)
        answer = Image(header=message.header, encoding='mono8')
        answer.height, answer.width = labels.shape
        answer.step = answer.width
        answer.data = labels.tobytes()
        self.publisher.publish(answer)


def main() -> None:
    """Spin until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--graph', type=Path, required=True)
    args = parser.parse_args(remove_ros_args(sys.argv)[1:])
    rclpy.init()
    try:
        rclpy.spin(TutorialNode(Predictor(args.graph)))
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
