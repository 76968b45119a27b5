"""Mirror images and windows: what is averaged, and that nothing is shifted by it."""

import numpy as np
import pytest

import seg_ros
from seg_ros.cli import main
from seg_ros.evaluation.averaging import Mirrored, Windows, with_mirror, with_windows
from seg_ros.model_card import InputSpec
from test.conftest import write_primary_model


class Echo:
    """An engine whose logits are the image, every second pixel, and where they are in it."""

    name, device, precision, reason, max_batch = 'echo', 'cpu', 'fp32', '', 1

    def infer(self, image_hwc):
        column = np.broadcast_to(
            np.arange(image_hwc.shape[1] // 2, dtype=np.float32),
            (image_hwc.shape[0] // 2, image_hwc.shape[1] // 2),
        )
        return np.stack([image_hwc[::2, ::2, 0].astype(np.float32), column])


def test_a_mirror_image_is_mirrored_back():
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    image[:, 1::2] = image[:, ::2]  # so that every second pixel is the same from both sides
    content, column = Mirrored(Echo()).infer(image)
    np.testing.assert_array_equal(content, image[::2, ::2, 0])
    np.testing.assert_array_equal(column, 2.5)


@pytest.mark.parametrize('size', [(16, 24), (16, 32), (20, 44), (62, 50)], ids=str)
@pytest.mark.parametrize('overlap', [0.0, 0.5, 0.9])
def test_windows_cover_the_image_and_shift_nothing(size, overlap):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    content, column = Windows(Echo(), InputSpec(16, 24, 2), size, overlap).infer(image)
    np.testing.assert_allclose(content, image[::2, ::2, 0], rtol=1e-6)
    assert column[:, 0].max() == 0
    assert column[:, -1].min() == 11


def test_a_net_of_single_pixels_gives_the_same_labels(tmp_path):
    segmenter = seg_ros.load(write_primary_model(tmp_path / 'primary'), backend='onnxruntime')
    image = np.random.default_rng(1).integers(0, 2, (75, 90, 3)).astype(np.uint8) * 255
    spec = segmenter.card.input
    size = (2 * spec.height_px, 2 * spec.width_px)
    image = np.repeat(np.repeat(image[:30, :40], 4, 0), 4, 1)
    expected = segmenter.segment(image, 'rgb').labels
    np.testing.assert_array_equal(with_mirror(segmenter).segment(image, 'rgb').labels, expected)
    full = with_windows(segmenter, size).segment(image, 'rgb').labels
    assert full.shape == image.shape[:2]
    assert (full == with_windows(segmenter, size).segment(image, 'rgb').labels).all()
    with pytest.raises(ValueError, match='are too small: the model takes'):
        with_windows(segmenter, (16, 16))


def test_the_report_says_what_was_averaged(tmp_path, capsys):
    from test.datasets.conftest import blocks, picture, write

    classes = '\n'.join(
        f'- {{id: {i}, name: {name}, color: [{i}, 0, 0]}}'
        for i, name in enumerate(('red', 'green', 'blue'))
    )
    write(tmp_path / 'data/images/a.png', picture(0))
    write(tmp_path / 'data/labels/a.png', blocks(np.uint8([0, 1, 2])))
    (tmp_path / 'data/classes.yaml').write_text(f'classes:\n{classes}\n')
    model = write_primary_model(tmp_path / 'primary')
    spec = seg_ros.load(model, backend='onnxruntime').card.input
    arguments = ['--dataset', 'folder', '--root', str(tmp_path / 'data'), '--split', 'all']
    arguments += ['--model', str(model), '--backend', 'onnxruntime', '--quiet', '--flip']
    windows = f'{2 * spec.height_px}x{2 * spec.width_px}'
    assert main(['evaluate', *arguments, '--windows', windows]) == 0
    assert f'onnxruntime + windows over {windows} + mirror image' in capsys.readouterr().out
    assert main(['evaluate', *arguments, '--windows', '480']) == 2
    assert 'write it as 720x960' in capsys.readouterr().err
