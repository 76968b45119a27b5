"""Pictures to segment: image files and folders of them, a video, or a bag."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np

from seg_ros.bag_storage import is_bag
from seg_ros.bags import Bag
from seg_ros.datasets.image_files import IMAGE_SUFFIXES, find_images
from seg_ros.evaluation.frames import BagFrames
from seg_ros.evaluation.offline import to_rgb
from seg_ros.evaluation.skips import Skips
from seg_ros.image_files import load_image

Kind = Literal['images', 'video', 'bag']

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mkv', '.mov', '.webm', '.m4v', '.mpg', '.mpeg')
_DEFAULT_FPS = 10.0


@dataclass(frozen=True)
class Picture:
    """An image to be segmented.

    Attributes:
        name: To write it under.
        image_rgb: (H, W, 3) uint8.
        file: Where it was read from, if it has a file of its own.
    """

    name: str
    image_rgb: np.ndarray
    file: Path | None = None


class PictureSource(Protocol):
    """Where pictures come from.

    Attributes:
        name: For the file of a video.
        fps: Pictures per second.
    """

    name: str
    fps: float

    def __len__(self) -> int:
        """How many there are, as far as can be known."""
        ...

    def read(self, skips: Skips) -> Iterator[Picture]:
        """Read one after the other."""
        ...


class ImageFiles:
    """Image files and folders of them; broken files are skipped.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If two files would be written under the same name, or there is none.
    """

    name = 'images'
    fps = _DEFAULT_FPS

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files: dict[str, Path] = {}
        for path in paths:
            if not path.exists():
                raise FileNotFoundError(f'{path} does not exist')
            found = find_images(path) if path.is_dir() else [path]
            for file in found:
                inner = file.relative_to(path) if path.is_dir() else Path(file.name)
                name = str(inner.with_suffix(''))
                if name in self._files:
                    raise ValueError(
                        f'{file} and {self._files[name]} would be written under the same name'
                    )
                self._files[name] = file

    def __len__(self) -> int:
        return len(self._files)

    def read(self, skips: Skips) -> Iterator[Picture]:
        """Read file by file."""
        for name, file in self._files.items():
            try:
                yield Picture(name, load_image(file), file)
            except (ValueError, FileNotFoundError) as error:
                skips.add('image that cannot be read', str(error))


class VideoFile:
    """The frames of a video.

    Raises:
        ValueError: If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        demand_utf8(path)
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise ValueError(f'{path} cannot be opened as a video')
        self.name = path.stem
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or _DEFAULT_FPS
        self._count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def __len__(self) -> int:
        return max(0, self._count)

    def read(self, skips: Skips) -> Iterator[Picture]:
        """Read frame by frame; a container that promises more frames than it has is noted."""
        number = 0
        while True:
            found, image = self._capture.read()
            if not found:
                break
            yield Picture(f'{number:06d}', cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            number += 1
        if number < self._count:
            skips.add(
                'frame that the video promises and does not hold', f'{number} to {self._count - 1}'
            )
        self._capture.release()


class BagImages:
    """The images of a bag; see ``evaluation.frames.BagFrames``."""

    def __init__(self, path: Path, image_topic: str | None) -> None:
        self._frames = BagFrames([path], image_topic)
        whole = path.resolve()
        self.name = whole.name if whole.is_dir() else whole.stem
        with Bag(path) as bag:
            seconds = bag.duration_s
        self.fps = (len(self._frames) - 1) / seconds if seconds > 0 else _DEFAULT_FPS

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, skips: Skips) -> Iterator[Picture]:
        """Read image by image, named by stamp, and numbered where several share one."""
        for frame in self._frames.read(skips):
            yield Picture(frame.name, to_rgb(frame.image))


def demand_utf8(path: Path) -> None:
    """Refuse a name of a video that is no UTF-8, which OpenCV takes for another or dies of.

    Raises:
        ValueError: If it is none.
    """
    try:
        str(path).encode('utf-8')
    except UnicodeEncodeError as error:
        raise ValueError(
            f'{str(path)!a}: the name is no UTF-8, which videos need; rename it'
        ) from error


def open_pictures(paths: list[Path], image_topic: str | None = None) -> tuple[Kind, PictureSource]:
    """Tell images, a video and a bag apart and open them.

    Args:
        paths: Image files or folders of them; or one video; or one bag.
        image_topic: Of a bag; the only one by default.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If a path is none of the three, or several are no images.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f'{path} does not exist; give images, a video or a bag')
    if len(paths) == 1 and is_bag(paths[0]):
        return 'bag', BagImages(paths[0], image_topic)
    if image_topic is not None:
        raise ValueError('an image topic is for a bag, and it is given alone')
    if len(paths) == 1 and paths[0].suffix.lower() in VIDEO_SUFFIXES:
        return 'video', VideoFile(paths[0])
    for path in paths:
        if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
            raise ValueError(
                f'{path} is no image ({", ".join(IMAGE_SUFFIXES)}); a video or a bag is given '
                'alone'
            )
    return 'images', ImageFiles(paths)
