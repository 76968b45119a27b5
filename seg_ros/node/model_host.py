"""The model that runs, and the one that is being loaded beside it."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import TYPE_CHECKING

import cv2
from rclpy.task import Future

from seg_ros.backends import AUTO
from seg_ros.cpu_quota import cpu_quota
from seg_ros.model_card import read_model_card
from seg_ros.node.label_scheme import Serving, build_label_scheme
from seg_ros.node.lifecycle import StoppedError
from seg_ros.node.runtime import join, release_free_memory
from seg_ros.segmenter import Segmenter, find_model, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from seg_ros.node.config import NodeConfig

LOAD_LIMIT_S = 300.0  # TensorRT builds an engine in minutes
_MAX_HUNG = 2  # each keeps its memory


def load_segmenter(config: NodeConfig) -> Segmenter:
    """Load the model of a config; it was verified and run once then.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If it cannot be used, or not on the device that ``require_device`` names.
    """
    if threads := config.num_threads or cpu_quota():
        cv2.setNumThreads(threads)
    segmenter = load(
        config.model,
        backend=config.backend,
        precision=config.precision,
        num_threads=config.num_threads,
        device=config.require_device or AUTO,
        max_batch=len(config.image_topics) if config.batch_timeout_ms else 1,
    )
    device, required = segmenter.backend.device, config.require_device
    if required and device != required:
        raise ValueError(
            f'require_device is {required!r}; {segmenter.backend.name} runs on {device!r}'
        )
    release_free_memory()
    return segmenter


class _Load:
    """A model that is being loaded, in a thread of its own."""

    def __init__(self, config: NodeConfig) -> None:
        self.name = config.model
        self.future = Future()
        self.thread = threading.Thread(
            target=self._run, args=(config,), name='model loader', daemon=True
        )
        self._began_s = time.monotonic()
        self.thread.start()

    @property
    def took_s(self) -> float:
        """Time since it began."""
        return time.monotonic() - self._began_s

    def give_up(self) -> None:
        """Let whoever awaits it go on without it."""
        if not self.future.done():
            error = TimeoutError(f'it was not loaded within {self.took_s:.0f} s and is given up')
            self.future.set_exception(error)

    def _run(self, config: NodeConfig) -> None:
        try:
            segmenter = load_segmenter(config)
        except Exception as error:  # handed on to whoever awaits the future
            if not self.future.done():
                self.future.set_exception(error)
        else:
            if not self.future.done():
                self.future.set_result(segmenter)


class ModelHost:
    """Keeps what is served and replaces it as a whole.

    Used by the executor's thread. Models are loaded in threads of their own: signals are heeded
    while the first one is loaded, and neither the executor nor the worker waits for another one.
    A load that does not end is given up, and the next one may begin.

    Args:
        on_serving: Called with what is to be served from now on.
        load_limit_s: How long a model may take to load.
    """

    def __init__(
        self, on_serving: Callable[[Serving], None], load_limit_s: float = LOAD_LIMIT_S
    ) -> None:
        self._on_serving = on_serving
        self._load_limit_s = load_limit_s
        self._load: _Load | None = None
        self._hung: list[_Load] = []
        self.serving: Serving | None = None  # None while unconfigured
        self.running = ''  # the parameter `model` that led to it

    @property
    def is_loading(self) -> bool:
        """Whether another model is being loaded."""
        return self._load is not None and self._load.thread.is_alive()

    def watch(self) -> None:
        """Give up a load that takes too long; to be called once in a while."""
        if (load := self._load) is not None and load.took_s > self._load_limit_s:
            self._abandon(load)

    def load(self, config: NodeConfig, stop: threading.Event) -> Segmenter:
        """Load a model and wait for it.

        Raises:
            StoppedError: Once ``stop`` is set.
            TimeoutError: If it takes too long.
            ValueError, FileNotFoundError: See ``load_segmenter``.
        """
        load = self._begin(config)
        join(load.thread, self._load_limit_s, stop)
        if not load.future.done():
            if stop.is_set():
                raise StoppedError
            self._abandon(load)
        self._load = None
        segmenter: Segmenter = load.future.result()
        return segmenter

    def start(self, segmenter: Segmenter, config: NodeConfig) -> None:
        """Serve a model that is loaded.

        Raises:
            ValueError, FileNotFoundError: If the config does not fit it; nothing changes then.
        """
        present = self.serving.scheme if self.serving else None
        scheme = build_label_scheme(segmenter.card.classes, config, present)
        self.running = config.model
        self._serve(Serving(segmenter, scheme, config))

    def release(self) -> None:
        """Unload the model."""
        self.serving = None
        self.running = ''

    def check(self, config: NodeConfig, present: NodeConfig) -> None:
        """Refuse a config that would not work. Takes milliseconds: weights are not read.

        Raises:
            ValueError: If parameters do not fit the model, or another one is being loaded.
            FileNotFoundError: If there is no such model or file.
        """
        if self.serving is None:
            return
        classes = self.serving.segmenter.card.classes
        if config.model != self.running:
            if self.is_loading and config.model != present.model:
                raise ValueError(f'model: {present.model!r} is still being loaded')
            classes = read_model_card(find_model(config.model)).classes
        build_label_scheme(classes, config, self.serving.scheme)

    def take(self, config: NodeConfig) -> None:
        """Serve the running model under other parameters."""
        assert self.serving is not None
        if config.model == self.running:
            self.start(self.serving.segmenter, config)
        else:
            # Classes wait for the model that they were set with, thresholds do not.
            self._serve(dataclasses.replace(self.serving, config=config))

    async def replace(self, config: Callable[[], NodeConfig]) -> str:
        """Load the model of the parameters beside the running one, then serve it.

        Args:
            config: Gives the present config; it may change while the model is loaded.

        Returns:
            Why not, the running one goes on then; empty after success.
        """
        before, name = self.serving, config().model
        if before is None:
            return 'the node is not configured'
        if self.is_loading:
            return 'another model is still being loaded'
        try:
            segmenter = await self._awaited(self._begin(config()))
            if self.serving is None or self.serving.segmenter is not before.segmenter:
                return 'the node was cleaned up or took another model meanwhile'
            if config().model != name:
                return f'the parameter model became {config().model!r} meanwhile'
            self.start(segmenter, config())
        except Exception as error:  # engines throw what they like; the running model goes on
            return str(error) or type(error).__name__
        return ''

    def _serve(self, serving: Serving) -> None:
        previous, self.serving = self.serving, serving
        try:
            self._on_serving(serving)
        except Exception:
            self.serving = previous
            raise

    async def _awaited(self, load: _Load) -> Segmenter:
        """What a load brings; it is let go of then, as it would keep the model or the error."""
        try:
            segmenter: Segmenter = await load.future
        finally:
            if self._load is load:
                self._load = None
        return segmenter

    def _abandon(self, load: _Load) -> None:
        self._load = None
        self._hung.append(load)
        load.give_up()

    def _begin(self, config: NodeConfig) -> _Load:
        self._hung = [load for load in self._hung if load.thread.is_alive()]
        if len(self._hung) >= _MAX_HUNG:
            names = ', '.join(load.name for load in self._hung)
            raise ValueError(f'{names} never ended to load; restart the node')
        self._load = _Load(config)
        return self._load
