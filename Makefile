# make help     these lines
# make repro    every figure, from the data: environment, then `dvc repro`
# make test     environment, then the tests without the long ones
# make test-all every test: the whole pipeline on a small profile, servers, a browser, faults, long chains too
# make committed  do README, paper and observations agree with the released numbers and the code?
# make lint     style of code and notebooks, order of imports, types
# make readme   numbers of README.md from the committed metrics
# make paper    the paper as PDF, its numbers and tables (needs LaTeX)
# make figures  every figure of the recorded run (in a clone, the release) again, from what is kept of it (half a minute)
# make verify   each claim, and every metric, of this run against the published ones
# make page     figures, tables and a posterior explorer in one file, paper/site/index.html
# make site     guide, notebooks, figures and code as pages, paper/site/html/index.html (fetches one public map)
# make bench    table of times, memory and accuracy
# make descent  fit of the sharpening of N-body boxes to halofit (10 minutes)
# make published  statistics of the public MassiveNuS map (needs that map)
# make glimpse  the map of the bright galaxies beside a public one (needs that map)
# make ablation variants of the network, ten minutes of one core each, and their table (two hours)
# make learning the learning curve: boxes, weights and steps, two seeds each (two hours)
# make release  keep the results of a long run (profile reference or paper) in data/released
# make recheck  does this code make the released calibration? (samples four of its mocks and a field; 3 minutes)
# make guide    generated parts of paper/guide: every parameter, and the plan of the code
# make lock     newest versions that fit pyproject.toml, with hashes (needs uv)
# Another Python: make repro PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/ready
NO_GIT := $(if $(wildcard .git),,no-git)
PIP := $(VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-input --no-deps
# uv installs in half a minute, pip in several; pip is used where there is no uv, or where uv fails. Packages are compiled
# at once: where Python may not write bytecode (PYTHONDONTWRITEBYTECODE), each stage would compile TensorFlow anew, 7 s
UV := $(shell command -v uv || { $(PYTHON) -m uv --version >/dev/null 2>&1 && echo $(PYTHON) -m uv; })
UV_PIP := $(if $(UV),$(UV) pip install --quiet --native-tls --compile-bytecode --python $(VENV)/bin/python --no-deps,false)
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

PYTEST := $(RUN) python -m pytest -n auto --dist loadfile

.PHONY: help repro no-git test test-long test-all committed lint readme paper page site figures verify bench descent published glimpse \
  ablation learning release recheck guide lock

help:
	@sed -n 's/^# //p; /^$$/q' Makefile

repro: $(READY) $(NO_GIT)
	$(RUN) dvc repro

test: $(READY) $(NO_GIT)
	$(PYTEST) -m "not long and not committed"

test-long: $(READY) $(NO_GIT)
	$(PYTEST) -m long

test-all: test test-long

committed: $(READY) $(NO_GIT)
	$(RUN) python -m pytest -m committed

lint: $(READY)
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) lint-imports --no-cache
	$(RUN) mypy

readme verify page bench descent published glimpse ablation learning release recheck guide: $(READY)
	$(RUN) python -m analysis $@

figures: $(READY) $(NO_GIT)
	@$(RUN) dvc pull --quiet data/shown/figures data/shown/method
	@$(RUN) python -m analysis redraw

site: $(READY) $(NO_GIT)
	@$(RUN) dvc pull --quiet data/released/reference/score.dvc
	@$(RUN) sphinx-build -q --fail-on-warning --keep-going -c paper/site . paper/site/html
	@echo paper/site/html/index.html

paper: $(READY)
	@$(RUN) dvc repro --single-item paper/dvc.yaml

lock:
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --upgrade \
	  --no-emit-index-url --no-emit-find-links --extra cluster --extra remotes --extra test --extra page --extra site pyproject.toml -o requirements.lock

# DVC asks for a Git repository unless it is told that there is none
no-git: $(READY)
	@echo "this tree has no .git (an unpacked archive): DVC is told so; commands that need history, as dvc exp, do not run"
	@$(RUN) dvc config --local core.no_scm true

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || \
	  { echo "$$($(PYTHON) --version 2>&1) cannot run this: Python 3.11, 3.12 or 3.13 is needed;" \
	    "name one, as in make PYTHON=python3.12" >&2; exit 1; }
	@echo "installing Python packages into $(VENV) (half a minute with uv, 2 to 7 minutes with pip)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(UV_PIP) --require-hashes -r requirements.lock || $(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation -e .
	@touch $@
