"""Writers of three-image fixtures, each in its data set's own files."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from seg_ros.model_card import VOID_ID

SIZE = (24, 32)


@dataclass
class Fixture:
    """A data set on disk and what reading it must give.

    Attributes:
        name: Key of DATASETS.
        folder: Where it lies.
        split: A split that exists.
        options: For build_dataset.
        truth: name of sample -> (image, labels).
    """

    name: str
    folder: Path
    split: str = 'all'
    options: dict = field(default_factory=dict)
    truth: dict = field(default_factory=dict)


def picture(seed, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def blocks(values, size=SIZE):
    """Vertical stripes of the given values."""
    stripes = np.array_split(np.arange(size[1]), len(values))
    labels = np.zeros(size, np.asarray(values).dtype)
    for value, columns in zip(values, stripes, strict=True):
        labels[:, columns] = value
    return labels


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = array[:, :, ::-1] if array.ndim == 3 else array
    assert cv2.imwrite(str(path), stored)


def write_camvid(folder):
    truth, lines = {}, []
    for i in range(3):
        image, stored = picture(i), blocks(np.uint8([0, 3, 10, 11]))
        write(folder / f'train/f{i}.png', image)
        write(folder / f'trainannot/f{i}.png', stored)
        lines.append(f'/SegNet/CamVid/train/f{i}.png /SegNet/CamVid/trainannot/f{i}.png')
        truth[f'f{i}.png'] = image, blocks(np.uint8([0, 3, 10, VOID_ID]))
    (folder / 'train.txt').write_text('\n'.join(lines) + '\n')
    return Fixture('camvid', folder, 'train', truth=truth)


def write_camvid_original(folder):
    colors = {1: (64, 192, 0), 3: (128, 0, 192), 8: (192, 128, 192), VOID_ID: (0, 0, 0)}
    labels, truth = blocks(np.uint8(list(colors))), {}
    mask = np.zeros((*SIZE, 3), np.uint8)
    for class_id, color in colors.items():
        mask[labels == class_id] = color
    for i in range(3):
        image = picture(i)
        write(folder / f'701_StillsRaw_full/s{i}.png', image)
        write(folder / f'LabeledApproved_full/s{i}_L.png', mask)
        truth[f's{i}.png'] = image, labels
    return Fixture('camvid', folder, truth=truth)


def write_folder_of_ids(folder):
    entries = [
        {'id': 0, 'name': 'background', 'color': [0, 0, 0]},
        {'id': 7, 'name': 'ball', 'color': [255, 128, 0]},
    ]
    text = yaml.safe_dump({'classes': entries, 'void_ids': [9]})
    truth = {}
    for i in range(3):
        image = picture(i)
        write(folder / f'images/val/{i}.png', image)
        write(folder / f'labels/val/{i}.png', blocks(np.uint8([0, 7, 9, 255])))
        truth[f'val/{i}.png'] = image, blocks(np.uint8([0, 7, VOID_ID, VOID_ID]))
    (folder / 'classes.yaml').write_text(text)
    return Fixture('folder', folder, 'val', truth=truth)


def write_folder_of_colors(folder):
    fixture = write_folder_of_ids(folder)
    text = (folder / 'classes.yaml').read_text() + 'void_colors: [[1, 2, 3]]\n'
    (folder / 'classes.yaml').write_text(text)
    colors = {0: (0, 0, 0), 7: (255, 128, 0), VOID_ID: (1, 2, 3)}
    for name, (_, labels) in fixture.truth.items():
        mask = np.zeros((*SIZE, 3), np.uint8)
        for class_id, color in colors.items():
            mask[labels == class_id] = color
        write(folder / 'labels' / name, mask)
    fixture.split = 'all'
    return fixture


def write_robocup(folder):
    truth = {}
    for i in range(3):
        image, labels = picture(i), blocks(np.uint8([0, 1, 2, 3]))
        write(folder / f'images/frame{i}.png', image)
        write(folder / f'masks/frame{i}.png', labels)
        truth[f'frame{i}.png'] = image, labels
    return Fixture('robocup', folder, truth=truth)


def write_torso(folder):
    truth = {}
    for i in range(3):
        image = picture(i)
        write(folder / f'train/images/t{i}.png', image)
        grey = blocks(np.uint8([0, 127, 255]))
        write(folder / f'train/segmentations/t{i}.png', np.dstack([grey] * 3))
        truth[f't{i}.png'] = image, blocks(np.uint8([0, 2, 3]))
    return Fixture('robocup', folder, 'train', {'with_ball': False}, truth)


def write_virtual_kitti_1(folder):
    encoding = 'Category(:id) r g b\nCar:12 200 200 199\nVan:3 231 208 202\nSky 90 200 255\n'
    colors = {2: (200, 200, 199), 4: (231, 208, 202), 13: (90, 200, 255)}
    labels = blocks(np.uint8([2, 4, 13]))
    mask = np.zeros((*SIZE, 3), np.uint8)
    for class_id, color in colors.items():
        mask[labels == class_id] = color
    truth = {}
    for i in range(3):
        image = picture(i)
        write(folder / f'vkitti_1.3.1_rgb/0001/sunset/{i:05d}.png', image)
        write(folder / f'vkitti_1.3.1_scenegt/0001/sunset/{i:05d}.png', mask)
        truth[f'0001/sunset/{i:05d}'] = image, labels
    write(folder / 'vkitti_1.3.1_rgb/0002/clone/00000.png', picture(9))
    path = folder / 'vkitti_1.3.1_scenegt/0001_sunset_scenegt_rgb_encoding.txt'
    path.write_text(encoding)
    options = {'worlds': ['0001'], 'variations': ['sunset']}
    return Fixture('virtual_kitti', folder, options=options, truth=truth)


def write_virtual_kitti_2(folder, split_archives=False):
    parts = ('rgb', 'classSegmentation', 'textgt')
    roots = [folder / f'vkitti_2.0.3_{part}' if split_archives else folder for part in parts]
    inside = Path('Scene01/clone')
    labels = blocks(np.uint8([6, 9]))
    mask = np.where(labels[..., None] == 6, np.uint8([100, 60, 100]), np.uint8([0, 199, 0]))
    truth = {}
    for i in range(3):
        frame = inside / 'frames'
        image = picture(i)
        write(roots[0] / frame / f'rgb/Camera_0/rgb_{i:05d}.jpg', image)
        write(roots[1] / frame / f'classSegmentation/Camera_0/classgt_{i:05d}.png', mask)
        truth[f'Scene01/clone/rgb_{i:05d}'] = None, labels
    (roots[2] / inside).mkdir(parents=True, exist_ok=True)
    text = 'Category r g b\nRoad 100 60 100\nTree 0 199 0\n'
    (roots[2] / inside / 'colors.txt').write_text(text)
    return Fixture('virtual_kitti', folder, truth=truth)


def write_oxford_pet(folder):
    truth = {}
    for i in range(3):
        write(folder / f'images/Abyssinian_{i}.jpg', picture(i))
        write(folder / f'annotations/trimaps/Abyssinian_{i}.png', blocks(np.uint8([1, 2, 3])))
        truth[f'Abyssinian_{i}'] = None, blocks(np.uint8([0, 1, 2]))
    lines = ['#Image CLASS-ID SPECIES BREED ID', *(f'{name} 1 1 1' for name in truth)]
    (folder / 'annotations/trainval.txt').write_text('\n'.join(lines))
    return Fixture('oxford_pet', folder, 'trainval', truth=truth)


def write_sun_rgbd(folder):
    truth, lines = {}, []
    for i in range(1, 4):
        write(folder / f'image/train/img-{i:06d}.jpg', picture(i))
        write(folder / f'label37/train/img37labels-{i:06d}.png', blocks(np.uint8([0, 1, 37])))
        lines.append(
            f'image/train/img-{i:06d}.jpg depth/train/{i:08d}.png '
            f'label37/train/img37labels-{i:06d}.png'
        )
        truth[f'train/img-{i:06d}'] = None, blocks(np.uint8([VOID_ID, 0, 36]))
    (folder / 'train37.txt').write_text('\n'.join(lines))
    return Fixture('sun_rgbd', folder, 'train', truth=truth)


def write_sun_rgbd_numbered(folder):
    truth = {}
    for i in range(1, 4):
        write(folder / f'SUNRGBD-train_images/img-{i:06d}.jpg', picture(i))
        name = f'img-{i + 5050:06d}.png'
        write(folder / 'sunrgbd_train_test_labels' / name, blocks(np.uint8([2, 0])))
        truth[f'SUNRGBD-train_images/img-{i:06d}'] = None, blocks(np.uint8([1, VOID_ID]))
    return Fixture('sun_rgbd', folder, 'train', truth=truth)


def write_bag(folder):
    from rosbags.typesys import Stores, get_typestore

    from seg_ros.bag_writer import BagWriter
    from seg_ros.bags import BagMessage

    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    folder.mkdir(parents=True, exist_ok=True)
    classes = folder / 'classes.yaml'
    entries = [
        {'id': 0, 'name': 'background', 'color': [0, 0, 0]},
        {'id': 3, 'name': 'field', 'color': [0, 255, 0]},
    ]
    classes.write_text(yaml.safe_dump({'classes': entries}))
    truth = {}

    def message(pixels, encoding, stamp_ns):
        header = types['std_msgs/msg/Header'](
            stamp=types['builtin_interfaces/msg/Time'](
                sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
            ),
            frame_id='camera',
        )
        step = pixels.nbytes // SIZE[0]
        kind = 'sensor_msgs/msg/Image'
        data = types[kind](header, SIZE[0], SIZE[1], encoding, 0, step, pixels.ravel())
        return bytes(store.serialize_cdr(data, kind))

    kind = 'sensor_msgs/msg/Image'
    with BagWriter(folder / 'recording') as bag:
        for i in range(3):
            stamp = 10**18 + i * 10**8
            image, labels = picture(i), blocks(np.uint8([0, 3, 255]))
            bgr = np.ascontiguousarray(image[:, :, ::-1])
            recorded = message(bgr, 'bgr8', stamp)
            bag.write(BagMessage('/camera/image_raw', kind, stamp + 500, recorded))
            recorded = message(labels, 'mono8', stamp)
            bag.write(BagMessage('/ground_truth/labels', kind, stamp + 900, recorded))
            truth[str(stamp)] = image, labels
        lonely = message(np.ascontiguousarray(picture(7)), 'rgb8', stamp + 10**7)
        bag.write(BagMessage('/camera/image_raw', kind, stamp + 10**7, lonely))
    return Fixture('bag', folder / 'recording', options={'classes': str(classes)}, truth=truth)


WRITERS = [
    write_bag,
    write_camvid,
    write_camvid_original,
    write_folder_of_colors,
    write_folder_of_ids,
    write_oxford_pet,
    write_robocup,
    write_sun_rgbd,
    write_sun_rgbd_numbered,
    write_torso,
    write_virtual_kitti_1,
    write_virtual_kitti_2,
]


@pytest.fixture(params=WRITERS, ids=lambda writer: writer.__name__.removeprefix('write_'))
def fixture(request, tmp_path):
    return request.param(tmp_path / 'data')
