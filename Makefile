# Weft. `make demo` shows the mesh on this machine, `make test` is everything that CI runs. Both set up what they need.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := $(shell for p in /usr/bin/python3.11 python3.11 python3; do command -v $$p >/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
CLUSTER = PYTHONPATH=agent:operator:iptables:tests:. $(BIN)/python -m weft_testing.cluster

# Debian packages by purpose: what a node needs, what the tests and benchmarks need beside it.
PACKAGES_RUN := python3-venv iptables nftables iproute2 ipset
PACKAGES_DEMO := $(PACKAGES_RUN) curl tcpdump
PACKAGES_TEST := $(PACKAGES_DEMO) procps linux-libc-dev
PACKAGES_IMAGES := dpkg debian-archive-keyring
PACKAGES_CLUSTER := $(PACKAGES_DEMO) $(PACKAGES_IMAGES) containerd runc containernetworking-plugins busybox-static util-linux conntrack
PACKAGES_PERF := $(PACKAGES_TEST) wrk gcc libc6-dev util-linux

.PHONY: help setup demo test test-cluster lint types unit perf perf-quick perf-control faults fuzz images cluster cluster-down demo-kubernetes conformance clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

define packages
	@missing=(); for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok' || missing+=($$p); done; \
	if (($${#missing[@]})); then echo "installing Debian packages: $${missing[*]}"; \
	  if [ $$(id -u) = 0 ]; then sudo=; else sudo=sudo; fi; \
	  $$sudo apt-get update -q >/dev/null && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $${missing[@]} >/dev/null; fi
endef

$(VENV)/.ready: requirements.lock pyproject.toml
	$(call packages,python3-venv)
	@echo "making $(VENV) with $(PYTHON) and the pinned packages of requirements.lock"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(VENV)/.ready  ## make .venv with everything pinned, install what a node needs
	$(call packages,$(PACKAGES_RUN))

demo: $(VENV)/.ready  ## two nodes on this machine: capture, mutual TLS, policy, measured (ARGS="--keep" or "--json FILE")
	$(call packages,$(PACKAGES_DEMO))
	@$(BIN)/weft lab demo $(ARGS)

test: $(VENV)/.ready  ## everything that CI runs
	$(call packages,$(PACKAGES_TEST))
	@$(BIN)/tox run $(ARGS)

test-cluster: $(VENV)/.ready  ## the tests on real Kubernetes nodes too: half an hour (ARGS="-- -k name")
	$(call packages,$(PACKAGES_CLUSTER) procps)
	@$(BIN)/tox run -e cluster $(ARGS)

lint: $(VENV)/.ready  ## ruff and the import law
	@$(BIN)/tox run -e lint,imports

types: $(VENV)/.ready  ## mypy --strict
	@$(BIN)/tox run -e types

unit: $(VENV)/.ready  ## the quick tests
	@$(BIN)/tox run -e house,unit

perf: $(VENV)/.ready  ## compare with Envoy, all scenarios (ARGS="--json FILE")
	$(call packages,$(PACKAGES_PERF))
	@$(BIN)/python perf/run.py $(ARGS)

perf-quick: $(VENV)/.ready  ## the same at 32 connections in four minutes
	$(call packages,$(PACKAGES_PERF))
	@$(BIN)/python perf/run.py --quick $(ARGS)

perf-control: $(VENV)/.ready  ## the control plane with 5 000 Services and 200 nodes (ARGS="--json FILE")
	@$(BIN)/python -m perf.control $(ARGS)

faults: $(VENV)/.ready  ## kill workers and control, reload 500 times, all under load (ARGS="--json FILE", "--only worker")
	$(call packages,$(PACKAGES_TEST))
	@$(BIN)/python perf/faults.py $(ARGS)

fuzz: $(VENV)/.ready  ## fuzz the parsers of hostile bytes (ARGS="--seconds 600")
	@$(BIN)/python tests/conformance/fuzz.py $(ARGS)

cluster: $(VENV)/.ready  ## a real Kubernetes cluster on this machine, without Docker (ARGS="--nodes 3 --name NAME")
	$(call packages,$(PACKAGES_CLUSTER))
	@$(CLUSTER) up $(ARGS)

cluster-down: $(VENV)/.ready  ## take it away (ARGS="--name NAME")
	@$(CLUSTER) down $(ARGS)

demo-kubernetes: $(VENV)/.ready  ## two real nodes, the charts, mutual TLS, identity, policy, measured (ARGS="--keep" or "--json FILE")
	$(call packages,$(PACKAGES_CLUSTER))
	@$(CLUSTER) demo $(ARGS)

conformance: $(VENV)/.ready  ## Gateway API's conformance suite on a cluster of its own, report under docs/ (ARGS="--keep --test NAME")
	$(call packages,$(PACKAGES_CLUSTER))
	@$(CLUSTER) conformance $(ARGS)

images: $(VENV)/.ready  ## container images as OCI archives in dist/images, without Docker (ARGS="agent --gzip")
	$(call packages,$(PACKAGES_IMAGES))
	@$(BIN)/python -m manifests.image --allow-newer build $(ARGS)

clean:  ## remove what the targets made in this folder
	@rm -rf $(VENV) .tox build dist .mypy_cache .ruff_cache .hypothesis perf/out
