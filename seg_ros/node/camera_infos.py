"""The calibration of a frame: the message of the same stamp, never merely the newest."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from seg_ros.node.messages import to_camera_info

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensor_msgs.msg import CameraInfo
    from std_msgs.msg import Header

_MAX_KEPT = 128  # four seconds of a camera of 30 Hz, for a slow engine
_MAX_AWAITED = 4

_Stamp = tuple[int, int]


class _Awaited(NamedTuple):
    """Labels whose calibration has not come yet."""

    header: Header
    width: int
    height: int


class CameraInfos:
    """Gives each label image the calibration that was sent with its image.

    image_transport's CameraSubscriber and every other exact synchroniser pair the two by their
    stamps, so a calibration without its stamp reaches none of their users, and one that was made
    up from the newest message would be wrong after a change of zoom, binning or region. Where no
    message of a frame's stamp comes none is published, and that is told. A message that comes
    after its labels is published when it comes.

    Args:
        publish: Sends a calibration on.
        warn: Tells that stamps do not match; it throttles.
    """

    def __init__(self, publish: Callable[[CameraInfo], None], warn: Callable[[], object]) -> None:
        self._publish = publish
        self._warn = warn
        self._kept: dict[_Stamp, CameraInfo] = {}
        self._awaited: dict[_Stamp, _Awaited] = {}
        self._lock = threading.Lock()

    def take(self, info: CameraInfo) -> None:
        """Keep a message of the camera; called by the executor."""
        stamp = _stamp_of(info.header)
        with self._lock:
            self._kept.pop(stamp, None)  # the newest is to be the last
            self._kept[stamp] = info
            if len(self._kept) > _MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            awaited = self._awaited.pop(stamp, None)
        if awaited is not None:
            self._publish(to_camera_info(info, awaited.width, awaited.height, awaited.header))

    def publish_for(self, header: Header, width: int, height: int) -> None:
        """Publish the calibration of labels, now or once it comes; called by the worker."""
        stamp, is_missed = _stamp_of(header), False
        with self._lock:
            info = self._kept.get(stamp)
            if info is None:
                self._awaited[stamp] = _Awaited(header, width, height)
                if len(self._awaited) > _MAX_AWAITED:
                    del self._awaited[next(iter(self._awaited))]
                    is_missed = bool(self._kept)
        if info is not None:
            self._publish(to_camera_info(info, width, height, header))
        if is_missed:
            self._warn()


def _stamp_of(header: Header) -> _Stamp:
    return header.stamp.sec, header.stamp.nanosec
