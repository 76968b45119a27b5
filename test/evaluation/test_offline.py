"""Bags and datasets through the command, as a user runs it."""

from __future__ import annotations

import json
import re
import shutil
import tracemalloc

import cv2
import numpy as np
import pytest
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from seg_ros import segmenter
from seg_ros.bags import COMPRESSED_IMAGE_TYPE, Bag, header_frame_id, header_stamp_ns
from seg_ros.cli import main
from seg_ros.evaluation import frames
from seg_ros.evaluation.frames import Frame
from seg_ros.evaluation.offline import evaluate
from seg_ros.evaluation.recording import to_image_message
from seg_ros.evaluation.report import MEASURED_KEYS
from seg_ros.image import CameraImage
from seg_ros.metrics import confusion_matrix, scores_from_confusion
from seg_ros.overlay import palette
from test.conftest import PRIMARY_CLASSES, write_primary_model
from test.evaluation.conftest import (
    IMAGE_TOPIC,
    LABEL_TOPIC,
    PERIOD_NS,
    START_NS,
    build_bag,
    compressed_message,
    scene,
)


def evaluated(tmp_path, model, *arguments, status=0, name='report.json'):
    """Run the command and read its report."""
    path = tmp_path / name
    arguments = [*map(str, arguments), '--model', str(model), '--backend', 'onnxruntime']
    assert main(['evaluate', *arguments, '--json', str(path), '--overwrite', '--quiet']) == status
    return json.loads(path.read_text()) if path.exists() else None


def on_bag(*bags):
    return ['--bag', *bags, '--image-topic', IMAGE_TOPIC, '--label-topic', LABEL_TOPIC]


def comparable(report):
    return {key: value for key, value in report.items() if key not in MEASURED_KEYS}


def write_folder(root, frames):
    """The general dataset: what is decoded from the JPEGs, stored without loss."""
    for kind in ('images', 'labels'):
        (root / kind).mkdir(parents=True)
    lines = [
        f'  - {{id: {c.id}, name: {c.name}, color: {list(c.color)}}}' for c in PRIMARY_CLASSES
    ]
    (root / 'classes.yaml').write_text('\n'.join(['classes:', *lines]) + '\n')
    for index, (image, labels) in enumerate(frames):
        cv2.imwrite(str(root / 'images' / f'{index:03d}.png'), image[..., ::-1])
        cv2.imwrite(str(root / 'labels' / f'{index:03d}.png'), labels)
    return root


def test_bag_scores_equal_those_of_the_decoded_images_exactly(tmp_path, bag, primary_model):
    from_bag = evaluated(tmp_path, primary_model, *on_bag(bag))
    frames = []
    for index in range(8):
        image, labels = scene(index)
        data = cv2.imencode('.jpg', image[..., ::-1])[1]
        frames.append((cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1], labels))
    root = write_folder(tmp_path / 'folder', frames)
    of_files = evaluated(
        tmp_path, primary_model, '--dataset', 'folder', '--root', root, '--split', 'all'
    )
    for key in ('confusion', 'iou', 'miou', 'boundary_f1', 'calibration', 'shares', 'frames'):
        assert from_bag[key] == of_files[key], key
    assert from_bag['scored'] == 8
    assert 0.3 < from_bag['miou'] < 0.98

    # and those of the segmenter and the metrics, used by hand
    net = segmenter.load(primary_model, backend='onnxruntime')
    matrix = sum(
        confusion_matrix(labels, net.segment(image, 'rgb').labels, 3) for image, labels in frames
    )
    assert from_bag['confusion'] == matrix.tolist()
    assert from_bag['miou'] == pytest.approx(scores_from_confusion(matrix).mean_iou, abs=1e-9)


def test_keys_that_others_rely_on_are_there(tmp_path, bag, primary_model):
    report = evaluated(tmp_path, primary_model, *on_bag(bag))
    assert report['schema'] == 1
    assert (report['model'], report['backend']) == ('primary', 'onnxruntime')
    assert report['frames'] == 8
    assert report['classes'] == list(report['iou']) == ['red', 'green', 'blue']
    for key in ('miou', 'pixel_accuracy', 'class_accuracy'):
        assert 0 < report[key] < 1
    latency = report['latency_ms']
    assert 0 < latency['p50'] <= latency['p95'] <= latency['p99']
    assert report['dropped'] == 0


def test_same_input_gives_the_same_report_and_the_same_bag(tmp_path, bag, primary_model):
    written = []
    for number in (1, 2):
        out = tmp_path / f'run{number}' / 'with_predictions'
        report = evaluated(tmp_path, primary_model, *on_bag(bag), '--write-bag', out)
        written.append((comparable(report), next(out.glob('*.mcap')).read_bytes()))
    assert written[0] == written[1]


def test_sqlite_and_several_bags_are_read(tmp_path, primary_model):
    builders = build_bag(3), build_bag(4)
    paths = [
        builders[0].save(tmp_path / 'one', StoragePlugin.SQLITE3),
        builders[1].save(tmp_path / 'two'),
    ]
    report = evaluated(tmp_path, primary_model, *on_bag(*paths))
    assert report['scored'] == 7
    assert report['source']['bags'] == ['one', 'two']
    assert len(set(report['per_frame']['name'])) == 7


@pytest.mark.parametrize('waiting_bytes', [1 << 26, 5000, 0])
def test_labels_recorded_long_before_or_after_their_images_are_paired(
    tmp_path, primary_model, monkeypatch, waiting_bytes
):
    """Also where fewer labels than there are (3 kB each) may wait in memory for their image."""
    monkeypatch.setattr(frames, '_MAX_WAITING_BYTES', waiting_bytes)
    in_step = evaluated(tmp_path, primary_model, *on_bag(build_bag(6).save(tmp_path / 'in_step')))
    for number, shift_ns in enumerate((10**12, -(10**12))):
        builder = build_bag(6)
        builder.labels = [(time_ns + shift_ns, data) for time_ns, data in builder.labels]
        builder.labels.reverse()
        path = builder.save(tmp_path / f'shifted{number}')
        shifted = evaluated(tmp_path, primary_model, *on_bag(path))
        assert shifted['confusion'] == in_step['confusion']
        assert shifted['skipped']['count'] == 0


def test_unpaired_frames_are_segmented_counted_and_listed(tmp_path, primary_model, capsys):
    builder = build_bag(4)
    image, labels = scene(9)
    lone = START_NS + 50 * PERIOD_NS
    builder.add(image, None, lone)
    builder.labels.append((lone, to_image_message(labels, 'mono8', lone + 3_000_000, '')))
    path = builder.save(tmp_path / 'bag')
    report = evaluated(tmp_path, primary_model, *on_bag(path))
    assert (report['frames'], report['scored']) == (5, 4)
    reasons = {entry['reason']: entry['items'] for entry in report['skipped']['reasons']}
    assert reasons == {
        'image without a label': [str(lone)],
        'label without an image': [str(lone + 3_000_000)],
    }
    assert 'image without a label' in capsys.readouterr().out
    near = evaluated(tmp_path, primary_model, *on_bag(path), '--slop-ms', '3')
    assert (near['scored'], near['skipped']['count']) == (5, 0)


def test_broken_messages_and_labels_are_counted_and_listed(tmp_path, primary_model):
    builder = build_bag(6)
    stamps = [START_NS + i * PERIOD_NS for i in range(6)]
    whole = builder.images[1][1]
    builder.images[1] = (stamps[1], whole[: len(whole) - 300])
    small = to_image_message(np.zeros((5, 7), np.uint8), 'mono8', stamps[2], '')
    strange = to_image_message(np.full((48, 64), 77, np.uint8), 'mono8', stamps[3], '')
    colored = to_image_message(np.zeros((48, 64, 3), np.uint8), 'rgb8', stamps[4], '')
    for index, message in ((2, small), (3, strange), (4, colored)):
        builder.labels[index] = (stamps[index], message)
    report = evaluated(tmp_path, primary_model, *on_bag(builder.save(tmp_path / 'bag')))
    reasons = {entry['reason']: entry for entry in report['skipped']['reasons']}
    assert all(entry['count'] == 1 for entry in reasons.values())
    assert 'truth of another size' in reasons
    assert any('ids outside the classes' in reason for reason in reasons)
    assert "encoding 'rgb8'" in reasons['label that cannot be read']['items'][0]
    assert 'image that cannot be read' in reasons
    assert (report['frames'], report['scored']) == (5, 2)
    # what is scored is what is whole
    alone = build_bag(6)
    for kept in (alone.images, alone.labels):
        kept[:] = [kept[0], kept[5]]
    expected = evaluated(tmp_path, primary_model, *on_bag(alone.save(tmp_path / 'two')))
    assert report['confusion'] == expected['confusion']


def test_bag_without_labels_gives_latency_shares_and_confidence(tmp_path, bag, primary_model):
    report = evaluated(tmp_path, primary_model, '--bag', bag, '--image-topic', IMAGE_TOPIC)
    assert (report['frames'], report['scored'], report['miou']) == (8, 0, None)
    assert sum(report['shares'].values()) == pytest.approx(1.0, abs=1e-5)
    assert len(report['per_frame']['shares']['red']) == 8
    assert all(0.3 < value <= 1 for value in report['per_frame']['confidence'])
    assert report['latency_ms']['p50'] > 0
    assert len(report['examples']['worst']) == 2


def test_void_ids_are_left_out_of_the_scores(tmp_path, primary_model):
    builder = build_bag(3)
    for index in range(3):
        stamp = START_NS + index * PERIOD_NS
        truth = scene(index)[1]
        truth[truth == 255] = 11
        builder.labels[index] = (stamp, to_image_message(truth, 'mono8', stamp, ''))
    path = builder.save(tmp_path / 'eleven')
    plain = evaluated(tmp_path, primary_model, *on_bag(build_bag(3).save(tmp_path / 'plain')))
    report = evaluated(tmp_path, primary_model, *on_bag(path), '--void-ids', '11')
    assert report['confusion'] == plain['confusion']


def test_written_bag_holds_the_original_and_the_predictions_in_step(tmp_path, bag, primary_model):
    out = tmp_path / 'out'
    evaluated(tmp_path, primary_model, *on_bag(bag), '--write-bag', out)
    net = segmenter.load(primary_model, backend='onnxruntime')
    with Bag(bag) as source, Bag(out) as written:
        topics = {
            name: written.topics[f'/segmentation/{name}']
            for name in ('label_mask', 'confidence', 'color_mask', 'overlay')
        }
        assert all(topic.count == 8 for topic in topics.values())
        for topic in source.topics:
            copied = list(written.read_messages([topic]))
            assert copied == list(source.read_messages([topic]))
        images = list(source.read_messages([IMAGE_TOPIC]))
        masks = list(written.read_messages(['/segmentation/label_mask']))
        painted = list(written.read_messages(['/segmentation/color_mask']))
        for image, mask, colors in zip(images, masks, painted, strict=True):
            assert image.time_ns == mask.time_ns
            assert header_stamp_ns(mask.data) == header_stamp_ns(image.data)
            assert header_frame_id(mask.data) == header_frame_id(image.data) == 'camera'
            decoded = source.decode_image(image)
            expected = net.segment(decoded.pixels, decoded.order).labels
            assert np.array_equal(written.decode_labels(mask), expected)
            assert colors.time_ns == image.time_ns
            assert np.array_equal(
                written.decode_image(colors).pixels, palette(net.card.classes)[expected]
            )


def test_two_models_are_compared_with_the_frames_where_they_differ(tmp_path, bag, primary_model):
    coarse = write_primary_model(tmp_path / 'models' / 'coarse', height=16, width=16)
    page = tmp_path / 'page.html'
    arguments = [*on_bag(bag), '--html', page, '--model', coarse]
    path = tmp_path / 'both.json'
    command = [*map(str, arguments), str(primary_model), '--json', str(path), '--quiet']
    assert main(['evaluate', *command, '--backend', 'onnxruntime']) == 0
    both = json.loads(path.read_text())
    assert both['kind'] == 'comparison'
    for report, model in zip(both['reports'], (coarse, primary_model), strict=True):
        alone = evaluated(tmp_path, model, *on_bag(bag), name=f'{model.name}.json')
        assert comparable(report) == comparable(alone)
    shares = [entry['share_of_pixels'] for entry in both['differences']]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0
    assert 'coarse in onnxruntime fp32 vs primary in onnxruntime fp32' in page.read_text()


def test_status_says_whether_the_miou_was_reached(tmp_path, bag, primary_model):
    miou = evaluated(tmp_path, primary_model, *on_bag(bag))['miou']
    evaluated(tmp_path, primary_model, *on_bag(bag), '--min-miou', miou - 0.01, status=0)
    evaluated(tmp_path, primary_model, *on_bag(bag), '--min-miou', miou + 0.01, status=1)


def truncate(bag, path):
    """Copy a bag and cut its storage in half, as after a crash of the recorder."""
    shutil.copytree(bag, path)
    storage = next(path.glob('*.mcap'))
    data = storage.read_bytes()
    storage.write_bytes(data[: len(data) // 2])


TOPICS = ['--image-topic', IMAGE_TOPIC, '--label-topic', LABEL_TOPIC]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--bag', 'nowhere'], 'no bag at'),
        (
            ['--bag', 'drive', '--image-topic', '/wrong'],
            f"'/wrong' is not in it.*{IMAGE_TOPIC} .sensor_msgs/msg/CompressedImage.",
        ),
        (
            ['--bag', 'drive', *TOPICS[:-1], '/missing'],
            f"'/missing' is not in it.*{LABEL_TOPIC} .sensor_msgs/msg/Image.",
        ),
        (['--bag', 'truncated', *TOPICS], 'truncated.*(damaged|no readable)'),
        (['--bag', 'empty', *TOPICS], 'holds no message'),
        (['--bag', 'alike', *TOPICS], 'none of 3 frames could be scored.*stamp another'),
        (['--bag', 'drive'], 'choose the image topic'),
        (['--bag', 'drive', *TOPICS, '--slop-ms', '-1'], 'slop is -1'),
        (['--bag', 'drive', *TOPICS, '--write-bag', 'drive'], 'exists'),
        (['--bag', 'drive', *TOPICS, '--void-ids', '2'], 'are classes'),
        (['--bag', 'drive', '--min-miou', '0.5'], 'needs --label-topic'),
        (['--dataset', 'folder'], 'needs --root'),
        ([], 'give one of --bag'),
    ],
)
def test_bad_input_is_one_clear_line(
    tmp_path, bag, primary_model, capsys, monkeypatch, arguments, message
):
    truncate(bag, tmp_path / 'truncated')
    build_bag(0).save(tmp_path / 'empty')
    alike = build_bag(0)
    for _ in range(3):
        alike.add(*scene(1), START_NS)
    alike.save(tmp_path / 'alike')
    monkeypatch.chdir(tmp_path)
    evaluated(tmp_path, primary_model, *arguments, status=2)
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert re.search(message, error), error


def test_topic_of_a_wrong_type_is_refused_with_what_was_expected(
    tmp_path, bag, primary_model, capsys
):
    types = get_typestore(Stores.ROS2_JAZZY)
    path = tmp_path / 'text'
    with Writer(path, version=9) as writer:
        topic = writer.add_connection('/chatter', 'std_msgs/msg/String', typestore=types)
        text = types.types['std_msgs/msg/String'](data='hello')
        writer.write(topic, 1, types.serialize_cdr(text, 'std_msgs/msg/String'))
    evaluated(tmp_path, primary_model, '--bag', path, '--image-topic', '/chatter', status=2)
    assert 'is of type std_msgs/msg/String; expected sensor_msgs/msg/Image' in (
        capsys.readouterr().err
    )


def test_dataset_with_other_classes_is_refused(tmp_path, primary_model, capsys):
    root = write_folder(tmp_path / 'folder', [scene(0)])
    text = (root / 'classes.yaml').read_text()
    (root / 'classes.yaml').write_text(text.replace('blue', 'violet'))
    arguments = ['--dataset', 'folder', '--root', root, '--split', 'all']
    evaluated(tmp_path, primary_model, *arguments, status=2)
    assert 'red, green, violet; the model has red, green, blue' in capsys.readouterr().err


def test_progress_is_shown_on_stderr(tmp_path, bag, primary_model, capsys):
    assert main(['evaluate', *map(str, on_bag(bag)), '--model', str(primary_model)]) == 0
    captured = capsys.readouterr()
    assert '8/8' in captured.err
    assert 'frame/s' in captured.err
    assert 'mIoU' in captured.out


class Endless:
    """Many large frames, made as they are asked for."""

    has_truth = True

    def __init__(self, count, pixels):
        self.description = {'kind': 'bag'}
        self.count = count
        self.pixels = pixels

    def __len__(self):
        return self.count

    def read(self, skips):
        assert skips.count == 0
        height, width = self.pixels
        for index in range(self.count):
            image, truth = scene(index, height, width)
            yield Frame(str(index), CameraImage(image, 'rgb'), truth, index / 10)


def test_memory_does_not_grow_with_the_number_of_frames(primary_model):
    net = segmenter.load(primary_model, backend='onnxruntime')
    peaks = []
    for count in (150, 600):
        tracemalloc.start()
        evaluate(Endless(count, (96, 128)), [net], with_boundary=False, with_progress=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 450 frames more are 16 MB of images; only names, numbers and a few pictures are kept
    assert peaks[1] - peaks[0] < 1_000_000, peaks


def test_truncated_png_in_a_bag_is_skipped_and_others_are_segmented(tmp_path, primary_model):
    builder = build_bag(2, suffix='.png')
    stamp = START_NS + 2 * PERIOD_NS
    image, labels = scene(2)
    builder.add(image, labels, stamp, suffix='.png')
    message = compressed_message(image, stamp, '.png')
    builder.images[2] = (stamp, message[:200])
    report = evaluated(tmp_path, primary_model, *on_bag(builder.save(tmp_path / 'png')))
    assert report['scored'] == 2
    assert report['skipped']['reasons'][0]['reason'] == 'image that cannot be read'


def test_written_bag_keeps_types_of_other_packages_and_their_qos(tmp_path, primary_model):
    types = get_typestore(Stores.ROS2_JAZZY)
    types.register(get_types_from_msg('float64 kicker_charge', 'our_robot/msg/Power'))
    latched = Qos(
        QosHistory.KEEP_LAST,
        1,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL,
        QosTime(0, 0),
        QosTime(0, 0),
        QosLiveliness.AUTOMATIC,
        QosTime(0, 0),
        avoid_ros_namespace_conventions=False,
    )
    path, out = tmp_path / 'robot', tmp_path / 'out'
    image, _ = scene(1)
    power = types.types['our_robot/msg/Power'](kicker_charge=0.75)
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        images = writer.add_connection(IMAGE_TOPIC, COMPRESSED_IMAGE_TYPE, typestore=types)
        kinds = {'typestore': types, 'offered_qos_profiles': [latched]}
        powers = writer.add_connection('/power', 'our_robot/msg/Power', **kinds)
        writer.write(images, START_NS, compressed_message(image, START_NS))
        data = types.serialize_cdr(power, 'our_robot/msg/Power')
        writer.write(powers, START_NS + 1, data)
    evaluated(tmp_path, primary_model, '--bag', path, '--write-bag', out)
    with Bag(out) as written:
        (message,) = written.read_messages(['/power'])
        assert written.deserialize(message).kicker_charge == 0.75
        (entry,) = (entry for entry in written.connections if entry.topic == '/power')
        assert entry.ext.offered_qos_profiles == [latched]
