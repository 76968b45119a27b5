"""A walk over a pitch as a rosbag2: camera image, camera info and true labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from seg_ros.scenes.renderer import SceneRenderer
from seg_ros.scenes.walk import Walk

if TYPE_CHECKING:
    from pathlib import Path

    from seg_ros.scenes.camera import Camera

IMAGE_TOPIC = '/camera/image_raw/compressed'
INFO_TOPIC = '/camera/camera_info'
LABELS_TOPIC = '/ground_truth/labels'
FRAME_ID = 'camera'
JPEG_QUALITY = 90
MAX_FRAMES = 100_000
_START_NS = 1_000_000_000_000  # any time but 0, which means "no stamp"


def write_walk(
    path: Path,
    *,
    count: int,
    rate_hz: float,
    seed: int,
    width_px: int = 640,
    height_px: int = 480,
    num_classes: int = 4,
) -> None:
    """Render a walk into a new bag (mcap, chunks compressed with zstd).

    Args:
        path: Folder of the bag; must not exist.
        count: Number of frames.
        rate_hz: Frames per second.
        seed: Of the walk.
        width_px: Columns.
        height_px: Rows.
        num_classes: As in ``seg_ros.scenes.labels``.

    Raises:
        FileExistsError: If ``path`` exists.
        ValueError: If ``count`` or ``rate_hz`` is out of range.
    """
    if path.exists():
        raise FileExistsError(f'{path} exists; remove it or choose another folder')
    if not 1 <= count <= MAX_FRAMES or not 0 < rate_hz <= 1000:
        raise ValueError(
            f'{count} frames at {rate_hz} Hz; allowed are 1 to {MAX_FRAMES} and above 0 to 1000'
        )
    walk = Walk(seed, (count - 1) / rate_hz, width_px, height_px)
    renderer = SceneRenderer(num_classes)
    types = get_typestore(Stores.ROS2_JAZZY)
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connections = {
            topic: writer.add_connection(topic, f'sensor_msgs/msg/{name}', typestore=types)
            for topic, name in (
                (IMAGE_TOPIC, 'CompressedImage'),
                (INFO_TOPIC, 'CameraInfo'),
                (LABELS_TOPIC, 'Image'),
            )
        }
        for index in range(count):
            image, labels = renderer.render(walk.scene(index / rate_hz), walk.sensor_noise(index))
            stamp_ns = _START_NS + round(index * 1e9 / rate_hz)
            camera = walk.camera(index / rate_hz)
            messages = _to_messages(types, image, labels, camera, stamp_ns)
            for topic, message in messages.items():
                data = types.serialize_cdr(message, connections[topic].msgtype)
                writer.write(connections[topic], stamp_ns, data)


def _to_messages(
    types: Any, image: np.ndarray, labels: np.ndarray, camera: Camera, stamp_ns: int
) -> dict[str, Any]:
    known = types.types
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    stamp = known['builtin_interfaces/msg/Time'](sec=seconds, nanosec=nanoseconds)
    header = known['std_msgs/msg/Header'](stamp=stamp, frame_id=FRAME_ID)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    jpeg = cv2.imencode('.jpg', image[..., ::-1], quality)[1]
    height, width = labels.shape
    projection = np.hstack([camera.intrinsics, np.zeros((3, 1))])
    everything = known['sensor_msgs/msg/RegionOfInterest'](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return {
        IMAGE_TOPIC: known['sensor_msgs/msg/CompressedImage'](
            header=header, format='jpeg', data=jpeg.ravel()
        ),
        INFO_TOPIC: known['sensor_msgs/msg/CameraInfo'](
            header=header,
            height=height,
            width=width,
            distortion_model='plumb_bob',
            d=np.zeros(5),
            k=camera.intrinsics.ravel(),
            r=np.eye(3).ravel(),
            p=projection.ravel(),
            binning_x=0,
            binning_y=0,
            roi=everything,
        ),
        LABELS_TOPIC: known['sensor_msgs/msg/Image'](
            header=header,
            height=height,
            width=width,
            encoding='mono8',
            is_bigendian=0,
            step=width,
            data=np.ascontiguousarray(labels).ravel(),
        ),
    }
