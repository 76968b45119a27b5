# make demo    runtime only (no torch): plays a labelled bag through the node, see demo_out/
# make test    development extras and the whole suite
# make lint    ruff and mypy
# make bench   every benchmark, a quarter of an hour on an idle machine, and docs/benchmarks.md;
#              QUICK=1 for a short look, CAMVID=path for the training loop as well
# make test-ros   the ROS tests on the wheels of Jazzy and of Kilted; test-kilted: of Kilted only
# make vision-msgs   vision_msgs for the wheels, which lack it (needs g++ and Python's headers)
# make test-ros-repeat   the ROS tests REPEAT=20 times in random order
# make fuzz    20,000 bad frames, bags, models and parameters; bench/results/fuzz.json, README's
#              table
# make soak    SOAK_MINUTES=30 of load with faults, 50 killed trainings; bench/results/soak.json,
#              README's table
# make lock    requirements/*.txt anew, with the hash of every file
# make audit   known vulnerabilities of the locked packages; needs pypi.org
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
KILTED_VENV ?= .venv-kilted
LOCK_VENV ?= .venv-lock
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check

BAG ?=
TOPIC ?=
MODEL ?= robocup_mini_unet
RATE ?=
OUT ?= demo_out
TEST_WORKERS ?= 2
REPEAT ?= 20
REPEAT_AT_ONCE ?= 3
FUZZ_CASES ?= 20000
SOAK_MINUTES ?= 30

export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST

.PHONY: demo test test-ros test-kilted test-ros-repeat fuzz soak vision-msgs lock audit lint format bench clean

demo: $(VENV)/.runtime
	$(BIN)/python -m seg_ros demo --model '$(MODEL)' --out '$(OUT)' --overwrite \
	  $(if $(BAG),--bag '$(BAG)') $(if $(TOPIC),--topic '$(TOPIC)') $(if $(RATE),--rate '$(RATE)') \
	  $(if $(VOID_IDS),--void-ids $(VOID_IDS))

# Without a compiler the tests of vision_msgs are skipped. OpenGL has a process of its own: Mesa's
# LLVM and that of PyTorch do not belong into one.
# Each file stays in one worker, as its tests share nodes and nets.
PARALLEL := -n $(TEST_WORKERS) --dist loadfile
RENDERING := test/scenes test/commands/test_render.py test/datasets/test_robocup_scenes.py
test: $(VENV)/.dev
	-$(BIN)/python interfaces/vision_msgs/build.py
	$(BIN)/pytest $(PARALLEL) $(RENDERING)
	$(BIN)/pytest $(PARALLEL) $(RENDERING:%=--ignore=%)

test-ros: $(VENV)/.dev test-kilted
	-$(BIN)/python interfaces/vision_msgs/build.py
	$(BIN)/pytest -m ros $(PARALLEL) test/node

# Kilted's wheels live in an environment of their own.
test-kilted: $(KILTED_VENV)/.ros
	-$(KILTED_VENV)/bin/python interfaces/vision_msgs/build.py
	$(KILTED_VENV)/bin/pytest -m ros $(PARALLEL) test/node

vision-msgs: $(VENV)/.runtime
	$(BIN)/python interfaces/vision_msgs/build.py

# Every round in another order and, as it is another process, in another ROS domain; several at
# once, as the tests wait more than they compute. All rounds are run; those that fail are shown.
test-ros-repeat: $(VENV)/.dev
	seq $(REPEAT) | xargs -P $(REPEAT_AT_ONCE) -I{} bash -c '\
	  if out=$$($(BIN)/pytest -q -m ros test/node test/robustness 2>&1); then \
	  echo "round {}: $${out##*$$'\''\n'\''}"; else echo "round {}: $$out"; exit 1; fi'

fuzz: $(VENV)/.dev
	$(BIN)/python -m test.robustness.fuzz --cases $(FUZZ_CASES)
	$(BIN)/python -m test.robustness.report --write README.md

soak: $(VENV)/.dev
	$(BIN)/python -m test.robustness.soak --minutes $(SOAK_MINUTES) --model '$(MODEL)'
	$(BIN)/python -m test.robustness.report --write README.md

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A short look is written beside the recorded results, not over them.
BENCH_OUT := $(if $(QUICK),bench_out,bench/results)
BENCH := $(if $(QUICK),--quick) --results '$(BENCH_OUT)'

bench: $(VENV)/.bench
	@echo "$$(date -u +%H:%M:%S) load average $$(cut -d' ' -f1 /proc/loadavg)"
	$(BIN)/python -m bench.net_only $(BENCH)
	$(BIN)/python -m bench.end_to_end $(BENCH)
	$(BIN)/python -m bench.scaling $(BENCH)
	$(BIN)/python -m bench.startup $(BENCH) --model '$(MODEL)'
	$(if $(CAMVID),$(BIN)/python -m bench.training_loop $(BENCH) --data '$(CAMVID)',\
	  @echo 'bench.training_loop needs a CamVid folder: make bench CAMVID=path')
	$(BIN)/python -m bench.report --results '$(BENCH_OUT)' $(if $(QUICK),,--write docs/benchmarks.md)
	@echo "$$(date -u +%H:%M:%S) done"

%/bin/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 10), "seg_ros needs Python 3.10+"'
	$(PYTHON) -m venv $* || { echo 'venv is missing: apt-get install python3-venv'; exit 1; }

# Only files whose hash is in the repository are installed, built by a setuptools of the same kind.
# The list is complete but for openvino-telemetry, which openvino names and does without.
$(VENV)/.runtime: setup.py requirements/build.txt requirements/runtime.txt | $(BIN)/python
	$(PIP) install -q --require-hashes -r requirements/build.txt
	$(PIP) install -q --require-hashes --no-deps --no-build-isolation -r requirements/runtime.txt
	$(PIP) install -q --no-deps --no-build-isolation -e .
	touch $@

$(LOCK_VENV)/.tools: | $(LOCK_VENV)/bin/python
	$(LOCK_VENV)/bin/pip --disable-pip-version-check install -q uv==0.13.9 pip-audit==2.10.1
	touch $@

COMPILE := $(LOCK_VENV)/bin/uv pip compile -q --generate-hashes --universal --python-version 3.10 \
  --no-annotate --custom-compile-command 'make lock' -c constraints.txt
lock: $(LOCK_VENV)/.tools
	$(COMPILE) --no-emit-package openvino-telemetry setup.py --extra runtime --extra ros -o requirements/runtime.txt
	$(COMPILE) requirements/build.in -c requirements/runtime.txt -o requirements/build.txt

# A package that the service does not know counts as a failure, not as harmless.
audit: $(LOCK_VENV)/.tools
	@$(LOCK_VENV)/bin/pip-audit --strict --disable-pip --require-hashes \
	  -r requirements/runtime.txt || { echo; \
	  echo 'NOT PASSED: vulnerabilities are listed above, or pypi.org could not be asked'; \
	  echo 'for all packages: then nothing is known about them.'; exit 1; }

# torch and torchvision from the same index: a lone CPU torch breaks torchvision.
$(VENV)/.dev: setup.py constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e '.[runtime,ros,train,quantize,test]'
	touch $@ $(VENV)/.runtime

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) install -q -c constraints.txt -e '.[bench]'
	touch $@

$(KILTED_VENV)/.ros: setup.py constraints.txt | $(KILTED_VENV)/bin/python
	$(KILTED_VENV)/bin/pip --disable-pip-version-check install -q -c constraints.txt -e '.[runtime,ros-kilted,test]'
	touch $@

clean:
	rm -rf build demo_out bench_out *.egg-info .pytest_cache .mypy_cache .ruff_cache
