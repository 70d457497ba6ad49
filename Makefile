# Everything runs in .venv, on embedded servers; needs python3 >= 3.11, make and the package index.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
WORKERS ?= 4
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
PYTHONS ?= 3.12 3.13
TOPOLOGIES := pgbouncer or tls or sentinel or cluster or standby or prometheus or chromium or node
REDIS ?= redis
unexport PYTHONDONTWRITEBYTECODE # the asserts that pytest rewrites are kept

.PHONY: demo test test-slow test-python test-pgbouncer test-tls test-sentinel test-cluster test-standby test-rules test-report test-node test-topologies test-debian test-timescale test-lowest consistency mutants lint lock audit docs bench dist clean

.venv/installed: pyproject.toml .ci/requirements.txt
	$(PYTHON) -m venv .venv
	$(PIP) --require-hashes --requirement .ci/requirements.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

demo: .venv/installed   ## the main job, end to end
	$(BIN)/settings-store demo $(ARGS)

test: .venv/installed   ## the test suite (on servers at TEST_DATABASE_URL, TEST_REDIS_URL: WORKERS=0)
	$(BIN)/python -m pytest $(PARALLEL) -m 'not ($(TOPOLOGIES) or timescale or slow)' $(ARGS)

test-slow: .venv/installed   ## the rest of it: faults at length, long journeys of the schema, properties of all functions
	$(BIN)/python -m pytest $(PARALLEL) -m 'slow and not ($(TOPOLOGIES) or timescale)' $(ARGS)

.venv/python%/installed: pyproject.toml
	python$* -m venv .venv/python$*
	.venv/python$*/bin/pip install --quiet --disable-pip-version-check --editable '.[dev,embedded,report]'
	touch $@

test-python: $(PYTHONS:%=.venv/python%/installed)   ## tests/store on other Pythons, another redis-py: PYTHONS="3.12 3.13" REDIS='redis==5.2.1'
	for version in $(PYTHONS); do \
		.venv/python$$version/bin/pip install --quiet --disable-pip-version-check --upgrade '$(REDIS)' && \
		.venv/python$$version/bin/python -m pytest $(PARALLEL) tests/store tests/faults/test_redis_connections.py $(ARGS) || exit; \
	done

test-pgbouncer: .venv/installed   ## behind a transaction-mode pooler; needs pgbouncer (TEST_POOLER=1 make test: the stores of all tests)
	$(BIN)/python -m pytest -m pgbouncer $(ARGS)

test-tls: .venv/installed   ## servers with TLS and passwords; needs Debian's postgresql and redis-server
	$(BIN)/python -m pytest -m tls $(ARGS)

test-sentinel: .venv/installed   ## Redis behind Sentinel, failing over under load
	$(BIN)/python -m pytest -m sentinel $(ARGS)

test-cluster: .venv/installed   ## a Redis Cluster of six: slots move and nodes die under load
	$(BIN)/python -m pytest -m cluster $(ARGS)

test-standby: .venv/installed   ## a PostgreSQL standby, promoted under load
	$(BIN)/python -m pytest -m standby $(ARGS)

test-rules: .venv/installed   ## the alerts of docs/settings-store.rules.yaml; needs promtool, of Debian's prometheus
	$(BIN)/python -m pytest -m prometheus $(ARGS)

test-report: .venv/installed   ## the page of settings-store report in a browser; needs chromium and chromium-driver
	$(BIN)/python -m pytest -m chromium $(ARGS)

test-node: .venv/installed   ## the reader of docs/redis.md for Node; needs node and npm
	$(BIN)/python -m pytest -m node $(ARGS)

test-topologies: .venv/installed   ## the eight above, side by side
	$(BIN)/python -m pytest $(PARALLEL) -m "$(TOPOLOGIES)" $(ARGS)

test-debian: .venv/installed   ## all on Debian 12's PostgreSQL 15 and Redis 7, by debootstrap and chroot; needs root
	$(BIN)/python -m tests.servers.stacks debian12 $(PARALLEL) $(ARGS)

test-timescale: .venv/installed   ## all on Debian 13's PostgreSQL 17 with TimescaleDB and Valkey; needs root
	$(BIN)/python -m tests.servers.stacks debian13 $(PARALLEL) $(ARGS)

consistency: .venv/installed   ## clients and faults, every call recorded and the history checked: make consistency OPS=1000000 SEED=7
	$(BIN)/python -m tests.consistency run --ops $(or $(OPS),20000) --seed $(or $(SEED),random) $(ARGS)

mutants: .venv/installed   ## the product broken on purpose: the checker must find each break; ARGS=guard_off for one
	$(BIN)/python -m tests.consistency mutants $(ARGS)

lint: .venv/installed   ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: .venv/installed   ## raise what .ci/requirements.txt pins to the newest; ARGS='--upgrade-package redis' for one
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --no-annotate \
		--custom-compile-command 'make lock' pyproject.toml --output-file .ci/requirements.txt $(or $(ARGS),--upgrade)

LOWEST := tests/store/test_config.py $(patsubst %,tests/store/%,api/test_settings.py mirror/test_mirror.py coherence compat) \
	$(patsubst %,tests/cli/test_%.py,commands json keys logs metrics report trades)
test-lowest: .venv/installed   ## the oldest versions that pyproject.toml allows; needs the package index
	$(BIN)/uv venv --quiet --clear --python 3.11 .venv/lowest
	$(BIN)/uv pip install --quiet --python .venv/lowest --resolution lowest-direct --editable '.[dev,embedded,report]'
	.venv/lowest/bin/python -m pytest $(PARALLEL) -p no:cacheprovider $(or $(ARGS),$(LOWEST))

audit: .venv/installed   ## known vulnerabilities of what is pinned; needs to reach the advisories
	$(BIN)/uv tool run pip-audit --disable-pip --require-hashes --requirement .ci/requirements.txt

docs: .venv/installed   ## write docs/sql.md, docs/cli.md and store/api/sync.pyi anew
	SETTINGS_STORE_UPDATE_DOCS=1 $(BIN)/python -m pytest -q tests/sql/test_reference.py tests/cli/test_reference.py \
		tests/store/api/test_sync_types.py

bench: .venv/installed  ## benchmarks as ratios; ONLY=name for one, SIZE=50000 for so many users
	$(BIN)/python -m benchmarks $(ONLY)

dist: .venv/installed   ## the sdist and the wheel, in dist/
	$(BIN)/python -m build

clean:                  ## stop the embedded servers started from here, remove what was made
	if [ -x $(BIN)/settings-store ]; then $(BIN)/settings-store embedded stop; fi
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
