"""Render labelled RoboCup scenes into a folder of images, or a walk over a pitch into a bag.

The folder gets images/, labels/ (PNG of class ids) and classes.yaml, as the data set `folder`
reads them. The same seed gives the same bytes, whatever the number of workers.

Needs MuJoCo (pip install mujoco) and EGL (apt-get install libegl1 libgl1-mesa-dri).
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seg_ros.datasets.robocup_scenes import RobocupScenes

MAX_COUNT = 1_000_000
MAX_WORKERS = 256

_dataset: RobocupScenes | None = None  # of a worker process


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``render``."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument('--out', type=Path, help='folder to write images into; new or empty')
    target.add_argument('--bag', type=Path, help='rosbag2 to write a walk into; must not exist')
    parser.add_argument('--count', type=int, default=100, help='number of images')
    parser.add_argument('--seed', type=int, default=0, help='of the scenes, 0 or above')
    parser.add_argument('--size', default='640x480', help='WIDTHxHEIGHT in pixels')
    parser.add_argument('--split', default='train', help='train, val or test scenes (with --out)')
    parser.add_argument('--backgrounds', type=Path, help='folder of your own photos of halls')
    parser.add_argument('--classes', type=int, default=4, choices=(4, 6), help='6: goal, robot')
    parser.add_argument('--format', default='jpg', choices=('jpg', 'png'), help='of the images')
    parser.add_argument('--workers', type=int, default=1, help='processes (with --out)')
    parser.add_argument('--rate', type=float, default=10.0, help='frames per second (with --bag)')


def run(args: argparse.Namespace) -> int:
    """Render; returns 0."""
    width, height = parse_size(args.size)
    if not 1 <= args.count <= MAX_COUNT:
        raise ValueError(f'--count {args.count}: allowed are 1 to {MAX_COUNT}')
    if not 1 <= args.workers <= MAX_WORKERS:
        raise ValueError(f'--workers {args.workers}: allowed are 1 to {MAX_WORKERS}')
    if args.bag:
        from seg_ros.scenes.sample_bag import write_walk

        write_walk(
            args.bag,
            count=args.count,
            rate_hz=args.rate,
            seed=args.seed,
            width_px=width,
            height_px=height,
            num_classes=args.classes,
        )
        print(f'{args.count} frames at {args.rate:g} Hz: {args.bag}')
        return 0
    from seg_ros.datasets.robocup_scenes import RobocupScenes

    start = time.perf_counter()
    dataset = RobocupScenes(
        args.backgrounds,
        args.split,
        length=args.count,
        seed=args.seed,
        width_px=width,
        height_px=height,
        num_classes=args.classes,
    )
    write_folder(dataset, args.out, args.format, args.workers)
    seconds = time.perf_counter() - start
    print(f'{args.count} images in {seconds:.1f} s ({args.count / seconds:.1f}/s): {args.out}')
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT.

    Raises:
        ValueError: If it is written in another way.
    """
    if not (match := re.fullmatch(r'(\d{1,5})x(\d{1,5})', text)):
        raise ValueError(f'--size {text!r}: write WIDTHxHEIGHT, as in 640x480')
    return int(match[1]), int(match[2])


def write_folder(dataset: RobocupScenes, out: Path, suffix: str, workers: int) -> None:
    """Write every sample of a data set.

    Args:
        dataset: Its samples.
        out: Folder, new or empty.
        suffix: ``jpg`` (quality 95) or ``png``.
        workers: Number of processes that render.

    Raises:
        FileExistsError: If ``out`` holds anything.
    """
    from seg_ros.datasets.folder import CLASSES_FILE, save_classes_file

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f'{out} is not empty; give a new folder')
    for name in ('images', 'labels'):
        (out / name).mkdir(parents=True)
    save_classes_file(out / CLASSES_FILE, dataset.classes)
    for _ in _write_all(dataset, out, suffix, workers):
        pass


def _write_all(dataset: RobocupScenes, out: Path, suffix: str, workers: int) -> Iterator[int]:
    jobs = [(index, out, suffix) for index in range(len(dataset))]
    if workers == 1:
        _start_worker(dataset)
        yield from map(_write_one, jobs)
        return
    import multiprocessing

    # OpenGL does not survive a fork.
    with multiprocessing.get_context('spawn').Pool(workers, _start_worker, (dataset,)) as pool:
        yield from pool.imap_unordered(_write_one, jobs, chunksize=4)


def _start_worker(dataset: RobocupScenes) -> None:
    import cv2

    global _dataset  # noqa: PLW0603 - a worker has one dataset for its whole life
    cv2.setNumThreads(1)  # the processes share the cores already
    _dataset = dataset


def _write_one(job: tuple[int, Path, str]) -> int:
    import cv2

    from seg_ros.result_files import write_picture

    index, out, suffix = job
    assert _dataset is not None, 'workers are started by _start_worker'
    sample = _dataset[index]
    image = cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == 'jpg' else []
    for path, pixels, options in (
        (out / 'images' / f'{sample.name}.{suffix}', image, quality),
        (out / 'labels' / f'{sample.name}.png', sample.labels, []),
    ):
        write_picture(path, pixels, options)
    return index
