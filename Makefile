# All of ingestd's chores. `make help` lists them.

GO          ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0

.DEFAULT_GOAL := build

.PHONY: build
build: ## build the static binary bin/ingestd
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ingestd ./cmd/ingestd

.PHONY: demo
demo: build ## everything at once in a temporary directory (DEMO_KEEP=1 leaves it running)
	./bin/ingestd demo

.PHONY: test
test: ## vet, then all tests with the race detector; installs what they need where it is missing
	.ci/need gcc libc curl python3 sshd sftp lftp node npm
	$(GO) vet ./...
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 20m ./...

.PHONY: torture
torture: ## 1,000 kills -9 with disk, clock and lock faults (TORTURE_KILLS, TORTURE_SEED, TORTURE_MINUTES)
	TORTURE_KILLS=$${TORTURE_KILLS:-1000} TORTURE_MINUTES=$${TORTURE_MINUTES:-60} TORTURE_SEED=$${TORTURE_SEED:-$$(date +%s)} TORTURE_BUSY_MS=12000 TORTURE_ROUNDS=10 \
		$(GO) test -count=1 -timeout 90m -v -run '^Test(Torture|Fault|Upgrade|RejectFile)' ./cmd/ingestd

.PHONY: lint
lint: ## gofmt, gofumpt, go vet, staticcheck, pinned versions
	@out=$$(gofmt -l .) && test -z "$$out" || { echo "gofmt -w these files:"; echo "$$out"; exit 1; }
	@out=$$($(GO) run $(GOFUMPT) -l .) && test -z "$$out" || { echo "gofumpt -w these files (go run $(GOFUMPT) -w .):"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	.ci/versions

.PHONY: bench
bench: ## every Go benchmark once; docs/bench has the one from file to target
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: deb
deb: ## Debian packages for amd64 and arm64 in dist/ (DEB_ARCH)
	.ci/package/build deb $(DEB_ARCH)

.PHONY: release
release: ## static tarballs for amd64 and arm64 in dist/, the same bytes from the same commit
	.ci/package/build release

.PHONY: clean
clean: ## remove what make made
	rm -rf bin dist

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile
