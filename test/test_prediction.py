from __future__ import annotations

import cv2
import numpy as np
import pytest

from seg_ros import segmenter
from seg_ros.cli import main
from seg_ros.datasets import build_dataset
from seg_ros.evaluation.skips import Skips
from seg_ros.picture_sources import open_pictures
from test.evaluation.conftest import START_NS, build_bag, scene


def predict(model, *arguments, status=0):
    arguments = [*map(str, arguments), '--model', str(model), '--backend', 'onnxruntime']
    assert main(['predict', *arguments, '--quiet']) == status


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / 'images'
    (root / 'deep').mkdir(parents=True)
    for name, seed in (('a.png', 1), ('deep/b.png', 2)):
        cv2.imwrite(str(root / name), scene(seed)[0][..., ::-1])
    return root


def test_images_become_label_and_overlay_files(tmp_path, folder, primary_model):
    out = tmp_path / 'out'
    predict(primary_model, folder, '--out', out)
    net = segmenter.load(primary_model, backend='onnxruntime')
    for name, seed in (('a', 1), ('deep/b', 2)):
        labels = cv2.imread(str(out / 'labels' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(labels, net.segment(scene(seed)[0], 'rgb').labels)
        assert cv2.imread(str(out / 'overlay' / f'{name}.png')).shape == (48, 64, 3)


def test_files_are_replaced_only_when_asked_for(tmp_path, folder, primary_model, capsys):
    (tmp_path / 'labels').mkdir()
    truth = tmp_path / 'labels' / 'a.png'
    cv2.imwrite(str(truth), np.zeros((4, 4), np.uint8))
    before = truth.read_bytes()
    predict(primary_model, folder, '--out', tmp_path, status=2)
    assert 'holds files' in capsys.readouterr().err
    assert truth.read_bytes() == before
    predict(primary_model, folder, '--out', tmp_path, '--overwrite')
    assert truth.read_bytes() != before


def test_broken_images_are_listed_and_the_others_written(tmp_path, folder, primary_model, capsys):
    (folder / 'broken.png').write_bytes(b'no picture')
    predict(primary_model, folder, '--out', tmp_path / 'out')
    assert 'broken.png' in capsys.readouterr().out
    assert len(list((tmp_path / 'out' / 'labels').rglob('*.png'))) == 2


def test_bag_becomes_files_named_by_stamp(tmp_path, primary_model):
    bag = build_bag(3).save(tmp_path / 'drive')
    out = tmp_path / 'out'
    predict(primary_model, bag, '--out', out, '--image-topic', '/camera/image_raw/compressed')
    assert sorted(path.stem for path in (out / 'overlay').iterdir()) == [
        str(START_NS + i * 100_000_000) for i in range(3)
    ]


def test_video_becomes_a_video_of_the_overlay(tmp_path, primary_model):
    path = tmp_path / 'drive.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 12.0, (64, 48))
    for seed in range(9):
        writer.write(scene(seed)[0][..., ::-1].copy())
    writer.release()
    predict(primary_model, path, '--out', tmp_path / 'out')
    result = cv2.VideoCapture(str(tmp_path / 'out' / 'drive_overlay.mp4'))
    assert result.get(cv2.CAP_PROP_FRAME_COUNT) == 9
    assert result.get(cv2.CAP_PROP_FPS) == pytest.approx(12.0)
    found, frame = result.read()
    assert found
    assert frame.shape == (48, 64, 3)
    # half image, half class colour: most of the scene is green
    assert frame.reshape(-1, 3).mean(axis=0).argmax() == 1


def test_pseudo_labels_are_a_data_set_without_the_unsure_pixels(tmp_path, folder, primary_model):
    out = tmp_path / 'pseudo'
    predict(primary_model, folder, '--out', out, '--format', 'dataset', '--min-confidence', 0.6)
    net = segmenter.load(primary_model, backend='onnxruntime')
    dataset = build_dataset('folder', out)
    assert dataset.classes == net.card.classes
    assert dataset.names == ('a.png', 'deep/b.png')
    for index, name in enumerate(dataset.names):
        assert (out / 'images' / name).read_bytes() == (folder / name).read_bytes()
        sample, sure = dataset[index], net.segment(scene(index + 1)[0], 'rgb')
        expected = np.where(sure.confidence < 0.6 * 255, 255, sure.labels)
        np.testing.assert_array_equal(sample.labels, expected)
        assert 0 < (sample.labels == 255).mean() < 1
    predict(primary_model, folder, '--out', out, '--format', 'dataset', status=2)


def test_pseudo_labels_of_a_bag_keep_its_pixels(tmp_path, primary_model):
    bag = build_bag(2).save(tmp_path / 'drive')
    out = tmp_path / 'pseudo'
    topic = ['--image-topic', '/camera/image_raw/compressed']
    predict(primary_model, bag, '--out', out, '--format', 'dataset', *topic)
    dataset = build_dataset('folder', out)
    pictures = list(open_pictures([bag], topic[1])[1].read(Skips()))
    assert len(dataset) == len(pictures) == 2
    for index, picture in enumerate(pictures):
        np.testing.assert_array_equal(dataset[index].image, picture.image_rgb)


@pytest.mark.parametrize(
    ('paths', 'message'),
    [
        (['nowhere.png'], 'does not exist'),
        (['text.txt'], 'is no image'),
        (['images', '--image-topic', '/x'], 'is for a bag'),
        (['broken.mp4'], 'cannot be opened as a video'),
        (['images', '--alpha', '2'], '--alpha is 2'),
    ],
)
def test_bad_input_is_one_clear_line(
    tmp_path, folder, primary_model, capfd, monkeypatch, paths, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'text.txt').write_text('hello')
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    predict(primary_model, *paths, '--out', tmp_path / 'out', status=2)
    assert message in capfd.readouterr().err
