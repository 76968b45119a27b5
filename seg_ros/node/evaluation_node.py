"""Scores a running segmentation node against a topic of true labels."""

from __future__ import annotations

import functools
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from std_msgs.msg import String

from seg_ros.bags import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE, header_stamp_ns
from seg_ros.evaluation.live import PARTS, LatencyFrom, LiveEvaluation, Part
from seg_ros.evaluation.page import save_page
from seg_ros.evaluation.report import Report, build_report, headline, save_json
from seg_ros.evaluation.scoring import Scoring
from seg_ros.model_card import GRAPH_FILE, ModelCard, load_model_card
from seg_ros.node.config import COMPRESSED
from seg_ros.node.evaluation_config import EvaluationConfig
from seg_ros.node.message_types import message_class
from seg_ros.node.messages import from_class_names
from seg_ros.node.parameter_service import ParameterService
from seg_ros.node.parameters import declare_parameters
from seg_ros.node.publisher import LATCHED, create_publisher
from seg_ros.node.qos_overrides import check_qos_overrides, overriding_options
from seg_ros.result_files import demand_place
from seg_ros.segmenter import find_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seg_ros.model_card import ClassInfo

_CLASS_NAMES = 'segmentation/class_names'
_QUEUE_DEPTH = 50  # messages; the evaluator must not be what loses them
_REPORT_PERIOD_S = 1.0
_BAD_INPUT, _BELOW = 2, 1


class EvaluationNode(Node):
    """Subscribes to image, truth, label mask and confidence; publishes scores; ends with a report.

    Args:
        defaults: Config with the values of those parameters that nobody gives.
        arguments: What ``rclpy.init`` got; None: the process's own, as there.

    Raises:
        ValueError: If a parameter is unknown or wrong.
        FileNotFoundError: If there is no such model.
        FileExistsError: If a report exists that may not be replaced.
    """

    def __init__(
        self, defaults: EvaluationConfig | None = None, arguments: Sequence[str] | None = None
    ) -> None:
        super().__init__('evaluation', start_parameter_services=False)
        self.config = declare_parameters(self, defaults or EvaluationConfig(), arguments)
        check_qos_overrides(self)
        self._parameter_service = ParameterService(self, self.config)
        for name in filter(None, (self.config.json, self.config.html)):
            demand_place(Path(name), overwrite=self.config.overwrite)
        self.is_done = False
        self._card: ModelCard | None = None
        self._live: LiveEvaluation | None = None
        self._tested: dict[str, str] = {}  # what the node under test says of itself
        self._is_ready = False
        self._started_s = self._last_s = time.monotonic()
        self._topics = {part: self._subscribe(part) for part in PARTS}
        self._report = create_publisher(self, DiagnosticArray, '~/report')
        self._report_json = create_publisher(self, String, '~/report_json')
        if self.config.model:
            self._card = load_model_card(find_model(self.config.model))
            self._begin(self._card.classes)
        else:
            self.create_subscription(String, _CLASS_NAMES, self._take_class_names, LATCHED)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._take_diagnostics, 10)
        self._last_report_s = -math.inf
        # Not a ROS timer: it would stand still with a simulated clock.
        self._timer = self.create_timer(
            0.1, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def _subscribe(self, part: Part) -> str:
        """Subscribe to the serialised messages of a part; returns the resolved topic."""
        config = self.config
        name, compressed, reliable = {
            'image': ('image', config.image_transport == COMPRESSED, config.reliability),
            'truth': (
                'ground_truth/labels',
                config.truth_transport == COMPRESSED,
                config.reliability,
            ),
            'label_mask': ('segmentation/label_mask', False, 'reliable'),
            'confidence': ('segmentation/confidence', False, 'reliable'),
        }[part]
        topic = self.resolve_topic_name(name)
        if compressed and not topic.endswith(f'/{COMPRESSED}'):
            topic = f'{topic}/{COMPRESSED}'
        kind = COMPRESSED_IMAGE_TYPE if compressed else IMAGE_TYPE
        is_reliable = reliable == 'reliable'
        self.create_subscription(
            message_class(kind),
            topic,
            functools.partial(self._receive, part, kind),
            QoSProfile(
                reliability=(
                    ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT
                ),
                durability=DurabilityPolicy.VOLATILE,
                history=HistoryPolicy.KEEP_LAST,
                depth=_QUEUE_DEPTH,
            ),
            qos_overriding_options=overriding_options(self, topic, 'subscription'),
            raw=True,
        )
        return topic

    def _receive(self, part: Part, kind: str, data: bytes) -> None:
        if self._live is None:
            return
        now_s = self._last_s = time.monotonic()
        age_ms = self._age_ms(data) if part == 'label_mask' else math.nan
        self._live.receive(part, kind, data, now_s, age_ms)

    def _age_ms(self, data: bytes) -> float:
        try:
            stamp_ns = header_stamp_ns(data)
        except ValueError:  # which the evaluation lists as such
            return math.nan
        clock = self.get_clock()
        stamp = Time(nanoseconds=max(0, stamp_ns), clock_type=clock.clock_type)
        return float((clock.now() - stamp).nanoseconds) / 1e6

    def _take_class_names(self, message: String) -> None:
        if self._live is not None:
            return
        try:
            self._begin(from_class_names(message.data))
        except ValueError as error:  # others may come
            self.get_logger().error(f'{_CLASS_NAMES}: {error}')

    def _begin(self, classes: Sequence[ClassInfo]) -> None:
        config = self.config
        latency_from = config.latency_from
        if latency_from == 'auto' and self.get_parameter('use_sim_time').value:
            latency_from = 'arrival'  # a simulated clock moves in steps of a whole inference
        scoring = Scoring(
            classes,
            void_ids=[value for value in config.void_ids if value != 255],
            with_boundary=config.boundary,
        )
        self._live = LiveEvaluation(
            scoring,
            ('truth', 'label_mask'),
            drop_after_s=config.drop_after_s,
            latency_from=cast('LatencyFrom', latency_from),
        )

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        publishers = self.get_publishers_info_by_topic(self._topics['label_mask'])
        names = {f'{p.node_namespace.rstrip("/")}/{p.node_name}'.strip('/') for p in publishers}
        for status in message.status:
            values = {entry.key: entry.value for entry in status.values}
            if status.name.partition(':')[0] in names and 'backend' in values:
                self._tested = values

    def _tick(self) -> None:
        now_s = time.monotonic()
        config = self.config
        if self._live is not None:
            present = {part for part in PARTS if self.count_publishers(self._topics[part])}
            # What came once is expected from then on: a player that ends takes its topics along.
            self._live.expected |= present
            self._live.settle(now_s)
            self._announce(present)
        heard = self._last_s > self._started_s
        if not heard and config.start_within_s and now_s - self._started_s > config.start_within_s:
            self.get_logger().error(f'nothing to score came within {config.start_within_s:g} s')
            self.is_done = True
        if heard and config.quiet_after_s and now_s - self._last_s > config.quiet_after_s:
            self.is_done = True
        if self._live is not None and now_s - self._last_report_s > _REPORT_PERIOD_S:
            self._last_report_s = now_s
            self._publish()

    def _announce(self, present: set[Part]) -> None:
        """Say once that images may come: launch files start the player on this line."""
        # The node under test and this one listen to the images.
        listeners = self.count_subscribers(self._topics['image'])
        if not self._is_ready and 'label_mask' in present and listeners >= 2:
            self._is_ready = True
            self.get_logger().info('ready: the node under test listens and its masks are offered')

    def _publish(self) -> None:
        assert self._live is not None
        with self._live.lock:
            self._live.measure()
            content = headline(self._live.scoring)
        self._report_json.publish(String(data=json.dumps(content)))
        values = [
            KeyValue(key=key, value=_text(content[key]))
            for key in ('frames', 'scored', 'dropped', 'miou', 'pixel_accuracy', 'class_accuracy')
        ]
        for group in ('iou', 'latency_ms'):
            values += [
                KeyValue(key=f'{group}/{name}', value=_text(value))
                for name, value in content[group].items()
            ]
        status = DiagnosticStatus(
            name=f'{self.get_fully_qualified_name().strip("/")}: evaluation', values=values
        )
        status.level, status.message = self._judge(content)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._report.publish(message)

    def _judge(self, content: dict[str, Any]) -> tuple[bytes, str]:
        if not content['scored']:
            return DiagnosticStatus.WARN, 'nothing scored yet'
        if content['miou'] < self.config.min_miou:
            return DiagnosticStatus.ERROR, f'mIoU is below {self.config.min_miou:g}'
        if content['dropped']:
            return DiagnosticStatus.WARN, f'{content["dropped"]} frames dropped'
        return DiagnosticStatus.OK, 'scoring'

    def finish(self) -> int:
        """Score what is left and write the report.

        Returns:
            0; 1 below ``min_miou`` or ``min_scored``; 2 when nothing came or could be scored.
        """
        if self._live is None:
            self.get_logger().error(f'no classes came on {_CLASS_NAMES}: nothing was scored')
            return _BAD_INPUT
        self._live.finish()
        scoring = self._live.scoring
        report = build_report(
            scoring,
            model=self._tested.get('model_name') or (self._card.name if self._card else 'unknown'),
            backend=self._tested.get('backend', 'unknown'),
            source={'kind': 'live', **{str(k): topic for k, topic in self._topics.items()}},
            card=self._card or self._find_card(),
            timing={
                **self._live.measure(),
                'device': self._tested.get('device'),
                'precision': self._tested.get('precision'),
            },
            examples=self._live.examples.chosen(),
        )
        log = self.get_logger()
        miou = report.content['miou']
        log.info(
            f'{scoring.frames} frames, {scoring.scored} scored, {len(scoring.dropped_s)} dropped, '
            f'mIoU {_text(miou)}, latency {report.content["latency_ms"]}'
        )
        for line in scoring.skips.lines():
            log.warning(f'skipped: {line}')
        is_saved = self._save(report)
        status = self._verdict(scoring, miou)
        return status if is_saved else _BAD_INPUT

    def _verdict(self, scoring: Scoring, miou: float | None) -> int:
        """Exit status of a finished evaluation; says why where it is not 0."""
        config, log = self.config, self.get_logger()
        assert self._live is not None
        asked = max(self._live.truths, config.expected_labels)
        figure = f'{scoring.scored} of {asked} true labels were scored'
        if not scoring.scored or miou is None:
            log.error('no frame came back' if not scoring.frames else figure)
            return _BAD_INPUT
        status = 0
        if scoring.scored < config.min_scored * asked:
            log.error(
                f'{figure}, a smaller share than min_scored {config.min_scored:g}; play the bag '
                'more slowly (rate), or set min_scored'
            )
            status = _BELOW
        if miou < config.min_miou:
            log.error(f'mIoU {miou:.4f} is below min_miou {config.min_miou:g}')
            status = _BELOW
        return status

    def _save(self, report: Report) -> bool:
        """Write what was asked for; the scores are in the log already."""
        is_complete = True
        for name, save in (
            (self.config.json, lambda path: save_json(report.content, path)),
            (self.config.html, lambda path: save_page(report, path)),
        ):
            try:
                if name:
                    save(Path(name))
            except ValueError as error:
                self.get_logger().error(str(error))
                is_complete = False
        return is_complete

    def _find_card(self) -> ModelCard | None:
        """The card of the model under test, where it is the one that lies here."""
        try:
            card = load_model_card(find_model(self._tested['model_name']))
        except (KeyError, ValueError, OSError, RuntimeError):  # a name that a stranger sent
            return None
        return card if card.files.get(GRAPH_FILE) == self._tested.get('model_sha256') else None


def _text(value: Any) -> str:
    if value is None:
        return 'nan'
    return f'{value:.4f}' if isinstance(value, float) else str(value)
