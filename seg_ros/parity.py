"""Whether the engines give what a net gives, before its model folder appears."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seg_ros.backends import load_backend
from seg_ros.model_card import ModelCard

LOG = logging.getLogger(__name__)

ENGINES = ('onnxruntime', 'openvino')
MIN_LABEL_AGREEMENT = 0.999
MAX_RELATIVE_ERROR = 1e-3
# One pixel that a net unpools elsewhere changes all logits that see it: 2 % of a small image.
USUAL_SHARE = 0.95
_TINY = float(np.finfo(np.float32).tiny)  # constant logits divide by it


@dataclass(frozen=True)
class Parity:
    """How close an engine comes to the reference.

    Attributes:
        label_agreement: Share of the logits' pixels with the same strongest class, worst image.
        relative_error: Largest difference of a logit over the range of the image's logits, worst
            image.
        usual_error: The same, the largest of 95 % of the logits.
    """

    label_agreement: float
    relative_error: float
    usual_error: float


def engine_parity(
    card: ModelCard, expected_chw: Sequence[np.ndarray], images_hwc: Sequence[np.ndarray]
) -> dict[str, Parity]:
    """Compare a model folder in every engine with the logits of a reference.

    Args:
        card: The verified card of the folder.
        expected_chw: Logits of the reference for each image.
        images_hwc: (h, w, 3) uint8 RGB of the card's input size.
    """
    result = {}
    for name in ENGINES:
        backend = load_backend(name, card, precision='fp32')
        found = [backend.infer(np.ascontiguousarray(image)).copy() for image in images_hwc]
        result[name] = compare_logits(expected_chw, found)
        LOG.info('%s: %s', name, result[name])
    return result


def compare_logits(expected_chw: Sequence[np.ndarray], found_chw: Sequence[np.ndarray]) -> Parity:
    """Measure how far logits are from the expected ones, worst image; NaN where any is NaN."""
    agreements, errors, usual_errors = [], [], []
    for expected, found in zip(expected_chw, found_chw, strict=True):
        if expected.shape != found.shape:
            raise ValueError(f'logits are {found.shape}, the reference gives {expected.shape}')
        agreements.append(float((expected.argmax(0) == found.argmax(0)).mean()))
        value_range = expected.max().item() - expected.min().item()
        differences = np.abs(expected - found) / max(value_range, _TINY)
        errors.append(differences.max())
        usual_errors.append(np.quantile(differences, USUAL_SHARE))
    return Parity(min(agreements), float(np.max(errors)), float(np.max(usual_errors)))


def demand_parity(
    name: str,
    parity: Mapping[str, Parity],
    min_label_agreement: float,
    *,
    max_error: float = MAX_RELATIVE_ERROR,
    reference: str = 'torch',
    command: str = 'export',
) -> None:
    """Refuse a model that an engine computes otherwise than the reference.

    Args:
        name: Of the model.
        parity: Per engine.
        min_label_agreement: Share of the logits' pixels with the same strongest class.
        max_error: Largest relative error of a single logit.
        reference: What the engines are compared with, for the message.
        command: That takes ``--min-label-agreement``, for the message.

    Raises:
        ValueError: Naming the engines, what they give and the cure.
    """
    wrong = {
        engine: each
        for engine, each in parity.items()
        if not (
            each.label_agreement >= min_label_agreement
            and each.usual_error <= MAX_RELATIVE_ERROR
            and each.relative_error <= max_error
        )
    }
    if not wrong:
        return
    found = '; '.join(
        f'{engine}: labels equal on {each.label_agreement:.4%}, largest error '
        f'{each.relative_error:.1e}, usual error {each.usual_error:.1e}'
        for engine, each in wrong.items()
    )
    close = all(each.usual_error <= MAX_RELATIVE_ERROR for each in wrong.values())
    cure = (
        'The logits agree but for single pixels, where two classes are almost equal: the net is '
        'trained too little, or unpools by maxima. Train on, or accept it: python -m seg_ros '
        f'{command} ... --min-label-agreement 0.995'
        if close
        else 'The engine computes something else: please report it with the net and its options'
    )
    raise ValueError(
        f'{name} is not written, an engine disagrees with {reference}: {found}; needed are label '
        f'agreement >= {min_label_agreement:.2%}, largest error <= {max_error:.0e} and usual '
        f'error <= {MAX_RELATIVE_ERROR:.0e}. {cure}'
    )


def put_in_place(scratch: Path, folder: Path) -> None:
    """Rename the finished folder; the old one, if any, is gone only when the new one stands."""
    scratch.chmod(0o755)  # temporary folders and safetensors are private to their owner
    for file in scratch.iterdir():
        file.chmod(0o644)
    if not folder.exists():
        scratch.rename(folder)
        return
    retired = Path(tempfile.mkdtemp(prefix=f'.{folder.name}-old-', dir=folder.parent))
    folder.rename(retired / folder.name)
    try:
        scratch.rename(folder)
    except OSError:
        (retired / folder.name).rename(folder)
        raise
    finally:
        shutil.rmtree(retired, ignore_errors=True)
