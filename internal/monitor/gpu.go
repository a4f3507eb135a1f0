package monitor

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// NvidiaSMI reads NVIDIA's devices by the program of that name, in a path; ""
// where it is not there.
type NvidiaSMI string

// FindNvidiaSMI looks the program up.
func FindNvidiaSMI() NvidiaSMI {
	path, err := exec.LookPath("nvidia-smi")
	if err != nil {
		return ""
	}
	return NvidiaSMI(path)
}

const (
	deviceQuery  = "index,uuid,name,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw,ecc.errors.uncorrected.volatile.total"
	processQuery = "gpu_uuid,pid,used_gpu_memory"
)

// Read asks for all devices and the processes on them. It ends when ctx does.
func (n NvidiaSMI) Read(ctx context.Context) ([]GPU, error) {
	rows, err := n.query(ctx, "--query-gpu="+deviceQuery, 9)
	if err != nil {
		return nil, err
	}
	var out []GPU
	at := map[string]int{}
	for _, r := range rows {
		index, err := strconv.Atoi(r[0])
		if err != nil {
			return nil, fmt.Errorf("nvidia-smi: a device has the number %q", r[0])
		}
		g := GPU{Index: index, ID: r[1], Name: r[2], Temperature: number(r[6]), Power: number(r[7]), Processes: []GPUProcess{}}
		if u := number(r[3]); u != nil {
			share := *u / 100
			g.Use = &share
		}
		g.MemoryUsed, g.MemoryTotal = mebibytes(r[4]), mebibytes(r[5])
		if e := number(r[8]); e != nil {
			errors := int64(*e)
			g.ECCErrors = &errors
		}
		at[g.ID] = len(out)
		out = append(out, g)
	}
	rows, err = n.query(ctx, "--query-compute-apps="+processQuery, 3)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		i, known := at[r[0]]
		pid, err := strconv.Atoi(r[1])
		if known && err == nil {
			out[i].Processes = append(out[i].Processes, GPUProcess{PID: pid, Memory: mebibytes(r[2])})
		}
	}
	return out, nil
}

func (n NvidiaSMI) query(ctx context.Context, what string, fields int) ([][]string, error) {
	cmd := exec.CommandContext(ctx, string(n), what, "--format=csv,noheader,nounits")
	b, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			words := strings.TrimSpace(string(append(exit.Stderr, b...)))
			return nil, fmt.Errorf("nvidia-smi: %w: %.200s", err, words)
		}
		return nil, fmt.Errorf("nvidia-smi: %w", err)
	}
	r := csv.NewReader(bytes.NewReader(b))
	r.FieldsPerRecord, r.TrimLeadingSpace = fields, true
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("nvidia-smi said something else than was asked: %w", err)
	}
	return rows, nil
}

// number reads a value; nil for [N/A], [Not Supported] and the like.
func number(s string) *float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil {
		return nil
	}
	return &v
}

func mebibytes(s string) *int64 {
	v := number(s)
	if v == nil {
		return nil
	}
	n := int64(*v * (1 << 20))
	return &n
}
