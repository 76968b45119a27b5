"""The nets that ship, trained one after the other on a GPU that is there for an hour.

Where data and encoder weights are::

    python -m bench.gpu_hour pack --camvid $CAMVID hour.tar

and on the GPU, in a checkout, with torch, torchvision, numpy, OpenCV and safetensors and nothing
else (the package of data brings the two pure Python packages that training needs)::

    python -m bench.gpu_hour run hour.tar --encoders encoder --minutes 10 --out results

``results`` holds a folder per net: its card with the scores and its weights in float16, in parts
of at most 15 MiB. At home ``python -m bench.gpu_hour join results`` puts the parts together, and
``python -m seg_ros export results/<net> models/<net> --images ...`` makes the model folder. It
never ran on a GPU yet; the same commands run on a CPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import sys
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

if TYPE_CHECKING:
    from seg_ros.model_card import ModelCard
    from seg_ros.nets.segmentation_net import SegmentationNet

PART_BYTES = 15 << 20
MAX_PACKAGE_BYTES = 40_000_000
JPEG_QUALITY = 95
PURE_PACKAGES = ('yaml', 'tqdm')


@dataclass(frozen=True)
class Plan:
    """A net of the hour.

    Attributes:
        recipe: In ``config/train``.
        encoder: File of encoder weights, without its suffix; from random where it is not there.
        settings: Changes of the recipe.
    """

    recipe: str
    encoder: str
    settings: tuple[str, ...] = ()


_CAMVID = ('split.mode=groups', 'split.pool=[train,val]', 'split.val_groups=0001TP')
_SCENES = (
    'dataset=robocup_scenes',
    'data=-',
    'dataset_options={length: 1500}',
    'split={mode: given, train: train, val: val}',
)
PLANS = {
    'road_linknet': Plan('linknet_camvid_cpu', 'resnet18_imagenet_partial', _CAMVID),
    'road_swiftnet': Plan('swiftnet_camvid', 'efficientnet_lite2_imagenet', _CAMVID),
    'road_segnet': Plan(
        'segnet_camvid',
        'vgg16_imagenet',
        (
            *_CAMVID,
            'optimizer={name: adamw, encoder_factor: 0.3, clip_norm: 5.0}',
            'schedule={name: poly}',
            'stages=[{epochs: 4, scale: 0.5, batch_size: 8}, {epochs: 1, batch_size: 4}]',
            'ema_decay=0.99',
        ),
    ),
    'robocup_mini_unet': Plan('mini_unet_robocup_scenes', 'resnet18_imagenet_partial', _SCENES),
    'robocup_mobilenet_unet': Plan(
        'mobilenet_unet_robocup_scenes',
        'mobilenet_v2_imagenet_mit',
        (*_SCENES, 'val_dataset=', 'mean=[]', 'std=[]'),
    ),
}


def pack(camvid: Path, target: Path) -> int:
    """Write CamVid's training and validation images and what training imports; bytes of the file.

    Raises:
        ValueError: If the file is too large.
    """
    with tarfile.open(target, 'w') as archive:
        for split in ('train', 'val'):
            lines = (camvid / f'{split}.txt').read_text(encoding='utf-8').split('\n')
            listed = [line.split() for line in lines if line.strip()]
            images = [Path(*Path(image).parts[-2:]) for image, _ in listed]
            masks = [Path(*Path(mask).parts[-2:]) for _, mask in listed]
            for image in images:
                pixels = cv2.imread(str(camvid / image))
                quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
                _, encoded = cv2.imencode('.jpg', pixels, quality)
                _add(archive, f'camvid/{image.with_suffix(".jpg")}', encoded.tobytes())
            for mask in masks:
                _add(archive, f'camvid/{mask}', (camvid / mask).read_bytes())
            pairs = zip(images, masks, strict=True)
            names = [f'{image.with_suffix(".jpg")} {mask}\n' for image, mask in pairs]
            _add(archive, f'camvid/{split}.txt', ''.join(names).encode())
        for package in PURE_PACKAGES:
            found = importlib.util.find_spec(package)
            assert found is not None
            assert found.origin is not None
            for path in sorted(Path(found.origin).parent.rglob('*.py')):
                inside = path.relative_to(Path(found.origin).parents[1])
                _add(archive, f'packages/{inside}', path.read_bytes())
    size = target.stat().st_size
    if size > MAX_PACKAGE_BYTES:
        raise ValueError(f'{target} has {size} bytes; allowed are {MAX_PACKAGE_BYTES}')
    return size


def run(
    package: Path, encoders: Path, out: Path, names: list[str], minutes: float, extra: list[str]
) -> None:
    """Train the nets and write their weights; a net that fails does not stop the others."""
    data = out / 'data'
    with tarfile.open(package) as archive:
        archive.extractall(data, filter='data')
    sys.path.append(str(data / 'packages'))
    for name in names:
        try:
            print(f'{name}: {train_one(name, data, encoders, out, minutes, extra)}', flush=True)
        except (ValueError, OSError, RuntimeError) as error:
            print(f'{name}: failed: {error}', flush=True)


def train_one(
    name: str, data: Path, encoders: Path, out: Path, minutes: float, extra: list[str]
) -> str:
    """Train a net within its minutes; what became of it, in words."""
    # Late, as it needs the packages that ``run`` has just unpacked.
    from seg_ros.training.loop import train  # noqa: PLC0415
    from seg_ros.training.model_folder import load_trained  # noqa: PLC0415
    from seg_ros.training.recipes import load_train_config, recipe_path  # noqa: PLC0415

    plan = PLANS[name]
    weights = encoders / f'{plan.encoder}.safetensors'
    settings = [
        f'name={name}',
        f'encoder_weights={weights if weights.is_file() else "none"}',
        'allow_missing_weights=true',
        f'time_budget_min={minutes}',
        'model_dir=',
        *plan.settings,
    ]
    if not any(each.startswith('data=') for each in plan.settings):
        settings.append(f'data={data / "camvid"}')
    config = load_train_config(recipe_path(plan.recipe), [*settings, *extra])
    done = train(config, out / 'runs' / name, quiet=True)
    net, card = load_trained(done.folder)
    write_parts(net, card, out / name)
    score = max(entry.get('mean_iou', 0.0) for entry in done.progress.history)
    return (
        f'{len(done.progress.history)} epochs, {done.progress.step} steps, best mIoU {score:.4f}'
    )


def write_parts(net: SegmentationNet, card: ModelCard, folder: Path) -> None:
    """Write a model folder without a graph; the weights in parts that are small enough."""
    from seg_ros.model_card import WEIGHTS_FILE, save_model_card  # noqa: PLC0415
    from seg_ros.nets.deployed import save_weights  # noqa: PLC0415

    folder.mkdir(parents=True)
    whole = folder / WEIGHTS_FILE
    save_weights(net, whole, 'float16')
    save_model_card(replace(card, files={WEIGHTS_FILE: ''}), folder)
    content = whole.read_bytes()
    for number, start in enumerate(range(0, len(content), PART_BYTES)):
        part = folder / f'{WEIGHTS_FILE}.{number:02d}'
        part.write_bytes(content[start : start + PART_BYTES])
    whole.unlink()


def join(out: Path) -> list[Path]:
    """Put the weights of every net together again; the model folders, verified by their cards."""
    from seg_ros.model_card import CARD_FILE, WEIGHTS_FILE, load_model_card  # noqa: PLC0415

    folders = sorted(path.parent for path in out.glob(f'*/{CARD_FILE}'))
    for folder in folders:
        parts = sorted(folder.glob(f'{WEIGHTS_FILE}.*'))
        if parts:
            content = b''.join(part.read_bytes() for part in parts)
            (folder / WEIGHTS_FILE).write_bytes(content)
        load_model_card(folder)
        for part in parts:
            part.unlink()
    return folders


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def main(argv: list[str] | None = None) -> int:
    """Run one of the three steps."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    steps = parser.add_subparsers(dest='step', required=True)
    packing = steps.add_parser('pack', help='one file of data')
    packing.add_argument('package', type=Path)
    packing.add_argument('--camvid', type=Path, required=True)
    running = steps.add_parser('run', help='train on the GPU')
    running.add_argument('package', type=Path)
    running.add_argument('--encoders', type=Path, default=Path('encoder'))
    running.add_argument('--out', type=Path, required=True)
    running.add_argument('--minutes', type=float, default=10.0, help='for each net')
    running.add_argument('--nets', nargs='+', choices=PLANS, default=list(PLANS))
    running.add_argument(
        '--settings', nargs='+', default=['device=cuda', 'precision=bfloat16', 'cache=device']
    )
    joining = steps.add_parser('join', help='parts of weights to model folders')
    joining.add_argument('out', type=Path)
    args = parser.parse_args(argv)
    if args.step == 'pack':
        print(f'{args.package}: {pack(args.camvid, args.package) / 1e6:.1f} MB')
    elif args.step == 'run':
        run(args.package, args.encoders, args.out, args.nets, args.minutes, args.settings)
    else:
        print('\n'.join(map(str, join(args.out))))
    return 0


if __name__ == '__main__':
    sys.exit(main())
