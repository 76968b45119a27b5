import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from seg_ros.schema import to_mapping
from seg_ros.training.augment import (
    NUM_PHOTOMETRIC,
    Augmentation,
    Geometry,
    apply_geometry,
    apply_geometry_to_batch,
    apply_photometry,
)
from seg_ros.training.config import NO_AUGMENTATION, AugmentConfig

STRONG = Augmentation(**to_mapping(AugmentConfig(blur=0.5, noise=0.5, hue=0.2)))
NONE = Augmentation(**to_mapping(NO_AUGMENTATION))
PADDING = (124, 116, 104)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def sample(rows=40, columns=60):
    """Image whose channels repeat the labels, so that both can be compared after any geometry."""
    labels = torch.from_numpy(
        np.kron(
            np.arange(rows * columns // 100).reshape(-1, columns // 10), np.ones((10, 10))
        ).astype(np.uint8)
    )
    return labels.expand(3, *labels.shape).contiguous(), labels


def test_no_augmentation_fits_the_image_as_deployment_does():
    image, labels = sample()
    geometry = NONE.draw_geometry(seeded(0), (40, 60), (20, 40))
    assert geometry == Geometry(0, 0, 40, 60, (20, 30), flip=False)
    framed, ids = apply_geometry(image, labels, geometry, (20, 40), PADDING)
    assert framed.shape == (3, 20, 40)
    assert (ids[:, 30:] == 255).all()
    assert framed[:, 0, 35].tolist() == list(PADDING)
    assert ids[:, :30].tolist() == labels[::2, ::2].tolist()


@pytest.mark.parametrize('axis', [0, 1])
def test_image_and_labels_move_together(axis):
    # A ramp from 0 to 240 along one axis: a shift of a few pixels would show.
    shape = (200, 1) if axis == 0 else (1, 200)
    ramp = torch.arange(200).reshape(shape).expand(200, 200)
    labels = (ramp * 1.2).to(torch.uint8)
    image = labels.expand(3, 200, 200).contiguous()
    for seed in range(40):
        geometry = STRONG.draw_geometry(seeded(seed), (200, 200), (96, 128))
        framed, ids = apply_geometry(image, labels, geometry, (96, 128), PADDING)
        difference = (framed[0].int() - ids.int()).abs()[ids != 255]
        assert int(difference.max()) <= 3
        assert float(difference.float().mean()) < 1


@pytest.mark.parametrize('window', [(96, 128), (48, 40)])
def test_a_batch_at_once_is_what_its_images_are_alone(window):
    generator = seeded(0)
    coarse = torch.rand(6, 3, 12, 16, generator=generator) * 255
    images = F.interpolate(coarse, scale_factor=10, mode='bilinear').to(torch.uint8)
    labels = torch.randint(0, 9, (6, 120, 160), generator=generator).to(torch.uint8)
    drawn = [STRONG.draw_geometry(seeded(s), (120, 160), window) for s in range(6)]
    assert {g.flip for g in drawn} == {True, False}
    framed, ids = apply_geometry_to_batch(images, labels, drawn, window, PADDING)
    for i, geometry in enumerate(drawn):
        alone, alone_ids = apply_geometry(images[i], labels[i], geometry, window, PADDING)
        assert torch.equal(ids[i], alone_ids)
        difference = (framed[i].int() - alone.int()).abs().float()
        assert float(difference.mean()) < 1.5
        assert float(difference.max()) < 40


def test_labels_are_never_mixed():
    generator = seeded(3)
    labels = torch.where(torch.rand(64, 64, generator=generator) > 0.5, 0, 200).to(torch.uint8)
    image = labels.expand(3, 64, 64).contiguous()
    for seed in range(30):
        geometry = STRONG.draw_geometry(seeded(seed), (64, 64), (48, 56))
        _, ids = apply_geometry(image, labels, geometry, (48, 56), PADDING)
        assert set(ids.unique().tolist()) <= {0, 200, 255}


def test_scale_and_flip_cover_their_ranges():
    drawn = [STRONG.draw_geometry(seeded(s), (360, 480), (360, 480)) for s in range(300)]
    scales = np.array([g.content_hw[1] / g.columns for g in drawn])
    assert scales.min() == pytest.approx(0.5, abs=0.03)
    assert scales.max() == pytest.approx(2.0, abs=0.06)
    assert 0.4 < np.mean([g.flip for g in drawn]) < 0.6
    assert len({(g.top, g.left) for g in drawn if g.rows < 360}) > 100
    for g in drawn:
        assert 0 <= g.top <= 360 - g.rows
        assert 0 <= g.left <= 480 - g.columns


def test_the_same_seed_draws_the_same_and_another_something_else():
    def draw(seed):
        generator = seeded(seed)
        geometry = STRONG.draw_geometry(generator, (64, 64), (48, 56))
        return dataclasses.astuple(geometry), STRONG.draw_photometry(generator).tolist()

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_unchanged_photometry_is_the_identity():
    image = torch.rand(2, 3, 8, 8, generator=seeded(0))
    params = torch.stack([NONE.draw_photometry(seeded(i)) for i in range(2)])
    assert torch.equal(apply_photometry(image.clone(), params, torch.zeros(2)), image)


def test_brightness_contrast_saturation_and_hue_do_what_they_say():
    image = 0.2 + 0.5 * torch.rand(1, 3, 8, 8, generator=seeded(0))
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)

    def changed(**values):
        names = ['brightness', 'contrast', 'saturation', 'hue', 'blur', 'noise']
        names += ['gamma', 'red', 'blue']
        neutral = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
        params = torch.tensor([[values.get(n, v) for n, v in zip(names, neutral, strict=True)]])
        assert params.shape[1] == NUM_PHOTOMETRIC
        return apply_photometry(image.clone(), params, torch.zeros(1, dtype=torch.int64))

    torch.testing.assert_close(changed(brightness=1.2), image * 1.2)
    grey = (image * luma).sum(1, keepdim=True)
    expected = 0.5 * image + 0.5 * grey.mean()
    torch.testing.assert_close(changed(contrast=0.5), expected)
    torch.testing.assert_close(changed(saturation=0.0), grey.expand_as(image), rtol=0, atol=2e-3)
    turned = changed(hue=0.1)
    torch.testing.assert_close((turned * luma).sum(1, keepdim=True), grey, rtol=0, atol=2e-3)
    assert float((turned - image).abs().max()) > 0.02
    blurred = changed(blur=1.5)
    assert float(blurred.std()) < 0.6 * float(image.std())
    noisy = changed(noise=0.02) - image
    assert float(noisy.std()) == pytest.approx(0.02, rel=0.25)
    torch.testing.assert_close(changed(gamma=1.8), image**1.8)
    gains = torch.tensor([1.2, 1.0, 0.9]).view(1, 3, 1, 1)
    torch.testing.assert_close(changed(red=1.2, blue=0.9), image * gains)


def test_gamma_and_white_balance_stay_in_their_range_and_change_nothing_else():
    plain = [STRONG.draw_photometry(seeded(i)) for i in range(200)]
    both = dataclasses.replace(STRONG, gamma=0.5, white_balance=0.2)
    drawn = [both.draw_photometry(seeded(i)) for i in range(200)]
    assert all(torch.equal(a[:6], b[:6]) for a, b in zip(plain, drawn, strict=True))
    logs = torch.stack(drawn)[:, 6:].log()
    assert float(logs[:, 0].abs().max()) == pytest.approx(0.5, abs=0.02)
    assert float(logs[:, 1:].abs().max()) == pytest.approx(0.2, abs=0.01)
    assert abs(float(logs.mean())) < 0.05
    assert float((logs[:, 1] - logs[:, 2]).abs().max()) > 0.3  # red and blue on their own


def test_padding_is_drawn_anew_after_the_colours(tiny_config, tmp_path):
    from seg_ros.training.phases import Stage, build_loss
    from seg_ros.training.preparation import batches_of, prepare

    config = tiny_config('augment.scale_min=0.4', 'augment.scale_max=0.5')
    run = prepare(config, tmp_path, record=False)
    batch = next(batches_of(run, 1).read(0, 0))
    stage = Stage(config, 1, run.model, build_loss(config.loss, run.survey), 10)
    image, labels = stage._to_input(batch)
    rows, columns = batch.content_hw[0].tolist()
    assert columns < image.shape[3]
    assert float(image[0, :, :, columns:].abs().max()) < 0.01  # the mean colour, rounded to bytes
    assert float(image[0, :, :rows, :columns].abs().max()) > 0.1
    assert (labels[0, :, columns:] == 255).all()
