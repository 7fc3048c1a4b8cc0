# The front door. `make help` lists the targets; the work is done by `flowmob` in .venv.

EXP ?=
ENGINE ?= virtual
SEEDS ?=
FIRST ?=
QUICK ?=
JOBS ?= $(shell nproc)
TOPOLOGY ?=
# Of the signalling between LMA and MAGs, instead of what experiments say: none, keys or ikev2.
PROTECTION ?=
PROTECT := $(if $(PROTECTION),--protection $(PROTECTION))
BENCH ?=
PYTEST_ARGS ?=
# What `make conformance` hands on (docs/conformance.md).
CONFORMANCE := LMA MAG OWN OTHER_MAG STRANGER MN OTHER_MN DISABLED_MN PREFIX OTHER_PREFIX ATTACH \
    DETACH MN_INTERFACE

# The distribution's own Python: another one, first on PATH, would not see Mininet.
SYSTEM_PYTHON := /usr/bin/python3
VENV := .venv
PYTHON := $(VENV)/bin/python
FLOWMOB := $(VENV)/bin/flowmob
VENV_STAMP := $(VENV)/.complete
FUZZ_STAMP := $(VENV)/.fuzz
EXPERIMENTS := $(patsubst experiments/%.toml,%,$(sort $(wildcard experiments/*.toml)))
CACHES := .fuzz .hypothesis .mypy_cache .pytest_cache .ruff_cache .lock-venv build dist

# pip up to 25.2 hands PIP_CONSTRAINT on to what builds packages, later ones PIP_BUILD_CONSTRAINT.
# Both take a list separated by blanks. Without PEP 517, pip may build without either.
NOTHING :=
CONSTRAINTS_URL := file://$(subst $(NOTHING) $(NOTHING),%20,$(CURDIR))/setup/build-constraints.txt
BUILD := PIP_CONSTRAINT=$(CONSTRAINTS_URL) PIP_BUILD_CONSTRAINT=$(CONSTRAINTS_URL) PIP_USE_PEP517=yes

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

.PHONY: all
all: ready ## Main job: run the reference comparison (SEEDS=6) and draw its figures
	@$(FLOWMOB) run $(or $(EXP),prefix-models) --engine $(ENGINE) --seeds $(or $(SEEDS),6) --jobs $(JOBS) $(PROTECT)

.PHONY: test
test: ready ## All tests, those with guests included (PYTEST_ARGS=...)
	@$(PYTHON) -m pytest -n $(JOBS) $(PYTEST_ARGS)

.PHONY: soak
soak: ready ## All tests, again and again until one fails: [TIMES=20]
	@for turn in $$(seq $(or $(TIMES),20)); do \
	    echo "soak: $$turn of $(or $(TIMES),20)"; \
	    $(PYTHON) -m pytest -q -n $(JOBS) $(PYTEST_ARGS) || exit 1; done

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: doctor
doctor: ## What this machine has and lacks for each engine, with remedies
	@[ -x $(SYSTEM_PYTHON) ] || { \
	    echo "all engines: LACKS python3: no $(SYSTEM_PYTHON) -> run \`make packages\`"; exit 1; }
	@$(SYSTEM_PYTHON) -m experiments.doctor

.PHONY: smoke
smoke: ready ## One short run with one figure, in under a minute
	@$(FLOWMOB) smoke $(PROTECT)

.PHONY: run
run: need-exp ready ## One experiment: EXP=name [ENGINE=virtual|realtime|host] [SEEDS=10] [JOBS=cores] [PROTECTION=none|keys|ikev2]
	@$(FLOWMOB) run $(EXP) --engine $(ENGINE) --seeds $(or $(SEEDS),10) --jobs $(JOBS) $(PROTECT)

.PHONY: figures
figures: need-exp $(VENV_STAMP) ## Figures of an experiment from its existing results: EXP=name
	@$(FLOWMOB) figures $(EXP)

.PHONY: paper
paper: ready ## Every experiment with its full number of seeds, and all for a paper [QUICK=1]
	@$(FLOWMOB) paper $(if $(QUICK),--quick) --jobs $(JOBS) $(PROTECT)

.PHONY: verify
verify: ready ## Few runs of every experiment (or EXP=name), compared with results/reference, number by number
	@$(FLOWMOB) verify $(EXP) $(if $(SEEDS),--seeds $(SEEDS)) --jobs $(JOBS)

.PHONY: reference
reference: $(VENV_STAMP) ## Maintenance: make results/reference anew from what a complete `make paper` left
	@$(FLOWMOB) reference

.PHONY: catalogue
catalogue: $(VENV_STAMP) ## Maintenance: write docs/experiments.md anew from the experiments' files
	@$(FLOWMOB) catalogue

.PHONY: shell
shell: ready ## Mininet's prompt on a running topology: [TOPOLOGY=name]
	@$(FLOWMOB) shell $(TOPOLOGY)

.PHONY: bench
bench: ready ## Benchmarks (all, or those in BENCH="codec forwarding ...")
	@$(PYTHON) -m experiments.bench $(BENCH)

.PHONY: chaos
chaos: ready ## Random faults in random topologies, checked: SEEDS=n scenarios [FIRST=1] [JOBS=cores]
	@$(FLOWMOB) chaos --seeds $(or $(SEEDS),8) --first $(or $(FIRST),1) --jobs $(JOBS)

.PHONY: fuzz
fuzz: $(FUZZ_STAMP) ## Octets that are made up, for every parser: [SECONDS=600 | INPUTS=100000] [TARGETS=names]
	@$(PYTHON) -m tests.fuzz $(if $(INPUTS),--inputs $(INPUTS),--seconds $(or $(SECONDS),600)) $(TARGETS)

.PHONY: mutations
mutations: $(VENV_STAMP) ## Maintenance: break rules on purpose, and write docs/mutations.md
	@$(PYTHON) -m tests.conformance.mutate

.PHONY: call-flows
call-flows: ready ## Maintenance: draw docs/call-flows.md anew, from short runs
	@$(PYTHON) -m tests.system.call_flows

.PHONY: conformance
conformance: $(if $(LMA)$(MAG),$(VENV_STAMP),ready) ## Conformance suite and its table; LMA= or MAG= for another implementation (docs/conformance.md)
	@$(PYTHON) -m tests.conformance $(foreach v,$(CONFORMANCE),$(if $($(v)),--$(shell \
	    echo $v | tr A-Z_ a-z-) '$($(v))'))

.PHONY: lint
lint: $(VENV_STAMP) ## Style and types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

.PHONY: packages
packages: ## Set up: install the distribution packages that are missing (PACKAGES=skip to go without)
ifneq ($(PACKAGES),skip)
	@setup/install-packages.sh
endif

.PHONY: venv
venv: $(VENV_STAMP) ## Set up: the virtual environment .venv

.PHONY: kernel
kernel: | packages ## Set up: the guest kernel (KERNEL_SOURCE=tarball, tree or .deb to choose one)
	@$(SYSTEM_PYTHON) -m experiments.engines.kernel build

.PHONY: lock
lock: | packages ## Maintenance: write constraints.txt anew from the newest versions that fit
	@echo "lock: resolving all Python packages anew (about 1 min)"
	@rm -rf .lock-venv
	@$(SYSTEM_PYTHON) -m venv .lock-venv
	@$(BUILD) .lock-venv/bin/pip install -qq --disable-pip-version-check '.[dev,fuzz,ryu]'
	@{ sed -n '/^#/p' constraints.txt; \
	    .lock-venv/bin/pip freeze --disable-pip-version-check --exclude flowmob; } > .lock-venv/lock
	@! grep -E '://| @ ' .lock-venv/lock
	@mv .lock-venv/lock constraints.txt
	@rm -rf .lock-venv

.PHONY: clean
clean: ## Remove what this checkout made: .venv, caches, results but for results/reference
	@rm -rf $(VENV) $(CACHES) *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -d results ]; then \
	    find results -mindepth 1 -maxdepth 1 -type d ! -name reference -exec rm -rf {} +; fi
	@echo "The guest kernel stays, for other checkouts: $${XDG_CACHE_HOME:-$$HOME/.cache}/flowmob/kernels"
	@echo "\`make clean-kernel\` removes it."

.PHONY: clean-kernel
clean-kernel: ## Remove the cached guest kernels of all checkouts
	@$(SYSTEM_PYTHON) -m experiments.engines.kernel clean

.PHONY: ready
ready: $(VENV_STAMP) $(if $(filter host,$(ENGINE)),,kernel)

.PHONY: need-exp
need-exp:
	@[ -n '$(EXP)' ] || { \
	    echo "error: which experiment? Say EXP=name, one of: $(EXPERIMENTS)" >&2; exit 1; }

# The stamp holds the checkout's path: a virtual environment doesn't survive a move.
ifneq ($(shell cat $(VENV_STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(VENV_STAMP)
endif
$(VENV_STAMP): pyproject.toml constraints.txt $(wildcard setup/*.txt) | packages
	@$(SYSTEM_PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
	    "error: Python 3.11 or newer is needed, $(SYSTEM_PYTHON) is " + sys.version.split()[0])'
	@echo "venv: installing Python packages into $(VENV) (about 1 min)"
	@rm -f $@
	@$(SYSTEM_PYTHON) -m venv --system-site-packages $(VENV)
	@$(PYTHON) -m pip install -qq --disable-pip-version-check \
	    --constraint constraints.txt --editable '.[dev]'
	@$(BUILD) $(PYTHON) -m pip install -qq --disable-pip-version-check \
	    --constraint constraints.txt --editable '.[ryu]' || { \
	    echo "venv: Ryu could not be installed, see above: experiments that ask for it will say so."; \
	    echo "venv: All others work; the default controller is os-ken."; }
	@printf '%s' '$(CURDIR)' > $@

# Atheris has no wheels for each machine that this runs on, and nothing else needs it.
$(FUZZ_STAMP): $(VENV_STAMP)
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --only-binary atheris \
	    --constraint constraints.txt --editable '.[fuzz]' || { \
	    echo "fuzz: no Atheris for this machine: PyPI has it for x86-64 and Python 3.11 to 3.13" >&2; \
	    exit 1; }
	@touch $@
