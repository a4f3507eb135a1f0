// Command bench measures Ratchet beside its peers, as ratios in one run, and
// prints a table in Markdown. See docs/performance.md.
//
//	go run . [-only NAME,…] [-growth 10000] [-records 1000000]
//
// Every figure is the median of several rounds in which ours and the peer take
// turns, so that a slow moment of the machine meets both.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"ratchet/internal/shim"
)

// rounds is how often ours and a peer take turns.
const rounds = 5

// row is one line of the table.
type row struct {
	what, ours, beside, must string
	reached                  bool
}

// benches are the benchmarks by name.
var benches = []struct {
	name string
	run  func(b *bench) ([]row, error)
}{
	{"journal", journals}, {"dbos", workflows}, {"trial", trials}, {"resume", resume}, {"memory", memory}, {"start", starts}, {"growth", growth}, {"size", size},
	{"recovery", recovery}, {"walls", walls}, {"threads", threads}, {"watchdog", watchdog}, {"watching", watching}, {"gateway", gatewayBench},
	{"append", appends}, {"follow", followed}, {"calls", longCalls}, {"long", longRun},
	{"backup", backups}, {"incremental", incremental}, {"fork", forks}, {"fold", folds}, {"verdicts", verdicts}, {"stopping", stopping},
}

// bench is what all benchmarks share.
type bench struct {
	dir     string // for their files
	binary  string // ratchet, as it is released
	growth  int    // experiments of the growth benchmark
	records int    // of the run that is looked after
}

func main() {
	shim.Main()
	if dir := os.Getenv(watchdogChild); dir != "" {
		over, err := overshoot(dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		fmt.Println(over)
		return
	}
	only := flag.String("only", "", "run these benchmarks, separated by commas")
	most := flag.Int("growth", 10_000, "experiments of the growth benchmark")
	records := flag.Int("records", 1_000_000, "records of the run that is looked after")
	flag.Parse()
	if err := run(*only, *most, *records); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(only string, most, records int) error {
	dir, err := os.MkdirTemp("", "ratchet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, binary: filepath.Join(dir, "ratchet"), growth: most, records: records}
	if err := command("go", "build", "-C", "..", "-trimpath", "-ldflags", "-s -w", "-o", b.binary, "./cmd/ratchet").Run(); err != nil {
		return fmt.Errorf("building ratchet: %w", err)
	}
	fmt.Printf("%s, %s/%s, %d processors, %s\n\n", time.Now().Format("2006-01-02"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	fmt.Println("| what | Ratchet | beside it | must reach | |\n|---|---|---|---|---|")
	for _, bm := range benches {
		if only != "" && !slices.Contains(strings.Split(only, ","), bm.name) {
			continue
		}
		rows, err := bm.run(b)
		if err != nil {
			return fmt.Errorf("%s: %w", bm.name, err)
		}
		for _, r := range rows {
			fmt.Printf("| %s | %s | %s | %s | %s |\n", r.what, r.ours, r.beside, r.must, map[bool]string{true: "reached", false: "**not reached**"}[r.reached])
		}
	}
	return nil
}

// turns measures several things in turn and returns each one's median.
func turns(measure ...func() (float64, error)) ([]float64, error) {
	all := make([][]float64, len(measure))
	for range rounds {
		for i, m := range measure {
			v, err := m()
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], v)
		}
	}
	out := make([]float64, len(measure))
	for i := range all {
		out[i] = median(all[i])
	}
	return out, nil
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return s[len(s)/2]
}

func ms(seconds float64) string { return fmt.Sprintf("%.1f ms", seconds*1000) }
