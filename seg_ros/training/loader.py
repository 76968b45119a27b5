"""Images to batches: decoded once, cut and scaled per sample, put together per step."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from seg_ros.datasets.sample import Dataset
from seg_ros.model_card import VOID_ID, ClassInfo
from seg_ros.training.augment import (
    Augmentation,
    Geometry,
    apply_geometry,
    apply_geometry_to_batch,
)


class Batch(NamedTuple):
    """Training images of one step.

    Attributes:
        image: (N, 3, h, w) uint8 RGB.
        labels: (N, h, w) uint8 channels, 255 = void.
        content_hw: (N, 2) int64: rows and columns that are no padding.
        photometry: (N, NUM_PHOTOMETRIC) float32, what ``apply_photometry`` takes.
        seeds: (N,) int64.
    """

    image: Tensor
    labels: Tensor
    content_hw: Tensor
    photometry: Tensor
    seeds: Tensor


def channel_table(classes: Sequence[ClassInfo]) -> np.ndarray:
    """(256,) uint8: class id -> channel of the logits; 255 for ids of no class."""
    table = np.full(256, VOID_ID, np.uint8)
    for channel, entry in enumerate(classes):
        table[entry.id] = channel
    return table


class ImageStore:
    """Some samples of a dataset as tensors, decoded on demand or kept.

    Args:
        dataset: Where they come from.
        indices: Which of its samples.

    Attributes:
        repeats: How often each position is drawn in an epoch.
        draws: The positions of an epoch: each as often as ``repeats`` says.
        stacked: (count, 3, H, W) and (count, H, W) after ``move_to``, if all have one size.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = list(indices)
        repeats: Sequence[int] | None = getattr(dataset, 'repeats', None)
        self.repeats = [repeats[index] if repeats else 1 for index in self.indices]
        self.draws = np.repeat(range(len(self.indices)), self.repeats).tolist()
        self._table = channel_table(dataset.classes)
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self.stacked: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        """(3, H, W) uint8 RGB in channels-last memory, and (H, W) uint8 channels."""
        if position in self._kept:
            return self._kept[position]
        sample = self.dataset[self.indices[position]]
        return self._to_tensors(sample.image, sample.labels)

    @property
    def single_threaded(self) -> bool:
        """Whether samples are read (rendered, mostly) in one thread that must not be forked."""
        kept = len(self._kept) == len(self)
        return not kept and bool(getattr(self.dataset, 'single_threaded', False))

    def name(self, position: int) -> str:
        """Name of a sample."""
        return self.dataset.names[self.indices[position]]

    def keep(self, position: int, image_hwc: np.ndarray, labels_hw: np.ndarray) -> None:
        """Keep a decoded sample in RAM."""
        self._kept[position] = self._to_tensors(image_hwc, labels_hw)

    def move_to(self, device: torch.device) -> None:
        """Move what is kept to a device, as one tensor where all images have one size."""
        sizes = {image.shape for image, _ in self._kept.values()}
        if len(self._kept) == len(self) and len(sizes) == 1:
            order = range(len(self))
            images = torch.stack([self._kept[i][0] for i in order]).to(device)
            labels = torch.stack([self._kept[i][1] for i in order]).to(device)
            self.stacked = images, labels
            self._kept = {i: (images[i], labels[i]) for i in order}
            return
        self._kept = {
            key: (image.to(device), labels.to(device))
            for key, (image, labels) in self._kept.items()
        }

    def _to_tensors(self, image_hwc: np.ndarray, labels_hw: np.ndarray) -> tuple[Tensor, Tensor]:
        return (
            torch.from_numpy(np.ascontiguousarray(image_hwc)).permute(2, 0, 1),
            torch.from_numpy(self._table[labels_hw]),
        )


class _Drawn(NamedTuple):
    geometry: Geometry
    photometry: Tensor
    seed: int


@dataclass(frozen=True)
class _AugmentedSamples:
    """Samples by (epoch, number of the draw), for ``DataLoader``."""

    store: ImageStore
    augmentation: Augmentation
    window_hw: tuple[int, int]
    padding: tuple[int, int, int]
    seed: int

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        image, labels = self.store[self.store.draws[key[1]]]
        drawn = self._draw(key, (image.shape[1], image.shape[2]))
        image, labels = apply_geometry(image, labels, drawn.geometry, self.window_hw, self.padding)
        return Batch(
            image,
            labels,
            torch.tensor(drawn.geometry.content_hw),
            drawn.photometry,
            torch.tensor(drawn.seed),
        )

    def read_at_once(self, keys: Sequence[tuple[int, int]]) -> Batch:
        """A whole batch from the stacked images of the store."""
        assert self.store.stacked is not None
        images, labels = self.store.stacked
        size = (images.shape[2], images.shape[3])
        drawn = [self._draw(key, size) for key in keys]
        geometries = [each.geometry for each in drawn]
        positions = [self.store.draws[draw] for _, draw in keys]
        chosen = torch.tensor(positions, device=images.device)
        image, ids = apply_geometry_to_batch(
            images[chosen], labels[chosen], geometries, self.window_hw, self.padding
        )
        return Batch(
            image,
            ids,
            torch.tensor([geometry.content_hw for geometry in geometries]),
            torch.stack([each.photometry for each in drawn]),
            torch.tensor([each.seed for each in drawn]),
        )

    def _draw(self, key: tuple[int, int], image_hw: tuple[int, int]) -> _Drawn:
        # From the sample's own seed: the same in any process and after any resume.
        state = np.random.SeedSequence([self.seed, *key]).generate_state(1, np.uint64)
        seed = int(state[0] >> 1)
        generator = torch.Generator().manual_seed(seed)
        geometry = self.augmentation.draw_geometry(generator, image_hw, self.window_hw)
        return _Drawn(geometry, self.augmentation.draw_photometry(generator), seed)


class TrainingBatches:
    """Endless batches of one stage, reproducible from any step on.

    Args:
        store: The training images.
        augmentation: How they are changed.
        window_hw: Rows and columns that the net is trained with.
        padding: RGB bytes beside an image that does not fill the window.
        batch_size: Images per step over all processes.
        seed: Of order and augmentation.
        rank: Number of this process.
        world_size: Number of processes.
        workers: Loading processes; 0 loads in the caller.
    """

    def __init__(
        self,
        store: ImageStore,
        augmentation: Augmentation,
        window_hw: tuple[int, int],
        padding: tuple[int, int, int],
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
    ) -> None:
        if batch_size % world_size:
            raise ValueError(f'batch_size {batch_size} is no multiple of {world_size} processes')
        self._samples = _AugmentedSamples(store, augmentation, window_hw, padding, seed)
        self._count, self._seed = len(store.draws), seed
        self._rank, self._world_size, self._workers = rank, world_size, workers
        self.batch_size = min(batch_size, self._count // world_size * world_size)
        if not self.batch_size:
            raise ValueError(f'{self._count} training images for {world_size} processes')
        self.steps_per_epoch = self._count // self.batch_size

    def read(self, epoch: int, step: int) -> Iterator[Batch]:
        """Batches from a step of an epoch on, without end."""
        if self._samples.store.stacked is not None:
            return map(self._samples.read_at_once, self._keys(epoch, step))
        loader: DataLoader[Batch] = DataLoader(
            cast('TorchDataset[Batch]', self._samples),
            batch_sampler=cast('Iterable[list[int]]', self._keys(epoch, step)),
            num_workers=self._workers,
            generator=torch.Generator(),  # or it would draw from the generator of the run
            multiprocessing_context=self._start_method(),
            worker_init_fn=_begin_worker if self._workers else None,
            pin_memory=self._workers > 0 and torch.cuda.is_available(),
            prefetch_factor=4 if self._workers else None,
        )
        return iter(loader)

    def _start_method(self) -> str | None:
        """Forked workers share the decoded images; spawned ones begin afresh."""
        if not self._workers:
            return None
        return 'spawn' if self._samples.store.single_threaded else 'fork'

    def _keys(self, epoch: int, step: int) -> Iterator[list[tuple[int, int]]]:
        while True:
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
            order = torch.randperm(self._count, generator=generator).tolist()
            for each in range(step, self.steps_per_epoch):
                chosen = order[each * self.batch_size : (each + 1) * self.batch_size]
                yield [(epoch, draw) for draw in chosen[self._rank :: self._world_size]]
            epoch, step = epoch + 1, 0


def _begin_worker(number: int) -> None:  # noqa: ARG001 (DataLoader gives it)
    """Leave Ctrl-C to the main process, and threads to the other workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
