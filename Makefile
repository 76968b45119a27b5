# make demo    runtime only (no torch): plays a labelled bag through the node, see demo_out/
# make test    development extras and the whole suite
# make lint    ruff and mypy
# make bench   start-up and memory of the node; with CAMVID=path the training loop as well
# make test-ros   the ROS tests on the wheels of Kilted and of Jazzy
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
JAZZY_VENV ?= .venv-jazzy
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check

BAG ?=
TOPIC ?=
MODEL ?= robocup_mini_unet
RATE ?=
OUT ?= demo_out

export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST

.PHONY: demo test test-ros lint format bench clean

demo: $(VENV)/.runtime
	$(BIN)/python -m seg_ros demo --model '$(MODEL)' --out '$(OUT)' \
	  $(if $(BAG),--bag '$(BAG)') $(if $(TOPIC),--topic '$(TOPIC)') $(if $(RATE),--rate '$(RATE)')

test: $(VENV)/.dev
	$(BIN)/pytest

# Jazzy's wheels live in an environment of their own.
test-ros: $(VENV)/.dev $(JAZZY_VENV)/.ros
	$(BIN)/pytest -m ros test/node
	$(JAZZY_VENV)/bin/pytest -m ros test/node

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python bench/startup.py --model '$(MODEL)'
	$(if $(CAMVID),$(BIN)/python bench/training_loop.py --data '$(CAMVID)',\
	  @echo 'bench/training_loop.py needs a CamVid folder: make bench CAMVID=path')

%/bin/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "seg_ros needs Python 3.11+"'
	$(PYTHON) -m venv $* || { echo 'venv is missing: apt-get install python3-venv'; exit 1; }

$(VENV)/.runtime: setup.py constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e '.[runtime,ros]'
	touch $@

# torch and torchvision from the same index: a lone CPU torch breaks torchvision.
$(VENV)/.dev: setup.py constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e '.[runtime,ros,train,test]'
	touch $@ $(VENV)/.runtime

$(JAZZY_VENV)/.ros: setup.py constraints.txt | $(JAZZY_VENV)/bin/python
	$(JAZZY_VENV)/bin/pip --disable-pip-version-check install -q -c constraints.txt -e '.[runtime,ros-jazzy,test]'
	touch $@

clean:
	rm -rf build demo_out *.egg-info .pytest_cache .mypy_cache .ruff_cache
