# One line of help stands behind each target. Everything but Go and make is installed by the targets that need it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PORT_OFFSET ?= 0
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUF := $(GO) tool -modfile=tools/buf/go.mod buf
STATICCHECK := $(GO) tool -modfile=tools/lint/go.mod staticcheck
export PLANTLOOM_CACHE ?= $(HOME)/.cache/plantloom-e2e

.PHONY: help build run reset test race e2e lint generate generate-check fuzz bench crashlab screenshot clean

help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

build: ## build plantloom and the demo's programs into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ ./cmd/plantloom
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/demo-plant ./examples/demo/plant
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/demo-erp ./examples/demo/erp
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/demo-up ./examples/demo/up

run: build ## run the demo: simulated plant and ERP, the real pipeline between them; PORT_OFFSET=n shifts every port
	@exec bin/demo-up --port-offset $(PORT_OFFSET)

reset: ## forget the demo's state
	rm -rf var/bottling-line

test: ## run the unit tests and the tests of the example mappings
	$(GO) vet ./...
	$(GO) test ./...
	$(GO) run ./cmd/plantloom test examples/bottling-line examples/torque-station

race: ## run the tests of the concurrent packages under the race detector
	$(GO) test -race ./internal/... ./pipeline/... ./connectors/... ./gateway/... ./mapping/...

e2e: build ## run against real servers: Apache Kafka, PostgreSQL, node-opcua, Chromium; installs what is missing
	$(GO) test -tags e2e -count=1 -timeout 20m -v ./e2e/... ./internal/unit ./connectors/sqlhistorian

crashlab: build ## kill everything at random and compare the ERP with the plant; FULL=1 for the long run
	$(GO) test -tags crashlab -count=1 -timeout 60m -v ./examples/crashlab/... $(if $(FULL),-args -full,)

lint: ## gofmt, vet, staticcheck, buf lint and breaking changes
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt -w on these files'; exit 1; }
	$(GO) vet ./... && $(GO) vet -tags e2e ./e2e/... && $(GO) vet -tags crashlab ./examples/crashlab/...
	$(STATICCHECK) ./...
	$(BUF) lint
	@if git rev-parse -q --verify HEAD~1:proto >/dev/null 2>&1; then \
	  base=$$(git describe --tags --abbrev=0 2>/dev/null || git rev-parse HEAD~1); \
	  $(BUF) breaking --against ".git#ref=$$base"; fi

generate: ## generate Go, gRPC, REST and OpenAPI from proto/
	$(BUF) generate

generate-check: generate ## fail when the committed generated code is not what generate makes
	git diff --exit-code -- gen gateway/openapi

fuzz: ## fuzz every parser for a short while; FUZZTIME=1m for longer
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "fuzz $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-8s} $$pkg; done; done

bench: ## measure the stages and write docs/performance.md
	$(GO) run ./examples/bench -write docs/performance.md

screenshot: build ## make docs/console.png from a running demo with headless Chromium
	$(GO) test -tags e2e -count=1 -timeout 10m -v -run TestConsole ./e2e -args -screenshot $(CURDIR)/docs/console.png

clean: ## remove what was built; keeps the demo's state
	rm -rf bin coverage.out
