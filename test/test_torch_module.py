"""A torch module of another project becomes a model by one call."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch')

import seg_ros  # noqa: E402
from seg_ros.model_card import load_model_card  # noqa: E402


class Net(torch.nn.Module):
    """Brightest channel at half size, in a mapping as torchvision gives it."""

    def __init__(self, *keys):
        super().__init__()
        self.keys = keys
        self.norm = torch.nn.BatchNorm2d(3)

    def forward(self, image):
        logits = torch.nn.functional.avg_pool2d(self.norm(image), 2)
        return dict.fromkeys(self.keys, logits) if self.keys else logits


def image_of(channel):
    image = np.full((48, 64, 3), 30, np.uint8)
    image[..., channel] = 200
    return image


@pytest.mark.slow
@pytest.mark.parametrize('keys', [(), ('out', 'aux'), ('logits',), ('mine',)])
def test_a_module_answers_as_a_model(tmp_path, keys):
    net = Net(*keys).train()
    names = ['red', 'green', 'blue']
    card = seg_ros.export(net, tmp_path / 'made', classes=names, size=(48, 64))
    assert net.training
    assert card.input.logits_stride == 2
    assert [entry.name for entry in load_model_card(tmp_path / 'made').classes] == names
    segmenter = seg_ros.load(tmp_path / 'made')
    for channel in range(3):
        assert (segmenter.segment(image_of(channel), 'rgb').labels == channel).all()


def test_what_cannot_be_exported_is_refused_with_the_reason(tmp_path):
    arguments = {'classes': ['red', 'green', 'blue'], 'size': (48, 64)}
    with pytest.raises(ValueError, match=r"gives \['a', 'b'\]; name one of them: output='a'"):
        seg_ros.export(Net('a', 'b'), tmp_path / 'made', **arguments)
    (tmp_path / 'there').mkdir()
    with pytest.raises(FileExistsError, match='overwrite=True'):
        seg_ros.export(Net(), tmp_path / 'there', **arguments)
    assert not (tmp_path / 'made').exists()
