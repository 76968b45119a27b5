"""Models that take their time, or never come: loaded beside the one that runs."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from seg_ros.node import model_host
from seg_ros.node.config import NodeConfig
from seg_ros.node.lifecycle import StoppedError
from seg_ros.node.model_host import ModelHost
from seg_ros.segmenter import load
from test.node.conftest import wait_for


@pytest.fixture
def first(primary_model):
    return NodeConfig(model=str(primary_model), backend='onnxruntime')


@pytest.fixture
def gate(monkeypatch, primary_model):
    """Loads of a model called ``gated`` wait for this event."""
    gate = threading.Event()
    segmenter = load(primary_model, backend='onnxruntime')

    def load_segmenter(config):
        if config.model == 'broken':
            raise ValueError('no graph')
        if config.model == 'gated':
            gate.wait()
        return segmenter

    monkeypatch.setattr(model_host, 'load_segmenter', load_segmenter)
    yield gate
    gate.set()


@pytest.fixture
def host(first, gate):
    host = ModelHost(lambda _: None, load_limit_s=0.05)
    host.start(host.load(first, threading.Event()), first)
    return host


def begin(host, model):
    """Replace the model; returns what gives the answer once there is one."""
    config = NodeConfig(model=model, backend='onnxruntime')
    replacing = host.replace(lambda: config)

    def answer():
        try:
            replacing.send(None)
        except StopIteration as done:
            return (done.value,)
        return None

    return answer


def test_a_load_that_does_not_end_is_given_up_and_the_next_one_begins(host, gate, first):
    hung = begin(host, 'gated')
    assert hung() is None
    assert host.is_loading
    assert begin(host, 'other')() == ('another model is still being loaded',)

    def given_up():
        host.watch()
        return hung()

    (reason,) = wait_for(given_up)
    assert 'was not loaded within' in reason
    assert not host.is_loading
    assert host.running == first.model
    other = begin(host, 'other')
    assert wait_for(other) == ('',)
    assert host.running == 'other'


def test_what_a_given_up_load_brings_too_late_is_not_served(host, gate, first):
    hung = begin(host, 'gated')
    assert hung() is None
    thread = host._load.thread
    wait_for(lambda: (host.watch(), hung())[1])
    gate.set()
    thread.join()
    assert host.running == first.model
    assert host.serving.config is first


def test_loads_that_never_end_do_not_pile_up(host, gate):
    for _ in range(2):
        hung = begin(host, 'gated')
        assert hung() is None
        wait_for(lambda hung=hung: (host.watch(), hung())[1])
    (reason,) = wait_for(begin(host, 'other'))
    assert 'gated, gated never ended to load; restart the node' in reason
    gate.set()
    wait_for(lambda: begin(host, 'other')() != (reason,), what='a load after the hung ones ended')


def test_the_first_load_is_given_up_at_its_limit_and_at_a_signal(first, gate):
    gated = NodeConfig(model='gated', backend='onnxruntime')
    with pytest.raises(TimeoutError, match='was not loaded within'):
        ModelHost(lambda _: None, load_limit_s=0.05).load(gated, threading.Event())
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(StoppedError):
        ModelHost(lambda _: None).load(gated, stop)


def test_a_broken_model_leaves_the_running_one(host, first):
    assert wait_for(begin(host, 'broken')) == ('no graph',)
    assert host.running == first.model
    assert not host.is_loading


def test_the_model_that_was_replaced_is_let_go(host, monkeypatch):
    """A load that is over must not keep what it loaded, once that is replaced."""
    import gc
    import weakref

    class Plain:
        """Stands for a segmenter; can be watched."""

        def __init__(self):
            self.card = host.serving.segmenter.card

    monkeypatch.setattr(model_host, 'load_segmenter', lambda _: Plain())
    assert wait_for(begin(host, 'one')) == ('',)
    old = weakref.ref(host.serving.segmenter)
    assert wait_for(begin(host, 'two')) == ('',)
    gc.collect()
    assert old() is None
