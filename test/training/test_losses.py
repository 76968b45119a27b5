import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from seg_ros.training.losses import SegmentationLoss, class_weights, reduce_labels
from seg_ros.training.region_losses import dice_loss, lovasz_loss, total_variation


def batch(seed=0, classes=4, size=(2, 6, 8)):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(size[0], classes, *size[1:], generator=generator) * 2
    labels = torch.randint(0, classes, size, generator=generator).to(torch.uint8)
    labels[:, 0] = 255
    return logits.requires_grad_(), labels


def loss_of(logits, labels, weights=None, **settings):
    weights = torch.ones(logits.shape[1]) if weights is None else weights
    return SegmentationLoss(weights=weights, **settings)({'logits': logits}, labels)


def certain(labels, classes=4, margin=30.0):
    ids = torch.where(labels == 255, 0, labels).long()
    return (F.one_hot(ids, classes).permute(0, 3, 1, 2) * margin).float()


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_cross_entropy_is_torchs_weighted_mean(smoothing):
    logits, labels = batch()
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0])
    found = loss_of(
        logits, labels, weights, terms={'cross_entropy': 1.0}, label_smoothing=smoothing
    )
    expected = F.cross_entropy(
        logits, labels.long(), weights, ignore_index=255, label_smoothing=smoothing
    )
    torch.testing.assert_close(found, expected)


def test_focal_without_gamma_is_cross_entropy_and_with_it_favours_hard_pixels():
    logits, labels = batch()
    plain = loss_of(logits, labels, terms={'cross_entropy': 1.0})
    torch.testing.assert_close(
        loss_of(logits, labels, terms={'focal': 1.0}, focal_gamma=0.0), plain
    )
    probability = logits.softmax(1).gather(1, labels.clamp(max=3).long()[:, None])[:, 0]
    valid = labels != 255
    expected = (-((1 - probability) ** 2) * probability.log())[valid].mean()
    torch.testing.assert_close(loss_of(logits, labels, terms={'focal': 1.0}), expected)


def test_ohem_takes_the_pixels_below_the_threshold():
    logits, labels = batch()
    losses = F.cross_entropy(logits, labels.long(), ignore_index=255, reduction='none')
    losses = losses[labels != 255]
    hard = losses[losses.detach() >= -math.log(0.3)]
    assert 0 < len(hard) < len(losses)
    found = loss_of(logits, labels, terms={'ohem': 1.0}, ohem_threshold=0.3, ohem_keep=0.0)
    torch.testing.assert_close(found, hard.mean())


def test_ohem_keeps_a_share_when_all_pixels_are_easy():
    _, labels = batch()
    generator = torch.Generator().manual_seed(1)
    logits = certain(labels, margin=5.0) + torch.rand(2, 4, 6, 8, generator=generator)
    losses = F.cross_entropy(logits, labels.long(), ignore_index=255, reduction='none')
    losses = losses[labels != 255].sort(descending=True).values
    found = loss_of(logits, labels, terms={'ohem': 1.0}, ohem_threshold=0.7, ohem_keep=0.25)
    torch.testing.assert_close(found, losses[: len(losses) // 4].mean())


def test_dice_and_lovasz_vanish_for_the_truth_and_are_one_for_its_opposite():
    labels = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 255]]]).to(torch.uint8)
    right, wrong = certain(labels, 2), certain(1 - labels.clamp(max=1), 2)
    ids = labels.long()
    for loss in (dice_loss, lovasz_loss):
        assert float(loss(right, ids)) == pytest.approx(0, abs=1e-4)
        assert float(loss(wrong, ids)) == pytest.approx(1, abs=1e-4)


def test_lovasz_of_hard_predictions_is_one_minus_mean_iou():
    labels = torch.tensor([[[0, 0, 0, 1, 1, 2]]])
    predicted = torch.tensor([[[0, 0, 1, 1, 2, 2]]])
    found = lovasz_loss(certain(predicted, 3, margin=60.0), labels)
    assert float(found) == pytest.approx(1 - np.mean([2 / 3, 1 / 3, 1 / 2]), abs=1e-4)


def test_total_variation_counts_steps_of_the_chosen_channels():
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    labels[:, :, 2:] = 1
    logits = certain(labels, 3, margin=60.0)
    # One step of height 1 in each of 4 rows of 3 neighbours each.
    assert float(total_variation(logits, (1,))) == pytest.approx(4 / 12, abs=1e-4)
    assert float(total_variation(logits, (2,))) == pytest.approx(0, abs=1e-4)


TERMS = ['cross_entropy', 'ohem', 'focal', 'dice', 'lovasz']


@pytest.mark.parametrize('name', TERMS)
def test_void_has_no_influence(name):
    logits, labels = batch()
    other = logits.detach().clone()
    other[:, :, 0] += 5 * torch.randn(2, 4, 8)
    plain = logits.detach()
    assert float(loss_of(plain, labels, terms={name: 1.0})) == pytest.approx(
        float(loss_of(other, labels, terms={name: 1.0})), rel=1e-5
    )


@pytest.mark.parametrize('name', TERMS)
def test_gradients_are_finite_where_all_is_void_or_certain(name):
    logits, labels = batch()
    for case in (torch.full_like(labels, 255), labels):
        for start in (logits, certain(labels, margin=200.0)):
            leaf = start.detach().clone().requires_grad_()
            value = loss_of(leaf, case, terms={name: 1.0})
            value.backward()
            assert torch.isfinite(value)
            assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize('name', TERMS)
def test_following_the_gradient_lowers_the_loss(name):
    logits, labels = batch()
    value = loss_of(logits, labels, terms={name: 1.0})
    (gradient,) = torch.autograd.grad(value, logits)
    better = logits.detach() - 0.5 * gradient / gradient.norm()
    assert float(loss_of(better, labels, terms={name: 1.0})) < float(value)


def test_terms_add_up_with_their_weights_and_auxiliary_heads():
    logits, labels = batch()
    aux, _ = batch(seed=5, size=(2, 3, 4))
    one = loss_of(logits, labels, terms={'cross_entropy': 1.0})
    two = loss_of(logits, labels, terms={'dice': 1.0})
    loss = SegmentationLoss(
        terms={'cross_entropy': 2.0, 'dice': 0.5}, weights=torch.ones(4), aux_weight=0.4
    )
    expected = 2 * one + 0.5 * two
    torch.testing.assert_close(loss({'logits': logits}, labels), expected)
    outputs = {'logits': logits, 'aux_deep': aux, 'heatmaps': torch.randn(2, 3, 3, 4)}
    small = reduce_labels(labels, (3, 4))
    expected = expected + 0.4 * loss({'logits': aux}, small)
    torch.testing.assert_close(loss(outputs, labels), expected)


def test_labels_are_reduced_by_taking_the_centre_of_each_block():
    labels = torch.arange(48).reshape(1, 6, 8).to(torch.uint8)
    assert reduce_labels(labels, (3, 4))[0].tolist() == labels[0, 1::2, 1::2].tolist()
    odd = reduce_labels(labels[:, :5], (2, 2))  # blocks of 4: rows 2 and 6, the latter outside
    assert odd[0].tolist() == [[18, 22], [255, 255]]


def test_enet_weights_of_camvid_are_the_published_ones():
    share = np.array(
        [0.1754, 0.2422, 0.0102, 0.3296, 0.0467, 0.1012, 0.0122, 0.0117, 0.0611, 0.0067, 0.0030]
    )
    pixels = (share * 1e7).astype(np.int64)
    weights = class_weights('enet', pixels, pixels)
    published = [4.11, 3.40, 9.56, 2.80, 7.31, 5.45, 9.40, 9.44, 6.70, 9.87, 10.20]
    np.testing.assert_allclose(weights, published, rtol=3e-3)
    of_linknet = class_weights('linknet', pixels, pixels)
    published = [2.28, 1.78, 20.1, 1.42, 6.67, 3.53, 18.0, 18.5, 5.36, 25.4, 34.7]
    np.testing.assert_allclose(of_linknet, published, rtol=1e-2)


def test_median_frequency_weighs_by_the_images_that_hold_the_class():
    weights = class_weights(
        'median_frequency', np.array([80, 10, 10, 0]), np.array([100, 100, 20, 0])
    )
    np.testing.assert_allclose(weights, [0.5 / 0.8, 5.0, 1.0, 0.0])


def test_unknown_names_list_what_there_is():
    with pytest.raises(ValueError, match='available: none, enet'):
        class_weights('x', np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match='available: cross_entropy'):
        SegmentationLoss(terms={'x': 1.0}, weights=torch.ones(2))
