from __future__ import annotations

import dataclasses
import itertools
import tracemalloc

import numpy as np
import pytest

import seg_ros
from seg_ros import segmenter as segmenter_module
from seg_ros.evaluation.frames import BagFrames
from seg_ros.evaluation.skips import Skips
from seg_ros.model_card import ClassInfo, load_model_card, save_model_card
from seg_ros.segmenter import find_model
from seg_ros.share import share_file
from test.conftest import stripes, write_primary_model
from test.nets.images import data_file
from test.robustness.faulty_models import write_undefined_model

BACKENDS = ['onnxruntime', 'openvino']


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('size', [(48, 64), (96, 128), (37, 51), (20, 90), (200, 50)])
def test_labels_have_the_size_of_the_image(primary_model, backend, size):
    image, labels = stripes(*size)
    result = seg_ros.load(primary_model, backend=backend).segment(image, 'rgb')
    assert result.labels.shape == result.confidence.shape == size
    assert result.labels.dtype == result.confidence.dtype == np.uint8
    # Resampling moves the two edges between the bars by a few pixels at most.
    far = np.abs(np.arange(size[1])[:, None] - np.array([1, 2]) * size[1] / 3).min(axis=1) > 6
    np.testing.assert_array_equal(result.labels[:, far], labels[:, far])


@pytest.mark.parametrize('backend', BACKENDS)
def test_channel_order_is_honoured(primary_model, backend):
    image, labels = stripes()
    segmenter = seg_ros.load(primary_model, backend=backend)
    np.testing.assert_array_equal(segmenter.segment(image, 'rgb').labels, labels)
    np.testing.assert_array_equal(segmenter.segment(image[..., ::-1], 'bgr').labels, labels)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_pixels_that_may_not_be_written_are_read(primary_model, backend, order):
    # as Pillow gives them, and bags: at the net's own size they are its input
    image, labels = stripes()
    frozen = image if order == 'rgb' else image[..., ::-1].copy()
    frozen.flags.writeable = False
    segmenter = seg_ros.load(primary_model, backend=backend)
    np.testing.assert_array_equal(segmenter.segment(frozen, order).labels, labels)
    both = segmenter.segment_batch([frozen, frozen], [order, order])
    np.testing.assert_array_equal(both[1].labels, labels)


def test_buffers_of_large_images_are_not_kept_beside_one_another(primary_model, monkeypatch):
    monkeypatch.setattr(segmenter_module, '_MAX_KEPT_BYTES', 20_000_000)
    segmenter = seg_ros.load(primary_model)

    def kept():
        segmenter_memory = [each.classifier._plane.nbytes for each in segmenter._sizes.values()]
        return len(segmenter_memory), sum(segmenter_memory)

    small = [(48, 64), (50, 64), (52, 64), (54, 64), (56, 64)]
    for size in small:
        segmenter.segment(stripes(*size)[0])
    assert kept()[0] == 4
    for width in (1000, 1001, 1002, 1003):  # 13 MB each
        segmenter.segment(stripes(1000, width)[0])
        assert kept()[1] * 13 / 4 <= 20_000_000
    assert kept()[0] == 1
    segmenter.segment(stripes(1000, 2000)[0])  # 26 MB, more than may be kept
    assert kept() == (0, 0)


def test_the_size_that_was_used_last_is_kept(primary_model):
    segmenter = seg_ros.load(primary_model)
    for rows in (48, 50, 52, 54, 48, 56):
        segmenter.segment(stripes(rows, 64)[0])
    assert list(segmenter._sizes) == [(52, 64), (54, 64), (48, 64), (56, 64)]


def test_images_of_changing_size_do_not_leak_into_one_another(primary_model):
    segmenter = seg_ros.load(primary_model)
    wide, _ = stripes(20, 64)
    tall, _ = stripes(60, 40)
    alone = [seg_ros.load(primary_model).segment(image, 'rgb').labels for image in (wide, tall)]
    for _ in range(2):
        for image, expected in zip((wide, tall), alone, strict=True):
            np.testing.assert_array_equal(segmenter.segment(image, 'rgb').labels, expected)


def test_results_of_earlier_images_stay_as_they_were(primary_model):
    segmenter = seg_ros.load(primary_model)
    image, labels = stripes()
    first = segmenter.segment(image, 'rgb')
    kept = first.labels.copy(), first.confidence.copy()
    segmenter.segment(np.full_like(image, 90), 'rgb')
    np.testing.assert_array_equal(first.labels, kept[0])
    np.testing.assert_array_equal(first.confidence, kept[1])
    np.testing.assert_array_equal(first.labels, labels)


def test_uncertain_pixels_become_void(primary_model):
    image = np.full((48, 64, 3), 100, np.uint8)
    image[:, 32:] = (255, 0, 0)
    labels = seg_ros.load(primary_model).segment(image, 'rgb', min_confidence=0.5).labels
    assert (labels[:, :28] == 255).all()
    assert (labels[:, 36:] == 0).all()


def test_published_ids_are_those_of_the_card(tmp_path):
    folder = write_primary_model(tmp_path / 'renumbered')
    card = load_model_card(folder)
    classes = tuple(ClassInfo(e.id * 10 + 3, e.name, e.color) for e in card.classes)
    save_model_card(dataclasses.replace(card, classes=classes), folder)
    image, labels = stripes()
    result = seg_ros.load(folder).segment(image, 'rgb')
    np.testing.assert_array_equal(result.labels, labels * 10 + 3)


@pytest.mark.parametrize(
    ('image', 'arguments', 'message'),
    [
        (np.zeros((4, 4), np.uint8), {}, r'image is \(4, 4\)'),
        (np.zeros((0, 4, 3), np.uint8), {}, r'image is \(0, 4, 3\)'),
        (np.zeros((4, 4, 3), np.float32), {}, 'float32'),
        (np.zeros((4, 4, 3), np.uint8), {'order': 'hsv'}, "unknown order 'hsv'"),
        (np.zeros((4, 4, 3), np.uint8), {'min_confidence': 2.0}, 'outside 0 to 1'),
    ],
)
def test_wrong_arguments_are_refused(primary_model, image, arguments, message):
    with pytest.raises(ValueError, match=message):
        seg_ros.load(primary_model).segment(image, **arguments)


def test_unknown_names_list_what_there_is(primary_model):
    with pytest.raises(ValueError, match="unknown backend 'x'; available: auto, openvino"):
        seg_ros.load(primary_model, backend='x')
    with pytest.raises(FileNotFoundError, match="no model 'no_such_model'; available:"):
        seg_ros.load('no_such_model')


def test_models_are_found_in_the_directories_of_the_variable(primary_model, monkeypatch):
    monkeypatch.setenv('SEG_ROS_MODELS', str(primary_model.parent))
    assert find_model('primary') == primary_model


@pytest.mark.parametrize('backend', BACKENDS)
def test_a_graph_that_is_none_is_refused(tmp_path, backend):
    folder = write_primary_model(tmp_path / 'broken')
    card = load_model_card(folder)
    (folder / 'model.onnx').write_bytes(b'no graph at all')
    save_model_card(card, folder)
    with pytest.raises(ValueError, match=r'model\.onnx cannot be used: it is no well-formed ONNX'):
        seg_ros.load(folder, backend=backend)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('max_batch', [1, 2])
def test_images_together_give_what_they_give_alone(primary_model, backend, max_batch):
    sizes = [(48, 64), (48, 64), (20, 90), (96, 128), (48, 64)]
    images = [np.roll(stripes(*size)[0], shift, axis=1) for shift, size in enumerate(sizes)]
    orders = ['rgb', 'bgr', 'rgb', 'bgr', 'rgb']
    alone = seg_ros.load(primary_model, backend=backend)
    together = seg_ros.load(primary_model, backend=backend, max_batch=max_batch)
    results = together.segment_batch(images, orders, min_confidence=0.4)
    for image, order, result in zip(images, orders, results, strict=True):
        expected = alone.segment(image, order, min_confidence=0.4)
        np.testing.assert_array_equal(result.labels, expected.labels)
        np.testing.assert_array_equal(result.confidence, expected.confidence)
    assert together.segment_batch([], []) == []


def test_a_wrong_image_among_several_is_named(primary_model):
    segmenter = seg_ros.load(primary_model)
    image, _ = stripes()
    with pytest.raises(ValueError, match=r'image is \(4, 4\)'):
        segmenter.segment_batch([image, image[:4, :4, 0]], ['rgb', 'rgb'])


@pytest.fixture(scope='module')
def reference():
    """Labels by the book: torch's net, interpolation and argmax, in fp32, without shortcuts."""
    torch = pytest.importorskip('torch')
    from seg_ros.nets.deployed import load_net

    net = load_net(load_model_card(find_model('robocup_mini_unet')))

    def labels_of(image_bgr):
        rgb = torch.from_numpy(np.ascontiguousarray(image_bgr[..., ::-1]))[None]
        with torch.inference_mode():
            logits = torch.nn.functional.interpolate(
                net(rgb), image_bgr.shape[:2], mode='bilinear'
            )
        return logits[0].argmax(0).numpy()

    return labels_of


@pytest.mark.parametrize('bag', ['rendered', 'real'])
def test_real_frames_get_the_labels_of_the_plain_computation(reference, bag):
    frames = bag_frames(bag)
    expected = [reference(frame) for frame in frames]
    for backend in BACKENDS:
        segmenter = seg_ros.load('robocup_mini_unet', backend=backend, precision='fp32')
        spec = segmenter.card.input
        for frame, labels in zip(frames, expected, strict=True):
            assert frame.shape[:2] == (spec.height_px, spec.width_px)
            found = segmenter.segment(frame, with_confidence=False).labels
            assert (found == labels).mean() >= 0.999


def bag_frames(kind):
    """Two 640x480 frames, (H, W, 3) uint8 BGR."""
    path = share_file('demo/robocup_scenes')
    if kind == 'real':
        path = data_file('bags/robocup_humanoid')
    topic = {'rendered': '/camera/image_raw/compressed', 'real': '/camera/image_raw'}[kind]
    source = BagFrames([path], topic)
    frames = list(itertools.islice(source.read(Skips()), 2))
    return [
        frame.image.pixels if frame.image.order == 'bgr' else frame.image.pixels[..., ::-1]
        for frame in frames
    ]


def test_a_large_image_is_never_copied_or_made_float_as_a_whole(primary_model):
    height, width = 2160, 3840
    image, _ = stripes(height, width)
    segmenter = seg_ros.load(primary_model)
    for with_confidence, planes in ((False, 1), (True, 2)):
        segmenter.segment(image, with_confidence=with_confidence)  # buffers of this size
        tracemalloc.start()
        segmenter.segment(image, with_confidence=with_confidence)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        results = planes * height * width  # bytes of the labels, and of the confidence
        assert results <= peak < 1.1 * results


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('options', [{}, {'with_confidence': False}, {'min_confidence': 0.5}])
def test_pixels_for_which_the_net_gives_no_number_are_void_and_counted(tmp_path, backend, options):
    image, labels = stripes()
    segmenter = seg_ros.load(write_undefined_model(tmp_path / 'model'), backend=backend)
    result = segmenter.segment(image, 'rgb', **options)
    green = labels == 1
    assert (result.labels[green] == 255).all()
    # Around the green bar the logits are interpolated with what is no number.
    assert green.sum() <= result.invalid_px == (result.labels == 255).sum()
    sure = np.abs(np.arange(64)[:, None] - np.array([21, 43])).min(axis=1) > 4
    wanted = np.where(green, 255, labels)
    np.testing.assert_array_equal(result.labels[:, sure], wanted[:, sure])
    if result.confidence is not None:
        assert (result.confidence[green] == 0).all()
        assert (result.confidence[:, :12] > 200).all()
    red = segmenter.segment(np.full_like(image, (230, 0, 0)), 'rgb')
    assert red.invalid_px == 0
    assert (red.labels == 0).all()


@pytest.mark.parametrize('backend', BACKENDS)
def test_a_net_that_gives_no_number_for_a_grey_image_is_refused(tmp_path, backend):
    model = write_undefined_model(tmp_path / 'model', on_grey=True)
    with pytest.raises(ValueError, match=r'gives NaN or infinity for \d+ of 3072 pixels'):
        seg_ros.load(model, backend=backend)
