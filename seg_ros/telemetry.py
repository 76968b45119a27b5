"""Keeps the engines from reporting to their makers; imported before any of them.

OpenVINO and NNCF report each import where the package ``openvino_telemetry`` is installed, and
pip installs it beside OpenVINO. ONNX Runtime does so by itself from 1.29 on. Both leave an
identity under the home directory, and a process on a network without an answer ends late. A robot
talks to nobody but its neighbours.
"""

import os
import sys

# None lets an import of it fail, and both do without it.
sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
os.environ['ORT_DISABLE_TELEMETRY'] = '1'
