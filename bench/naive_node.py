"""What a user writes after a tutorial: PyTorch eager in the callback of a ROS node.

python -m bench.naive_node --net smp_unet --ros-args -r __ns:=/naive

Written with care, not to lose: inference mode, one conversion of the message through numpy, images
that nobody subscribes to left out. What makes it slow is what is usual: float preprocessing,
eager mode, the interpolation and argmax of float maps.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import rclpy
import torch
import torch.nn.functional as F
from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Image
from torch import Tensor, nn
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NETS = ('smp_unet', 'smp_linknet', 'linknet', 'mini_unet')


def build(net: str, num_classes: int) -> nn.Module:
    """Build a net with random weights, which cost what trained ones cost.

    Args:
        net: One of ``NETS``: U-Net or Linknet of segmentation-models-pytorch on a ResNet-18, or
            one of this package's nets, in PyTorch eager.
        num_classes: Number of classes.
    """
    if net.startswith('smp_'):
        import segmentation_models_pytorch as smp  # noqa: PLC0415 - the others do without

        kind = {'smp_unet': smp.Unet, 'smp_linknet': smp.Linknet}[net]
        return kind('resnet18', encoder_weights=None, classes=num_classes).eval()

    from seg_ros.nets import build_net  # noqa: PLC0415 - as above

    return build_net(net, num_classes).eval()


def imgmsg_to_rgb(message: Image) -> np.ndarray:
    """View a bgr8 message as (H, W, 3) uint8 and copy it to RGB, as cv_bridge does."""
    pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
    return pixels[..., ::-1].copy()


def rgb_to_imgmsg(pixels: np.ndarray, encoding: str, source: Image) -> Image:
    """Put pixels into a message with the header of the image that they were made of."""
    message = Image()
    message.header = source.header
    message.height, message.width = pixels.shape[:2]
    message.encoding = encoding
    message.step = message.width * (pixels.shape[2] if pixels.ndim == 3 else 1)
    message.data = pixels.tobytes()
    return message


class Predictor:
    """Preprocessing, net and postprocessing.

    Args:
        net: One of ``NETS``.
        num_classes: Number of classes.
        size_hw: Rows and columns of the net's input.
    """

    def __init__(self, net: str, num_classes: int, size_hw: tuple[int, int]) -> None:
        self.net = build(net, num_classes)
        self.transform = v2.Compose(
            [
                v2.ToImage(),
                v2.Resize(size_hw, antialias=True),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    @torch.inference_mode()
    def predict(self, image_rgb: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 RGB to (1, C, H, W) logits at the image's size."""
        logits = self.net(self.transform(image_rgb).unsqueeze(0))
        if isinstance(logits, dict):
            logits = logits['logits']
        if logits.shape[-2:] != image_rgb.shape[:2]:
            logits = F.interpolate(
                logits, image_rgb.shape[:2], mode='bilinear', align_corners=False
            )
        return logits


class NaiveNode(Node):
    """Subscribes to ``image``, publishes ``~/label_mask`` and pictures of it."""

    def __init__(self, predictor: Predictor, num_classes: int) -> None:
        super().__init__('segmentation')
        self.predictor = predictor
        self.palette = np.random.default_rng(0).integers(0, 256, (num_classes, 3), np.uint8)
        self.label_publisher = self.create_publisher(Image, '~/label_mask', 10)
        self.confidence_publisher = self.create_publisher(Image, '~/confidence', 10)
        self.color_publisher = self.create_publisher(Image, '~/color_mask', 10)
        self.overlay_publisher = self.create_publisher(Image, '~/overlay', 10)
        self.subscription = self.create_subscription(Image, 'image', self.on_image, 10)

    def on_image(self, message: Image) -> None:
        """Segment and publish."""
        image = imgmsg_to_rgb(message)
        logits = self.predictor.predict(image)
        labels = logits.argmax(1)[0].to(torch.uint8).numpy()
        self.label_publisher.publish(rgb_to_imgmsg(labels, 'mono8', message))
        if self.confidence_publisher.get_subscription_count():
            confidence = (logits.softmax(1).amax(1)[0] * 255).to(torch.uint8).numpy()
            self.confidence_publisher.publish(rgb_to_imgmsg(confidence, 'mono8', message))
        pictures = (self.color_publisher, self.overlay_publisher)
        if any(publisher.get_subscription_count() for publisher in pictures):
            color = self.palette[labels]
            self.color_publisher.publish(rgb_to_imgmsg(color, 'rgb8', message))
            overlay = (0.5 * image + 0.5 * color).astype(np.uint8)
            self.overlay_publisher.publish(rgb_to_imgmsg(overlay, 'rgb8', message))


def main() -> None:
    """Spin until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--net', choices=NETS, default='smp_unet')
    parser.add_argument('--classes', type=int, default=4)
    parser.add_argument('--size', default='480x640', help='rows x columns of the net')
    args = parser.parse_args(remove_ros_args(sys.argv)[1:])
    height, width = map(int, args.size.split('x'))
    rclpy.init()
    try:
        node = NaiveNode(Predictor(args.net, args.classes, (height, width)), args.classes)
        rclpy.spin(node)
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
