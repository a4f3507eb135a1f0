# What a newcomer guesses: plain go does the rest.
.PHONY: build test lint fuzz e2e crash sim bench ci

build:
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o ratchet ./cmd/ratchet

test:
	go test -timeout 30m ./...

lint:
	golangci-lint run ./...

e2e:
	go test -run 'TestScripts|TestCrashes' -v ./cmd/ratchet

# Kills the engine 10,000 times and prints the count.
crash:
	RATCHET_CRASH_KILLS=10000 go test -run TestCrashes -v -timeout 3h ./cmd/ratchet

# Plays seed after seed until one breaks or it is stopped.
sim:
	RATCHET_SIM_SEED=$$(date +%s) RATCHET_SIM_SEEDS=0 RATCHET_SIM_TIME=0s go test -run TestSimulation -v -timeout 0 ./internal/sim

fuzz:
	go test -run '^$$' -fuzz '^FuzzParse$$' -fuzztime 5m -fuzzminimizetime 10x ./study
	go test -run '^$$' -fuzz '^FuzzSeries$$' -fuzztime 5m -fuzzminimizetime 10x ./internal/research
	go test -run '^$$' -fuzz '^FuzzSalvage$$' -fuzztime 5m -fuzzminimizetime 10x ./internal/journal/sqlite
	go test -run '^$$' -fuzz '^FuzzRead$$' -fuzztime 5m -fuzzminimizetime 10x ./internal/journal/sqlite

# Ours beside our peers': see docs/performance.md.
bench:
	cd bench && CGO_ENABLED=0 go run .

ci:
	bash .ci/run
