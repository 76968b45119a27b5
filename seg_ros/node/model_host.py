"""The model that runs, and the one that is being loaded beside it."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

import cv2
from rclpy.task import Future

from seg_ros.backends import AUTO
from seg_ros.model_card import read_model_card
from seg_ros.node.label_scheme import Serving, build_label_scheme
from seg_ros.node.runtime import release_free_memory
from seg_ros.segmenter import Segmenter, find_model, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from seg_ros.node.config import NodeConfig


def load_segmenter(config: NodeConfig) -> Segmenter:
    """Load the model of a config; it was verified and run once then.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If it cannot be used, or not on the device that ``require_device`` names.
    """
    if config.num_threads:
        cv2.setNumThreads(config.num_threads)
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


class ModelHost:
    """Keeps what is served and replaces it as a whole.

    Used by the executor's thread. Another model is loaded in a thread of its own: neither the
    executor nor the worker waits for it.

    Args:
        on_serving: Called with what is to be served from now on.
    """

    def __init__(self, on_serving: Callable[[Serving], None]) -> None:
        self._on_serving = on_serving
        self._thread: threading.Thread | None = None
        self.serving: Serving | None = None  # None while unconfigured
        self.running = ''  # the parameter `model` that led to it

    @property
    def is_loading(self) -> bool:
        """Whether another model is being loaded."""
        return self._thread is not None and self._thread.is_alive()

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
            segmenter = await self._load_beside(config())
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

    def _load_beside(self, config: NodeConfig) -> Future:
        future = Future()

        def work() -> None:
            try:
                segmenter = load_segmenter(config)
            except Exception as error:  # handed on to whoever awaits the future
                future.set_exception(error)
            else:
                future.set_result(segmenter)

        self._thread = threading.Thread(target=work, name='model loader', daemon=True)
        self._thread.start()
        return future
