"""Which precision an engine computes in, and why: the rules of ``precision: auto``.

Pure functions of what the processor can do and what the model folder holds; the engines ask the
machine and hand in the answer.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seg_ros.model_card import ModelCard, Variant

AUTO = 'auto'
FP32, BF16, FP16, INT8 = 'fp32', 'bf16', 'fp16', 'int8'
PRECISIONS = (AUTO, FP32, BF16, FP16, INT8)

# Points of mIoU (or of label agreement) that int8 may lose before 'auto' leaves it alone.
MAX_LOSS_POINTS = 0.5
# Without one of these bf16 is emulated, and slower than fp32.
_BF16_FLAGS = ('amx_bf16', 'avx512_bf16', 'avx_ne_convert')
# Peaks measured in OpenVINO with AVX-512 alone, bf16 against fp32, GFLOP/s of two cores: AMD EPYC
# 1000 and 500, Intel Xeon without AMX 177 and 323.
_SLOW_BF16 = {'GenuineIntel', 'avx512_bf16'}
_X86 = ('x86_64', 'AMD64', 'amd64')


@dataclass(frozen=True)
class Choice:
    """A precision and one line that says why."""

    precision: str
    reason: str


def cpu_precisions(
    capabilities: Set[str], flags: Set[str], machine: str | None = None
) -> dict[str, str]:
    """List what a processor computes in.

    Args:
        capabilities: What the engine says of it, in OpenVINO's words: FP32, BF16, FP16, INT8.
        flags: What the kernel says of it and its vendor, as ``processor_flags`` reads them.
        machine: As ``platform.machine()`` gives it; that of this machine when None.

    Returns:
        Precision -> the feature that it rests on, the fastest first as measured on x86.
    """
    on_x86 = (machine or platform.machine()) in _X86
    found = {}
    if 'INT8' in capabilities:
        if not on_x86:
            # There it was not measured: it can be asked for, 'auto' does not take it.
            found[INT8] = ''
        else:
            wide = [flag for flag in ('amx_int8', 'avx512_vnni', 'avx_vnni') if flag in flags]
            found[INT8] = f'processor has {(wide or ["avx2"])[0]}'
    if 'BF16' in capabilities:
        native = [flag for flag in _BF16_FLAGS if flag in flags]
        is_slow = flags >= _SLOW_BF16 and 'amx_bf16' not in flags
        if native or not on_x86:
            found[BF16] = '' if is_slow else f'processor has {(native or ["bf16"])[0]}'
    found[FP32] = 'every processor computes it'
    if 'FP16' in capabilities:
        found[FP16] = ''
    return found


def choose_precision(
    asked: str,
    card: ModelCard,
    available: Mapping[str, str],
    where: str,
    *,
    slow_in_int8: Set[str] = frozenset(),
) -> Choice:
    """Take what was asked for, or the fastest that the labels survive.

    Args:
        asked: One of ``PRECISIONS``.
        card: The model; its int8 variant, if any, counts.
        available: Precision -> reason, fastest first; one without a reason is only taken when
            asked for.
        where: Engine and device, for messages.
        slow_in_int8: Nets that this engine runs faster in another precision.

    Raises:
        ValueError: If the precision is unknown, cannot be had here, or the model has no graph
            for it.
    """
    if asked not in PRECISIONS:
        raise ValueError(f'unknown precision {asked!r}; available: {", ".join(PRECISIONS)}')
    if asked != AUTO:
        if asked not in available:
            raise ValueError(
                f'{where} cannot compute in {asked} here; available: {", ".join(available)}'
            )
        if asked == INT8 and INT8 not in card.variants:
            raise ValueError(
                f'model {card.name!r} has no int8 graph; make one: '
                f'python -m seg_ros quantize --model {card.name} --calibration ...'
            )
        return Choice(asked, 'asked for')
    passed_over: list[str] = []
    for precision, feature in available.items():
        if not feature:
            continue
        if precision != INT8:
            return Choice(precision, '; '.join([feature, *passed_over]))
        variant = card.variants.get(INT8)
        if variant is None:
            passed_over.append('the model has no int8 graph')
        elif variant.loss_points > MAX_LOSS_POINTS:
            passed_over.append(_change(variant))
        elif card.net in slow_in_int8:
            passed_over.append(f'{card.net} is slower in int8')
        else:
            return Choice(INT8, f'{feature}; {_change(variant)}')
    raise ValueError(f'{where} can compute nothing that model {card.name!r} has')


def _change(variant: Variant) -> str:
    return f'its int8 graph changes {variant.metric} by {-variant.loss_points:+.2f} points'


def processor_flags() -> frozenset[str]:
    """Features and vendor of this machine's processor as Linux lists them; empty elsewhere."""
    info = Path('/proc/cpuinfo')
    if not info.is_file():
        return frozenset()
    found: set[str] = set()
    for line in info.read_text(encoding='utf-8').splitlines():
        if not line.strip():
            break  # the other processors are alike
        name, _, value = line.partition(':')
        if name.strip().lower() in ('flags', 'features', 'vendor_id'):  # x86, Arm; x86
            found.update(value.split())
    return frozenset(found)
