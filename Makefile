# `make demo` and `make test` do all set-up themselves: system programs through apt (as root; else they say what
# to install), Python packages into .venv. Nothing but the package registries is needed from the network.

PYTHON ?= python3
BIN = .venv/bin
SOURCES = acistore migrations tests benchmarks

.PHONY: demo test crash lint format bench bench-several bench-growth bench-memory clean

demo: .venv/.demo-ready
	@$(BIN)/python -m tests.demo

test: .venv/.dev-ready
	$(BIN)/python -m pytest

# Every write path with a failure at each of its steps: minutes. `make test` tries a part of them.
crash: .venv/.dev-ready
	$(BIN)/python -m tests.faults run --messages

lint: .venv/.dev-ready
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev-ready
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: .venv/.dev-ready
	$(BIN)/python -m benchmarks.fetch

bench-several: .venv/.dev-ready
	$(BIN)/python -m benchmarks.several

# Both take minutes and gigabytes; what they measure stands at the top of each module, options come with --help.
bench-growth: .venv/.dev-ready
	$(BIN)/python -m benchmarks.growth

bench-memory: .venv/.dev-ready
	$(BIN)/python -m benchmarks.memory

# What `demo` and `dev` stand for: the system programs of .ci/system-programs, the extras of pyproject.toml.
.venv/.%-ready: pyproject.toml .ci/system-programs
	@.ci/system-programs $*
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "Installing acistore and what '$*' needs into .venv …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

clean:
	rm -rf .venv .demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
