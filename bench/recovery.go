package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"ratchet/internal/demo"
)

// recovery measures how long it takes, after each of the faults that the demo
// injects, until the work goes on: median and worst of several rounds.
func recovery(b *bench) ([]row, error) {
	took := map[string][]float64{}
	injected, lost := map[string]int{}, map[string]int{}
	var order []string
	for range rounds {
		for _, scenario := range []string{"2", "3", "4", "5"} {
			out, err := command(b.binary, "demo", scenario, "--json").Output()
			if err != nil {
				return nil, fmt.Errorf("scenario %s: %w", scenario, err)
			}
			var results []demo.Result
			if err := json.Unmarshal(out, &results); err != nil {
				return nil, err
			}
			for _, r := range results[0].Rows {
				if !slices.Contains(order, r.Fault) {
					order = append(order, r.Fault)
				}
				injected[r.Fault] += r.Injected
				lost[r.Fault] += r.Lost
				took[r.Fault] = append(took[r.Fault], r.Recovery...)
			}
		}
	}
	var rows []row
	for _, fault := range order {
		r := demo.Row{Recovery: took[fault]}
		rows = append(rows, row{
			"recovery from: " + fault, fmt.Sprintf("%s, at worst %s", seconds(r.Median()), seconds(r.Worst())),
			fmt.Sprintf("%d injected, %d lost", injected[fault], lost[fault]), "60 s, none lost", r.Worst() < 60 && lost[fault] == 0,
		})
	}
	return rows, nil
}

func seconds(s float64) string {
	if s < 1 {
		return ms(s)
	}
	return fmt.Sprintf("%.1f s", s)
}
