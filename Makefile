# Everything here needs only make and Python 3.11 or newer; `make` alone says what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two workers: the machines this runs on have two cores, and every worker may start a Temporal server.
WORKERS ?= 2
PACKAGES := $(wildcard canonical rules workflows activities connectors ledger runtime wiring gateway \
	simulators cli worker.py)
CODE := $(PACKAGES) $(wildcard tests bench)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV_COMPILE := uv pip compile pyproject.toml - --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" --quiet

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo dev test check format lock chaos chaos-smoke chaos-race chaos-outages change-orders \
	chaos-stateful chaos-planted conservation conservation-planted billing-kills billing-exposure \
	schemathesis gateway-kill contracts feedback-proof feedback-cases \
	bench bench-short bench-billing bench-billing-short bench-feedback screenshots clean
.DELETE_ON_ERROR:

help: ## Say what the targets do
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' Makefile

# --- the environment ---------------------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11, or not there. Say: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments; install its venv package (python3-venv)."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock | $(BIN)/python
	$(PIP) install --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock | $(BIN)/python
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@ $(VENV)/.installed

# Again whenever a package appears: an editable install lists the packages it found.
$(VENV)/.project: pyproject.toml $(wildcard */__init__.py) $(VENV)/.installed
	$(PIP) install --no-deps --no-build-isolation --editable .
	@# The workflow sandbox loads its modules for every run: what is not compiled is compiled every time.
	@$(BIN)/python -m compileall -q $(PACKAGES)
	@touch $@

install: $(VENV)/.project ## Install what the product and the demo need, into .venv
	@echo "Ready: $(BIN)/trueup"

install-dev: $(VENV)/.installed-dev $(VENV)/.project ## The same with the tools for tests and checks

# --- running it --------------------------------------------------------------------------------------

demo: install ## Run the sagas against simulators on this machine, heal a fault, say where to look
	$(BIN)/trueup demo

dev: install ## The same, and stay up until Ctrl-C
	$(BIN)/trueup dev

# --- checking it -------------------------------------------------------------------------------------

test: install-dev ## Run all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope $(PYTEST_ARGS)

check: install-dev ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(CODE)

format: install-dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

chaos: install-dev ## Every step x fault x seed of a saga (SAGA=, SEEDS=3, SHARD=1/4); goes on where it stopped
	@$(BIN)/python -m tests.chaos.harness $(or $(SAGA),opportunity-to-project) --seeds $(or $(SEEDS),3) \
		--shard $(or $(SHARD),1/1)

chaos-smoke: install-dev ## Lose the answer of every write, kill a worker in every step of the demo's deals
	@$(BIN)/python -m tests.chaos.smoke

chaos-race: install-dev ## Many deals of few clients, each started by command and poll at once; some given up
	@$(BIN)/python -m tests.chaos.race --deals $(or $(DEALS),20) --clients $(or $(CLIENTS),5) \
		--parents $(or $(PARENTS),2)

chaos-outages: install-dev ## Temporal, ledger or a vendor away while deals are in flight (DEALS=50, AWAY=300, ONLY=)
	@$(BIN)/python -m tests.chaos.outages --deals $(or $(DEALS),50) --away $(or $(AWAY),300) \
		--server-away $(or $(SERVER_AWAY),60) --lanes $(or $(LANES),1) --only "$(ONLY)"

feedback-proof: install-dev ## Invoices told of in order, and doubled, shuffled and late: one end (INVOICES=2000, SEED=1)
	@$(BIN)/python -m tests.e2e.feedback_proof --invoices $(or $(INVOICES),2000) --seed $(or $(SEED),1)

feedback-cases: install-dev ## The same with generated orders, stale readings and lost answers, in one process (CASES=300)
	FEEDBACK_CASES=$(or $(CASES),300) $(BIN)/python -m pytest -q tests/activities/test_feedback_order.py

conservation: install-dev ## Generated months, judged from outside: every amount once (MONTHS=840, SEED=1, SECONDS=3600)
	@$(BIN)/python -m tests.conservation --months $(or $(MONTHS),840) --seed $(or $(SEED),1) \
		--seconds $(or $(SECONDS),3600)

change-orders: install-dev ## Five change orders of a contract in all 120 orders of arrival, both forms (ARRIVALS=120)
	@$(BIN)/python -m tests.e2e.change_arrivals --arrivals $(or $(ARRIVALS),120)

conservation-planted: install-dev ## Plant known bugs of billing one by one; say what the judge notices of each
	@$(BIN)/python -m tests.conservation.bugs

billing-exposure: install-dev ## Withdraw approvals while their lines are posted: how long gone when sent (LINES=2000)
	@$(BIN)/python -m tests.conservation.withdrawals --lines $(or $(LINES),2000)

billing-kills: install-dev ## Kill the worker at every batch boundary, lose every tenth answer: same invoices (LINES=3000)
	@$(BIN)/python -m tests.conservation.kills --lines $(or $(LINES),3000)

schemathesis: install-dev ## Generated requests to the whole API: no server error, nothing undescribed (EXAMPLES=500, SEED=1)
	@$(BIN)/python -m tests.gateway.fuzz --examples $(or $(EXAMPLES),500) --seed $(or $(SEED),1)

gateway-kill: install-dev ## The gateway killed with -9 under load; each accepted event once (SECONDS=60, RATE=50, KILLS=5)
	@$(BIN)/python -m tests.gateway.killed --seconds $(or $(SECONDS),60) --rate $(or $(RATE),50) \
		--kills $(or $(KILLS),5)

contracts: install-dev ## Write docs/openapi.json and docs/asyncapi.json anew from the code
	@$(BIN)/python -m gateway.contracts

bench: install-dev ## Measure speed in pairs, against floors of the same run (PARTS="latency kernel"); some minutes
	@$(BIN)/python -m bench $(PARTS) $(if $(KEEP),--keep)

bench-short: install-dev ## The same with a few rounds: a look, not a measurement
	@$(BIN)/python -m bench --short $(PARTS)

bench-billing: install-dev ## Post 100,000 approved lines against the ERP's limit (KEEP=1); some twenty minutes
	@$(BIN)/python -m bench billing $(if $(KEEP),--keep)

bench-feedback: install-dev ## From an invoice's webhook to the CRM, and the highest rate held (KEEP=1); some six minutes
	@$(BIN)/python -m bench feedback $(if $(KEEP),--keep)

bench-billing-short: install-dev ## The same with 5,000 lines: a look, not a measurement
	@$(BIN)/python -m bench --short billing

chaos-stateful: install-dev ## Generated scenarios, every invariant (EXAMPLES=200, SEED=, LANES=3); pins what fails
	@$(BIN)/python -m tests.chaos.stateful --examples $(or $(EXAMPLES),200) $(if $(SEED),--seed $(SEED)) \
		$(if $(LANES),--lanes $(LANES))

chaos-planted: install-dev ## Plant known bugs one by one; say which case of the short version notices each
	@$(BIN)/python -m tests.chaos.bugs

screenshots: install-dev ## Take pictures of the Web UI for docs/images (needs chromium)
	$(BIN)/python -m tests.e2e.screenshots docs/images

# --- keeping it --------------------------------------------------------------------------------------

lock: install-dev ## Choose versions anew, with hashes and without any registry's address
	$(PIP) install uv
	printf 'setuptools>=77\nwheel>=0.45\n' | $(BIN)/$(UV_COMPILE) --upgrade --all-extras -o requirements-dev.lock
	printf 'setuptools>=77\nwheel>=0.45\n' | $(BIN)/$(UV_COMPILE) --upgrade --extra local \
		--constraints requirements-dev.lock -o requirements.lock

clean: ## Remove what was built, and the environment
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .trueup *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
