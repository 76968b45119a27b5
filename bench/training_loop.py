"""Images per second of training: this package's loop beside a plain torchvision-style loop.

The plain loop is what people write: a Dataset that opens files with PIL, torchvision's v2
transforms per image, a DataLoader with worker processes, normalise, forward, cross-entropy at full
resolution, backward, AdamW. Both loops have the same net, size, batch, augmentation (scale and
crop, flip, colour jitter) and number of threads. They run in turns, so that other load on the
machine hits both alike.

    python -m bench.training_loop --data CAMVID --results DIR
    python -m bench.training_loop --data CAMVID --results DIR --device cuda

The second measures what this package has for a GPU: the data set as bytes on the device, bfloat16,
with and without torch.compile, in batches of 32, beside the plain loop in the same arithmetic.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from bench.record import Record, add_common_arguments
from seg_ros.datasets import build_dataset
from seg_ros.nets import build_net
from seg_ros.training.phases import Stage, build_loss
from seg_ros.training.preparation import batches_of, pick_device, prepare
from seg_ros.training.recipes import load_train_config

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VOID_STORED, VOID = 11, 255


class PlainDataset(Dataset):
    """Images and masks of CamVid, opened in every epoch."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        lines = (folder / 'train.txt').read_text().split()
        names = [folder.joinpath(*Path(line).parts[-2:]) for line in lines]
        self.pairs = list(zip(names[::2], names[1::2], strict=True))
        self.transform = v2.Compose(
            [
                v2.ScaleJitter(size, (0.5, 2.0)),
                v2.RandomCrop(
                    size, pad_if_needed=True, fill={tv_tensors.Mask: VOID_STORED, 'others': 0}
                ),
                v2.RandomHorizontalFlip(0.5),
                v2.ColorJitter(0.3, 0.3, 0.3, 0.03),
                v2.ToDtype({tv_tensors.Image: torch.float32, 'others': None}, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image_path, mask_path = self.pairs[index]
        image = tv_tensors.Image(
            v2.functional.pil_to_tensor(Image.open(image_path).convert('RGB'))
        )
        mask = tv_tensors.Mask(torch.from_numpy(np.array(Image.open(mask_path))))
        image, mask = self.transform(image, mask)
        labels = mask.long()
        return image, torch.where(labels == VOID_STORED, VOID, labels)


class PlainLoop:
    """The loop that people write."""

    def __init__(
        self, data: Path, net: str, size: tuple[int, int], batch: int, device: str
    ) -> None:
        torch.manual_seed(0)
        self.net = build_net(net, 11).to(device)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3, weight_decay=1e-2)
        self.loss = nn.CrossEntropyLoss(ignore_index=VOID)
        self.device = device
        self.loader = DataLoader(
            PlainDataset(data, size),
            batch,
            shuffle=True,
            num_workers=os.cpu_count() or 2,
            drop_last=True,
        )
        self.source = self._endless()
        self.waited = 0.0

    def _endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader

    def step(self) -> None:
        """One step; adds to the time spent waiting for images."""
        started = time.perf_counter()
        image, labels = next(self.source)
        self.waited += time.perf_counter() - started
        image, labels = image.to(self.device), labels.to(self.device)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == 'cuda'):
            outputs = self.net(image, full_resolution=True)
            loss = self.loss(outputs['logits'].float(), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class PackageLoop:
    """This package's stage on its own batches."""

    def __init__(
        self, data: Path, net: str, size: tuple[int, int], batch: int, extra: list[str]
    ) -> None:
        config = load_train_config(
            None,
            [
                f'net={net}',
                'dataset=camvid',
                f'data={data}',
                f'height_px={size[0]}',
                f'width_px={size[1]}',
                f'stages=[{{epochs: 100, batch_size: {batch}}}]',
                'augment.blur=0',
                'augment.noise=0',
                'ema_decay=0',
                *extra,
            ],
        )
        with tempfile.TemporaryDirectory() as folder:
            run = prepare(config, Path(folder), record=False)
        self.stage = Stage(config, 0, run.model, build_loss(config.loss, run.survey), 10_000)
        self.source = batches_of(run, 0).read(0, 0)
        self.waited, self.done = 0.0, 0

    def step(self) -> None:
        """One step; adds to the time spent on images."""
        started = time.perf_counter()
        batch = next(self.source)
        self.waited += time.perf_counter() - started
        self.stage.train_step(batch, self.done)
        self.done += 1


def measure(loop: PlainLoop | PackageLoop, steps: int, batch: int) -> dict[str, float]:
    """Images per second and the share of time spent on loading over some steps."""
    loop.waited = 0.0
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        loop.step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return {'images_per_s': steps * batch / seconds, 'loader_share': loop.waited / seconds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('--data', type=Path, required=True, help='folder of CamVid')
    parser.add_argument('--net', default='linknet')
    parser.add_argument('--size', default='360x480')
    parser.add_argument('--batch', type=int, default=0, help='0: 8 on a CPU, 32 on a GPU')
    parser.add_argument('--device', choices=('auto', 'cpu', 'cuda'), default='auto')
    parser.add_argument('--rounds', type=int, default=0, help='0: five, or two with --quick')
    parser.add_argument(
        '--steps', type=int, default=0, help='per round and loop; 0: 4 on a CPU, 50 on a GPU'
    )
    parser.add_argument('settings', nargs='*', help='settings of the package')
    args = parser.parse_intermixed_args()
    record = Record('training_loop', args.quick)
    count = args.rounds or (2 if args.quick else 5)
    height, width = map(int, args.size.split('x'))
    device = pick_device(args.device).type
    batch = args.batch or (32 if device == 'cuda' else 8)
    steps = args.steps or (50 if device == 'cuda' else 4)
    assert len(build_dataset('camvid', args.data, 'train')) >= batch
    kinds: dict[str, list[str]] = {'seg_ros': []}
    if device == 'cuda':
        resident = ['cache=device', 'precision=bfloat16']
        kinds = {'seg_ros': resident, 'seg_ros compiled': [*resident, 'compile=true']}
    size = (height, width)
    loops: dict[str, PlainLoop | PackageLoop] = {
        'plain': PlainLoop(args.data, args.net, size, batch, device)
    }
    for name, extra in kinds.items():
        settings = [f'device={device}', *extra, *args.settings]
        loops[name] = PackageLoop(args.data, args.net, size, batch, settings)
    for loop in loops.values():
        measure(loop, 2, batch)  # first steps allocate and compile
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in loops}
    for number in range(count):
        for name, loop in loops.items():
            rounds[name].append(measure(loop, steps, batch))
        record.progress(f'round {number + 1} of {count}')
    result = {
        name: {
            key: statistics.median(each[key] for each in values)
            for key in ('images_per_s', 'loader_share')
        }
        for name, values in rounds.items()
    }
    ratios = [
        ours['images_per_s'] / plain['images_per_s']
        for ours, plain in zip(rounds['seg_ros'], rounds['plain'], strict=True)
    ]
    for name, values in result.items():
        print(
            f'{name:16s} {values["images_per_s"]:8.2f} img/s, '
            f'loader {100 * values["loader_share"]:.1f} % of the time'
        )
    print(f'seg_ros / plain: median {statistics.median(ratios):.2f}, worst {min(ratios):.2f}')
    facts = {
        'net': args.net,
        'size': args.size,
        'batch': batch,
        'device': torch.cuda.get_device_name() if device == 'cuda' else 'CPU',
        'threads': torch.get_num_threads(),
        'rounds': rounds,
        'ratio_median': statistics.median(ratios),
        'median': result,
    }
    record.write(facts, args.results)


if __name__ == '__main__':
    main()
