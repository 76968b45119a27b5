"""From a checkpoint to a net and its card, and on to the model folder that the node runs."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from seg_ros.calibration import calibrated_temperature
from seg_ros.datasets.mixture import require_same_classes
from seg_ros.datasets.sample import Dataset
from seg_ros.model_card import CARD_FILE, ClassInfo, InputSpec, ModelCard, save_model_card
from seg_ros.nets import build_net
from seg_ros.nets.segmentation_net import SegmentationNet
from seg_ros.own_code import demand_trust
from seg_ros.preprocess import place, to_network
from seg_ros.segmenter import load, model_roots
from seg_ros.training.checkpoint import BEST, Checkpoint, CheckpointError, load_checkpoint
from seg_ros.training.config import TrainConfig
from seg_ros.training.loader import ImageStore
from seg_ros.training.recipes import load_train_config
from seg_ros.training.run_folder import CONFIG_FILE, SPLITS_FILE
from seg_ros.training.splits import build_split

if TYPE_CHECKING:
    from seg_ros.nets.deployed import WeightsDtype

LOG = logging.getLogger(__name__)
MAX_CALIBRATION_IMAGES = 100  # 2,000 pixels of each fix one number well enough


def model_facts(
    config: TrainConfig, classes: Sequence[ClassInfo], spec: InputSpec
) -> dict[str, Any]:
    """What a checkpoint says of its net, as plain values in the terms of a model card."""
    return {
        'name': config.name,
        'net': config.net,
        'net_options': dict(config.net_options),
        'classes': [{'id': c.id, 'name': c.name, 'color': list(c.color)} for c in classes],
        'input': {
            'height_px': spec.height_px,
            'width_px': spec.width_px,
            'logits_stride': spec.logits_stride,
            'mean': list(spec.mean),
            'std': list(spec.std),
        },
    }


def card_of(checkpoint: Checkpoint) -> ModelCard:
    """The card of a checkpoint's net, without files."""
    facts = checkpoint.model
    entries = facts['classes']
    return ModelCard(
        name=facts['name'],
        net=facts['net'],
        net_options=dict(facts['net_options']),
        classes=tuple(ClassInfo(e['id'], e['name'], tuple(e['color'])) for e in entries),
        input=InputSpec(
            **{
                **facts['input'],
                'mean': tuple(facts['input']['mean']),
                'std': tuple(facts['input']['std']),
            }
        ),
        scores=dict(checkpoint.scores),
        provenance=dict(checkpoint.provenance),
    )


def load_trained(path: Path | str) -> tuple[SegmentationNet, ModelCard]:
    """Load the net of a run or checkpoint.

    Args:
        path: A run folder (its best checkpoint) or the ``.json`` of a checkpoint.

    Raises:
        FileNotFoundError: If there is none.
        CheckpointError: If it is damaged.
    """
    checkpoint = load_checkpoint(path, BEST)
    card = card_of(checkpoint)
    demand_trust(card.net, str(checkpoint.path))
    net = build_net(card.net, card.num_classes, options=card.net_options)
    try:
        net.load_state_dict(checkpoint.load_tensors('weights'))
    except RuntimeError as error:
        raise CheckpointError(
            f'{checkpoint.path} does not fit net {card.net!r}: {error}'
        ) from error
    return net.eval(), card


def free_model_folder(directory: Path, name: str) -> Path:
    """Where a new model goes: ``<directory>/<name>``, or the first of ``<name>_2``, ... not taken.

    A name is taken where the folder exists or ``find_model`` finds another model under it, such as
    one that came with the package: a model is never replaced, nor hidden by one of its name.
    """
    elsewhere = [root for root in model_roots() if root != directory.absolute()]

    def taken(candidate: str) -> bool:
        return (directory / candidate).exists() or any(
            (root / candidate / CARD_FILE).is_file() for root in elsewhere
        )

    names = itertools.chain([name], (f'{name}_{number}' for number in itertools.count(2)))
    return directory / next(each for each in names if not taken(each))


def export_run(
    run: Path,
    folder: Path,
    store: ImageStore,
    *,
    weights_dtype: str = 'float32',
    max_images: int = 4,
) -> None:
    """Write the model folder of a run's best checkpoint, with calibrated confidence.

    Args:
        run: The run folder.
        folder: The model folder, not yet there.
        store: Images to check the exported graph with, and to fit the temperature of the
            confidence on where they are held out: those of the validation.
        weights_dtype: What kernels are stored as: float32 or float16.
        max_images: How many of them.

    Raises:
        ValueError: If the exported graph does not compute what the net does.
        FileExistsError: If the folder exists.
    """
    from seg_ros.model_export import export_net  # noqa: PLC0415 (ONNX and the engines: seconds)

    net, card = load_trained(run)
    step = max(1, len(store) // max_images)
    images = []
    for position in range(0, len(store), step)[:max_images]:
        image = np.ascontiguousarray(store[position][0].permute(1, 2, 0).cpu().numpy())
        placement = place((image.shape[0], image.shape[1]), card.input)
        images.append(to_network(image, placement, 'rgb', card.input.mean))
    export_net(
        net,
        replace(card, name=folder.name),
        folder,
        images,
        weights_dtype=cast('WeightsDtype', weights_dtype),
    )
    LOG.info('%s is written', folder)
    if load_train_config(run / CONFIG_FILE).holds_out:
        calibrate(folder, store.dataset, store.indices)


def calibrate(
    folder: Path,
    dataset: Dataset,
    indices: Sequence[int] | None = None,
    *,
    source: str = 'validation images of the run',
) -> float:
    """Fit the temperature of a model's confidence and put it on the card, with what it is from.

    Args:
        folder: The model folder.
        dataset: Labelled images that the model was not trained on, of the model's classes.
        indices: Which of them; all when None. At most ``MAX_CALIBRATION_IMAGES`` are taken, evenly
            spaced.
        source: What the images are, for the card.

    Returns:
        The temperature.

    Raises:
        ValueError: If the classes differ or no pixel is labelled.
    """
    segmenter = load(folder)
    require_same_classes(segmenter.card.classes, dataset.classes, 'the calibration data')
    indices = range(len(dataset)) if indices is None else indices
    chosen = indices[:: -(-len(indices) // MAX_CALIBRATION_IMAGES)]
    samples = (dataset[index] for index in chosen)
    temperature = round(calibrated_temperature(segmenter, samples), 4)
    note = {'source': source, 'images': len(chosen)}
    provenance = {**segmenter.card.provenance, 'temperature_from': note}
    card = replace(segmenter.card, temperature=temperature, provenance=provenance)
    save_model_card(card, folder)
    LOG.info('%s: temperature of the confidence %.4f', folder, temperature)
    return temperature


def validation_images(trained: Path) -> ImageStore:
    """The validation images of a run, by its saved split.

    Args:
        trained: The run folder, or a checkpoint in it.

    Raises:
        FileNotFoundError: If it is no run, or its data are gone.
        ValueError: If the data have changed, or the run was trained on all of them.
    """
    run = trained if trained.is_dir() else trained.parent.parent
    config = load_train_config(run / CONFIG_FILE)
    if not config.holds_out:
        raise ValueError(f'{run} was trained on all of its images (split.mode=all)')
    split = build_split(config, run / SPLITS_FILE)
    return ImageStore(split.val, split.val_indices)
