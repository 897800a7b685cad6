# Portolan. `make help` lists what can be made.
SHELL := /bin/bash
export PATH := $(PATH):/usr/sbin:/sbin
TOOLS := $(CURDIR)/.work/bin
BUF := $(TOOLS)/buf
LINT := $(TOOLS)/golangci-lint
BUF_VERSION := v1.75.0
LINT_VERSION := v2.15.0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS := -X github.com/portolan-net/portolan/cmd/internal/version.release=$(VERSION)

.DEFAULT_GOAL := help
.PHONY: help build demo test unit simulation stress peer e2e deploy-test docs-test manifests image ipvs conformance cluster lint generate verify bench fuzz clean prerequisites

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# grpcnotrace leaves out golang.org/x/net/trace with its HTML templates: 3 MB of every process's memory.
build: ## build the three programs, and the plugin of kubectl, into bin/
	CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...
	ln -sf portolan bin/kubectl-portolan
	cp deploy/kubectl/kubectl_complete-portolan bin/

demo: build ## a three-node cluster in network namespaces, with traffic (rootless, under a minute)
	bin/portolan demo

test: prerequisites unit simulation peer e2e deploy-test docs-test ipvs ## all tests: unit, property, simulation, kernel, demo, kube-proxy as peer, a real API server, the chart, the pages, and IPVS

prerequisites:
	@test/prerequisites

unit:
	go vet ./...
	go test -race -shuffle=on ./...

# Without the race detector, which makes it five times as slow; unit runs a few with it.
simulation: ## 10,000 random histories of agents and replicas in fake time (about a minute)
	go test -count=1 -run 'Simulat' -v ./controlplane/internal/discovery | grep -v '^=== '; exit $${PIPESTATUS[0]}

stress: export SIMULATION_HISTORIES ?= 100000
stress: ## many more such histories, from a seed of chance: SIMULATION_HISTORIES=1000000, SIMULATION_SEED=1
	SIMULATION_SEED=$${SIMULATION_SEED:-$$(( RANDOM * 1000000 + 1 ))} \
	  go test -count=1 -run '^TestSimulated' -timeout 24h -v ./controlplane/internal/discovery | grep -v '^=== '; exit $${PIPESTATUS[0]}

peer: ## the choice of endpoints, the names of metrics and the flags, compared with kube-proxy's own code
	cd controlplane/internal/topology/kubeproxy && go vet ./... && go test -count=1 -v ./...

e2e: ## tests against a real kube-apiserver and etcd, built from their Go modules (minutes, the first time)
	cd test/e2e && go vet ./... && go test -count=1 -p 1 -v -ldflags '-X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36' -timeout 20m ./...

deploy-test: ## the Helm chart's manifests, the alerts and the dashboards
	cd test/deploy && go vet ./... && go test -count=1 ./...

docs-test: ## the commands that pages of documentation show, run as a reader would
	cd test/docs && go vet ./... && go test -count=1 ./...

manifests: ## deploy/manifests from the chart
	cd test/deploy && UPDATE=1 go test -count=1 -run PlainManifests .

image: ## a container image for docker load or ctr images import, without a daemon; IMAGE=registry.example/portolan:0.1.0 names it
	go run ./deploy/image -o bin/portolan-image.tar -t '$(IMAGE)'

ipvs: ## IPVS mode on Debian's kernel, in a virtual machine under software emulation (about 7 minutes)
	test/vm/ipvs

conformance: ## packets against the rules of what a Service must do (docs/reference/conformance.md)
	go test -count=1 -v ./test/conformance

lint: $(LINT) $(BUF) ## golangci-lint, and buf for the protos
	$(LINT) run
	$(BUF) lint

generate: $(BUF) ## Go code from the protos
	$(BUF) generate --template proto/buf.gen.yaml

verify: generate ## fail if generated code, formatting or go.mod are not what they should be
	go mod tidy
	gofmt -l $$(git ls-files '*.go') | tee /dev/stderr | (! grep -q .)
	git diff --exit-code -- api go.mod go.sum

cluster: ## install on a cluster with kubelets in namespaces, as the pages say (root; 2 minutes, the first time 20; not part of test)
	test/cluster/run

bench: build ## all benchmarks against floors, peers and targets; writes docs/reference/benchmarks.md (under 15 minutes)
	cd test/bench && go vet ./... && go run .

fuzz: ## every fuzz target for a quarter of a minute
	@for target in $$(grep -rl --include='*_test.go' 'func Fuzz' api agent controlplane); do \
	  for name in $$(sed -n 's/^func \(Fuzz[A-Za-z]*\).*/\1/p' $$target); do \
	    go test ./$$(dirname $$target) -run '^$$' -fuzz "^$$name$$" -fuzztime 15s || exit 1; done; done

clean: ## remove what was built
	rm -rf bin .work

$(BUF):
	GOBIN=$(TOOLS) go install github.com/bufbuild/buf/cmd/buf@$(BUF_VERSION)

$(LINT):
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
