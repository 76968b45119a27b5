"""RoboCup pitches, rendered when they are asked for: labelled images without files or limit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seg_ros.datasets.sample import Sample
from seg_ros.scenes.labels import scene_classes
from seg_ros.scenes.surroundings import list_photos

if TYPE_CHECKING:
    from seg_ros.scenes.renderer import SceneRenderer

SPLITS = ('train', 'val', 'test')
MIN_SIDE_PX, MAX_SIDE_PX = 64, 1280


class RobocupScenes:
    """Random scenes; index, seed, split and size decide about every byte of a sample.

    Every process starts OpenGL at its first sample. Processes that load in parallel have
    to be started with ``spawn`` when the parent has rendered already, as OpenGL does not survive
    a fork.

    Args:
        folder: Folder of pictures to show around the pitch (``--backgrounds``); painted halls are
            shown when it is None, or '-', or a folder without pictures is refused.
        split: ``train``, ``val`` or ``test``: scenes of their own each; ``all`` is ``train``.
        length: Number of samples.
        seed: Of all scenes, 0 or above.
        width_px: Columns, 64 to 1280.
        height_px: Rows, 64 to 1280.
        num_classes: 4 (background, ball, line, field) or 6 (and goal, robot).

    Raises:
        ValueError: If an argument is outside of what is allowed.
        RuntimeError: At a sample, if the process was forked from one that had rendered.
        FileNotFoundError: If ``folder`` is given and holds no pictures; at the first sample, if
            MuJoCo or EGL is missing.
    """

    single_threaded = True  # OpenGL's context belongs to one thread and is lost in a fork

    def __init__(
        self,
        folder: Path | str | None = None,
        split: str = 'train',
        *,
        length: int = 10_000,
        seed: int = 0,
        width_px: int = 640,
        height_px: int = 480,
        num_classes: int = 4,
    ) -> None:
        if split not in (*SPLITS, 'all'):
            raise ValueError(f'unknown split {split!r}; available: {", ".join(SPLITS)}, all')
        if length < 1 or seed < 0:
            raise ValueError(f'length {length} and seed {seed}: give at least 1 and 0')
        for name, value in (('width_px', width_px), ('height_px', height_px)):
            if not MIN_SIDE_PX <= value <= MAX_SIDE_PX:
                raise ValueError(f'{name} is {value}; allowed are {MIN_SIDE_PX} to {MAX_SIDE_PX}')
        self.classes = scene_classes(num_classes)
        no_folder = folder is None or str(folder) in ('', '-', '.')
        self._photos = () if no_folder else list_photos(Path(str(folder)))
        self._split = 'train' if split == 'all' else split
        self._length, self._seed = length, seed
        self.names = tuple(f'{self._split}_{seed}_{i:06d}' for i in range(length))
        self._size = (width_px, height_px)
        self._renderer: SceneRenderer | None = None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        """Render sample ``index``."""
        if not 0 <= index < self._length:
            raise IndexError(f'sample {index} of {self._length}')
        from seg_ros.scenes.scene import random_scene  # noqa: PLC0415 - numpy only, but large

        rng = np.random.default_rng([self._seed, SPLITS.index(self._split), index])
        scene = random_scene(rng, *self._size, self._photos)
        image, labels = self._ready_renderer().render(scene, rng)
        return Sample(image, labels, self.names[index])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_renderer': None}

    def _ready_renderer(self) -> SceneRenderer:
        if self._renderer is None:
            from seg_ros.scenes.renderer import SceneRenderer  # noqa: PLC0415 - starts OpenGL

            self._renderer = SceneRenderer(len(self.classes))
        return self._renderer
