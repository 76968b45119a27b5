"""From the camera's stamp to the consumer's callback with the labels, beside other nodes.

Three processes over Fast DDS: a camera, a node, a consumer. All nodes are up during the whole run
and are fed in turns, so that other load on the machine hits all alike.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.contestant import LABEL_MASK, Contestant, seg_ros_node
from bench.frames import FULL_HD, VGA
from bench.model_folders import (
    NUM_CLASSES,
    add_int8_variant,
    shipped_models,
    write_float_graph,
)
from bench.rates import Pace, find_pace, find_peak
from bench.record import Record, add_common_arguments, percentiles
from bench.rig import Rig, Stream
from seg_ros.model_card import ModelCard
from seg_ros.model_export import write_random_model

NAIVE_OUTPUTS = (LABEL_MASK, 'confidence', 'color_mask', 'overlay')
OVERLOAD = 2.0  # times the peak rate


@dataclass(frozen=True)
class Scene:
    """What all nodes are measured in.

    Attributes:
        name: For people.
        size_hw: Rows and columns of the frames.
        all_outputs: Whether the consumer subscribes to all that a node has, or to the label mask.
        with_overload: Whether to measure at more than the peak rate as well.
    """

    name: str
    size_hw: tuple[int, int]
    all_outputs: bool
    with_overload: bool = False

    def outputs(self, contestant: Contestant) -> tuple[str, ...]:
        """What the consumer subscribes to."""
        return contestant.outputs if self.all_outputs else (LABEL_MASK,)


SCENES = (
    Scene('640x480, label mask', VGA, all_outputs=False, with_overload=True),
    Scene('640x480, all outputs', VGA, all_outputs=True),
    Scene('1920x1080, label mask', FULL_HD, all_outputs=False),
    Scene('1920x1080, all outputs', FULL_HD, all_outputs=True),
)


@dataclass(frozen=True)
class Plan:
    """How long everything is measured."""

    rounds: int = 5
    further_rounds: int = 2  # in all scenes but the first
    slot_s: float = 2.5
    peak_s: float = 1.5
    overload_s: float = 4.0


QUICK = Plan(rounds=2, slot_s=1.5, peak_s=1.0, overload_s=2.0)


def contestants(scratch: Path) -> list[Contestant]:
    """Our node and the nodes that it is compared with, all with nets of 640x480."""
    mini_unet, mini_unet_precision = _model('mini_unet', scratch)
    linknet, linknet_precision = _model('linknet', scratch)
    graph = write_float_graph(mini_unet, scratch / 'mini_unet.onnx')
    return [
        _ours('mini_unet', 'seg_ros, mini-UNet', mini_unet, mini_unet_precision),
        _ours('linknet', 'seg_ros, LinkNet', linknet, linknet_precision),
        _naive('smp_unet', 'naive node, smp U-Net ResNet-18'),
        _naive('smp_linknet', 'naive node, smp Linknet ResNet-18'),
        _naive('linknet', 'naive node, the same LinkNet in torch eager', linknet.num_classes),
        Contestant(
            'tutorial_mini_unet',
            'tutorial node, the same mini-UNet in ONNX Runtime',
            'bench.tutorial_node',
            ('--graph', str(graph)),
        ),
    ]


def _model(net: str, scratch: Path) -> tuple[ModelCard, str]:
    """A shipped model of that net, as its users run it, or random weights in int8."""
    for card in shipped_models():
        if card.net == net and (card.input.height_px, card.input.width_px) == VGA:
            return card, 'auto'
    return add_int8_variant(write_random_model(scratch / net, net, VGA, NUM_CLASSES)), 'int8'


def _ours(name: str, title: str, card: ModelCard, precision: str) -> Contestant:
    return seg_ros_node(
        f'seg_ros_{name}',
        title,
        str(card.folder),
        class_names=[entry.name for entry in card.classes],
        precision=precision,
    )


def _naive(net: str, title: str, num_classes: int = NUM_CLASSES) -> Contestant:
    arguments = ('--net', net, '--classes', str(num_classes))
    name = f'naive_{net}'
    return Contestant(name, title, 'bench.naive_node', arguments, outputs=NAIVE_OUTPUTS)


def measure_scene(
    rig: Rig, nodes: list[Contestant], scene: Scene, plan: Plan, record: Record
) -> dict[str, Any]:
    """Latency of every node in a scene, in turns, and its peak rate."""
    paces = {node.name: find_pace(rig, node, scene.size_hw) for node in nodes}
    streams: dict[str, list[Stream]] = defaultdict(list)
    for number in range(plan.rounds):
        for node in nodes:
            streams[node.name].append(_idle_stream(rig, node, scene, paces[node.name], plan))
        record.progress(f'{scene.name}: round {number + 1} of {plan.rounds}')
    result = {}
    for node in nodes:
        # The rounds know better than the first look; the peak is searched from there.
        pace = Pace(max(1.0, _median_ms(streams[node.name])))
        peak = find_peak(
            rig, node, scene.size_hw, pace, outputs=scene.outputs(node), seconds=plan.peak_s
        )
        result[node.name] = {
            **summary(streams[node.name], scene.outputs(node)),
            'peak_hz': peak.rate_hz,
            'not_sustained_hz': peak.refused_hz,
        }
        if scene.with_overload:
            result[node.name]['overload'] = _overload(rig, node, pace, peak.rate_hz, plan)
        record.progress(
            f'{scene.name}: {node.name} p50 {result[node.name]["p50_ms"]:.1f} ms, '
            f'peak {peak.rate_hz:.1f} Hz'
        )
    return result


def _idle_stream(rig: Rig, node: Contestant, scene: Scene, pace: Pace, plan: Plan) -> Stream:
    frames = pace.frames(pace.idle_hz, plan.slot_s)
    return rig.stream(
        node,
        scene.size_hw,
        pace.idle_hz,
        frames,
        outputs=scene.outputs(node),
    )


def _median_ms(streams: list[Stream]) -> float:
    return statistics.median(value for stream in streams for value in stream.labels_ms)


def summary(streams: list[Stream], outputs: tuple[str, ...]) -> dict[str, Any]:
    """Latency, processor time and memory over the rounds of one node.

    ``p50_by_round_ms`` is what ratios are taken of: rounds of two nodes lie side by side.
    """
    sent = sum(stream.sent for stream in streams)
    last = [value for stream in streams for value in stream.latencies_ms[outputs[-1]]]
    return {
        **percentiles([value for stream in streams for value in stream.labels_ms]),
        'p50_by_round_ms': [statistics.median(stream.labels_ms) for stream in streams],
        'last_output': outputs[-1],
        'last_output_p50_ms': percentiles(last).get('p50_ms'),
        'dropped': sum(stream.dropped for stream in streams),
        'cpu_ms_per_frame': 1e3 * sum(stream.cpu_s for stream in streams) / sent,
        'rss_mb': streams[-1].memory.rss_mb,
        'peak_rss_mb': streams[-1].memory.peak_rss_mb,
    }


def _overload(
    rig: Rig, node: Contestant, pace: Pace, peak_hz: float, plan: Plan
) -> dict[str, float]:
    rate_hz = OVERLOAD * (peak_hz or 1e3 / pace.work_ms)
    frames = pace.frames(rate_hz, plan.overload_s)
    stream = rig.stream(node, VGA, rate_hz, frames)
    return {
        **percentiles(stream.labels_ms),
        'offered_hz': stream.rate_hz,
        'answered_share': len(stream.labels_ms) / stream.sent,
    }


def account(rig: Rig, node: Contestant, pace: Pace, plan: Plan) -> dict[str, Any]:
    """Where the time of our node goes, by its own clock and by stamp and callback.

    ``around_ms`` is everything that a frame spends outside of the engine.
    """
    streams = [
        rig.stream(
            node,
            VGA,
            pace.idle_hz,
            pace.frames(pace.idle_hz, max(plan.slot_s, 2.5)),  # diagnostics come once a second
            with_times=True,
        )
        for _ in range(plan.rounds)
    ]
    reports = [report for stream in streams for report in stream.diagnostics]
    assert reports, f'{node.name} reported no times'
    parts = {
        key: statistics.median(float(report[key]) for report in reports)
        for key in (
            'preprocess_time_ms',
            'inference_time_ms',
            'postprocess_time_ms',
            'publish_time_ms',
        )
    }
    inference = parts['inference_time_ms']
    processing = statistics.median(value for stream in streams for value in stream.numbers)
    latency = _median_ms(streams)
    return {
        **parts,
        **{key: reports[-1].get(key, '') for key in ('backend', 'precision', 'device')},
        'processing_time_ms': processing,
        'latency_ms': latency,
        'transport_ms': latency - processing,
        'around_by_node_ms': processing - inference,
        'around_by_stamp_ms': latency - inference,
        'around_by_node_share': (processing - inference) / inference,
        'around_by_stamp_share': (latency - inference) / inference,
    }


def main() -> None:
    """Measure all scenes."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('--only', nargs='*', metavar='NAME', help='nodes to measure, by name')
    parser.add_argument('--scenes', type=int, default=len(SCENES), help='the first so many')
    args = parser.parse_args()
    plan = QUICK if args.quick else Plan()
    record = Record('end_to_end', args.quick)
    with tempfile.TemporaryDirectory() as scratch, Rig() as rig:
        nodes = contestants(Path(scratch))
        record.progress('the models are written')
        if args.only:
            nodes = [node for node in nodes if node.name in args.only]
        for node in nodes:
            record.progress(f'{node.name}: first label after {rig.start(node):.1f} s')
        results: dict[str, Any] = {
            'titles': {node.name: node.title for node in nodes},
            'outputs': {node.name: node.outputs for node in nodes},
            'scenes': {},
        }
        for scene in SCENES[: args.scenes]:
            results['scenes'][scene.name] = measure_scene(rig, nodes, scene, plan, record)
            plan = replace(plan, rounds=plan.further_rounds)
        ours = [node for node in nodes if node.module == 'seg_ros']
        results['accounts'] = {
            node.name: account(rig, node, find_pace(rig, node, VGA), plan) for node in ours
        }
    record.write(results, args.results)


if __name__ == '__main__':
    main()
