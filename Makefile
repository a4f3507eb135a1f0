# What a newcomer guesses: plain go does the rest.
.PHONY: build test proof lint fuzz e2e crash sim bench ci

build:
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o ratchet ./cmd/ratchet

# A sample of everything, in two or three minutes.
test:
	go test ./...

# Everything in full: every hostile program, every byte, every failpoint,
# thousands of simulated histories and studies, planted bugs, fuzzers.
proof:
	RATCHET_PROOF=1 go test -timeout 30m ./...
	go test -timeout 30m -tags planted -run TestPlantedBugsAreFound ./internal/sim
	$(MAKE) --no-print-directory fuzz TIMES=1

lint:
	golangci-lint run ./...

e2e:
	go test -run 'TestScripts|TestCrashes' -v ./cmd/ratchet

# Kills the engine 10,000 times and prints the count.
crash:
	RATCHET_PROOF=1 RATCHET_CRASH_KILLS=10000 go test -run TestCrashes -v -timeout 3h ./cmd/ratchet

# Plays seed after seed until one breaks or it is stopped.
sim:
	RATCHET_SIM_SEED=$$(date +%s) RATCHET_SIM_SEEDS=0 go test -run TestSimulation -v -timeout 0 ./internal/sim

# Package, fuzzer, inputs; TIMES as many inputs are tried. By number, since before
# Go 1.27 a bound in seconds fails now and then, with nothing found, when it ends
# while an input runs (go.dev/issue/75804).
TIMES ?= 100
fuzzers = \
	study/FuzzParse/30000 \
	internal/metrics/FuzzSeries/100000 \
	internal/journal/sqlite/FuzzSalvage/6000 \
	internal/journal/sqlite/FuzzRead/6000 \
	internal/gateway/FuzzRequests/30000 \
	internal/gateway/protocol/FuzzAnswers/100000 \
	internal/backup/FuzzRepository/3000
fuzz:
	@set -e; for f in $(fuzzers); do \
		inputs=$${f##*/}; f=$${f%/*}; name=$${f##*/}; package=./$${f%/*}; \
		echo "$$package $$name"; \
		go test -timeout 0 -run '^$$' -fuzz "^$$name$$" -fuzztime $$((inputs * $(TIMES)))x -fuzzminimizetime 10x $$package; \
	done

# Ours beside our peers': see docs/performance.md.
bench:
	cd bench && CGO_ENABLED=0 go run .

ci:
	bash .ci/run
