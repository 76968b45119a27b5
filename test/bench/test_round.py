"""A whole round over real DDS, short: two nodes beside each other, and the page of it."""

from __future__ import annotations

import json

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('torch', reason='the benchmarks compare with PyTorch')

from bench import report
from bench.contestant import Contestant, seg_ros_node
from bench.end_to_end import Plan, Scene, account, measure_scene
from bench.frames import VGA
from bench.goals import FIRST_SCENE
from bench.rates import find_pace
from bench.record import Record
from bench.rig import Rig
from test.bench.float_graph import write_primary_graph

PLAN = Plan(rounds=1, slot_s=0.2, peak_s=0.2, overload_s=0.2)


@pytest.mark.ros
def test_a_round_gives_latency_rate_and_cost_of_every_node(primary_model, tmp_path):
    ours = seg_ros_node('seg_ros_mini_unet', 'ours', str(primary_model), class_names=['red'])
    graph = write_primary_graph(tmp_path / 'net.onnx')
    theirs = Contestant('tutorial', 'theirs', 'bench.tutorial_node', ('--graph', str(graph)))
    record = Record('end_to_end', quick=True)
    with Rig() as rig:
        for node in (ours, theirs):
            assert rig.start(node) > 0
        scene = Scene(FIRST_SCENE, VGA, all_outputs=True, with_overload=True)
        scenes = {scene.name: measure_scene(rig, [ours, theirs], scene, PLAN, record)}
        accounts = {ours.name: account(rig, ours, find_pace(rig, ours, VGA), PLAN)}
    for row in scenes[FIRST_SCENE].values():
        assert row['samples'] >= 3
        assert 0 < row['p50_ms'] <= row['p95_ms'] <= row['p99_ms'] <= row['max_ms']
        assert row['last_output_p50_ms'] > 0
        assert row['rss_mb'] > 10
        assert row['overload']['samples'] > 0
    assert scenes[FIRST_SCENE][ours.name]['last_output'] == 'overlay'
    parts = accounts[ours.name]
    assert parts['backend'] == 'openvino'
    assert all(parts[key] > 0 for key in ('inference_time_ms', 'processing_time_ms', 'latency_ms'))

    titles = {node.name: node.title for node in (ours, theirs)}
    record.write({'titles': titles, 'scenes': scenes, 'accounts': accounts}, tmp_path)
    written = (tmp_path / 'end_to_end.json').read_text(encoding='utf-8')
    assert json.loads(written)['conditions']['quick'] is True
    assert str(tmp_path) not in written
    text = report.page(report.load_results(tmp_path))
    assert '| theirs |' in text
    assert 'Short version: a look, no result.' in text
