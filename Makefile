# airunner's chores. A machine needs python3 (3.11 or later, with venv), git and make; the rest
# is fetched once into .venv, by hash. `make` alone prints the targets.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PEERS := .venv-peers/.installed
SEEDS ?= 1000
MINUTES ?= 10
DOSE ?= 10
DURATION ?= 1
ROUNDS ?= 5
KILLS ?= 200
BREAK ?=
PROCFILE ?= Procfile
WORKERS ?= 1
BENCH ?=
TESTS ?= tests
# The tests of the pure core: what they must cover is in tests/coverage.ini.
CORE := tests/model/ tests/store/ tests/server/workers/ tests/server/fairness/ tests/server/test_*.py \
  tests/log/test_memory_log.py
OTHERS := tests $(patsubst %,--deselect=%,$(subst *.py,,$(CORE)))
# Test processes. More than cores: many tests wait for the programs that they start.
PROCESSES ?= 5
PYTEST = $(BIN)/python -m pytest -q --durations=25 -n $(PROCESSES) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-others cover lint types format proto docs lock fuzz hostile mutate soak bench bench-peers start certs clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

demo: $(STAMP) ## see a real job run: TLS, tokens, a worker, live output, an exit code
	@AIRUNNER=$(BIN)/airunner sh configs/demo.sh

test: $(STAMP) ## run all tests, PROCESSES=n at a time (TESTS=path for some of them)
	$(PYTEST) $(TESTS)

test-fast: $(STAMP) ## run the tests of core, wire and worker: less than 45 seconds
	$(PYTEST) $(CORE) tests/wire tests/worker

test-others: $(STAMP) ## run all tests but those that `make cover` runs
	$(PYTEST) $(OTHERS)

cover: $(STAMP) ## run the core's own tests, and prove that they reach its every branch
	$(BIN)/coverage run --rcfile=tests/coverage.ini -m pytest -q $(CORE)
	$(BIN)/coverage report --rcfile=tests/coverage.ini

lint: $(STAMP) ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## check types, strictly
	$(BIN)/mypy

format: $(STAMP) ## format the code and mend what can be mended without thought
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

proto: $(STAMP) ## generate airunner/wire/job from proto/job
	PYTHON=$(BIN)/python sh proto/generate.sh .

docs: $(STAMP) ## generate docs/promises.md and docs/limits.md from the markers and the limits
	$(BIN)/python -m tests.docs

lock: ## resolve the dependencies into requirements.lock and airunner/bench/comparison/requirements.lock, anew
	tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	$(PYTHON) -m venv "$$tmp" && "$$tmp/bin/python" -m pip install --quiet uv && \
	"$$tmp/bin/uv" pip compile pyproject.toml --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-emit-index-url --no-annotate --upgrade --quiet \
	  --output-file requirements.lock && \
	"$$tmp/bin/uv" pip compile airunner/bench/comparison/requirements.in --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-emit-index-url --no-annotate --upgrade --quiet \
	  --output-file airunner/bench/comparison/requirements.lock

fuzz: $(STAMP) ## crash everything: the core, its log (SEEDS=n), processes and disks (KILLS=n)
	AIRUNNER_SEEDS=$(SEEDS) $(BIN)/python -m pytest -q tests/store/test_walk.py \
	  tests/log/sqlite/test_crash_points.py
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)
	$(BIN)/python -m tests.rounds --rounds $(KILLS)
	$(BIN)/python -m tests.mutations $(BREAK)

hostile: $(STAMP) ## attack servers and workers as jobs and callers do, DOSE=n times as long as in `make test`
	AIRUNNER_HOSTILE=$(DOSE) $(BIN)/python -m pytest -q tests/hostile

mutate: $(STAMP) ## break rules on purpose (BREAK=word: some), and see that a test notices each
	$(BIN)/python -m tests.mutations $(BREAK)

soak: $(STAMP) ## run real jobs for MINUTES=n while processes and disks are attacked
	$(BIN)/python -m tests.rounds --minutes $(MINUTES)

bench: $(STAMP) ## measure throughput, latency, durability, memory (BENCH=scenario: some)
	$(BIN)/airunner bench $(BENCH) --duration $(DURATION) --rounds $(ROUNDS) --fsync full --fsync normal

bench-peers: $(STAMP) $(PEERS) ## measure other job queues too, in the same run (docs/benchmarks.md)
	$(BIN)/python -m airunner.bench.comparison --duration $(DURATION) --rounds $(ROUNDS)

start: $(STAMP) certs ## run a server and WORKERS=n workers, until Ctrl-C (PROCFILE=Procfile.ephemeral)
	PATH="$(CURDIR)/$(BIN):$$PATH" honcho start -f $(PROCFILE) -c server=1,worker=$(WORKERS)

certs: certs/server.pem ## make a development certificate authority in certs/

clean: ## remove .venv, caches and certificates
	rm -rf .venv .venv-peers .mypy_cache .ruff_cache .coverage* build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f certs/*.pem

certs/server.pem: | $(STAMP)
	$(BIN)/airunner certs --dir certs

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "airunner needs Python 3.11 or later: say which with make PYTHON=python3.x" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps --no-build-isolation -e .
	@touch $(STAMP)

$(PEERS): airunner/bench/comparison/requirements.lock
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check \
	  --require-hashes -r airunner/bench/comparison/requirements.lock
	@touch $(PEERS)
