package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ratchet/internal/sandbox"
	"ratchet/internal/shim"
	"ratchet/study"
)

// products multiplies small matrices in parallel, as many libraries do, and prints how
// many it did in a second.
const products = `
#include <omp.h>
#include <stdio.h>
#define N 192
static double a[N][N], b[N][N], c[N][N];
int main(void) {
    for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) a[i][j] = i + j, b[i][j] = i - j;
    int n = 0;
    double began = omp_get_wtime(), took;
    do {
        #pragma omp parallel for
        for (int i = 0; i < N; i++) for (int k = 0; k < N; k++) for (int j = 0; j < N; j++) c[i][j] += a[i][k] * b[k][j];
        n++;
    } while ((took = omp_get_wtime() - began) < 4);
    printf("%f\n", n / took);
    return c[1][1] < -1;
}
`

// threads measures matrix products within a share of one processor: with a thread for
// each of 16 processors, as libraries start them by themselves, and with as many as
// attempts are told.
func threads(b *bench) ([]row, error) {
	dir := filepath.Join(b.dir, "threads")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	source, program := filepath.Join(dir, "products.c"), filepath.Join(dir, "products")
	if err := os.WriteFile(source, []byte(products), 0o600); err != nil {
		return nil, err
	}
	if err := command("gcc", "-O2", "-fopenmp", "-o", program, source).Run(); err != nil {
		return nil, fmt.Errorf("compiling with OpenMP (Debian: gcc): %w", err)
	}
	runs := 0
	with := func(threads string) func() (float64, error) {
		return func() (float64, error) {
			runs++
			spec := boxed([]string{"./products"}, 64<<20)
			spec.Limits.CPUs, spec.Limits.Time = 1, study.Duration(time.Minute)
			spec.Inputs = []sandbox.Bind{{Source: program, Target: "products"}}
			spec.Env = append(spec.Env, "OMP_NUM_THREADS="+threads)
			folder := filepath.Join(dir, strconv.Itoa(runs))
			h, err := (*shim.Launcher)(nil).Start(folder, spec, func(string) error { return nil })
			if err != nil {
				return 0, err
			}
			if _, err := h.Wait(context.Background()); err != nil {
				return 0, err
			}
			out, err := os.ReadFile(shim.Stdout(folder))
			if err != nil {
				return 0, err
			}
			return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		}
	}
	got, err := turns(with("1"), with("16"))
	if err != nil {
		return nil, err
	}
	return []row{{
		"matrix products a second on one processor's share, threads as told", fmt.Sprintf("%.0f", got[0]),
		fmt.Sprintf("16 threads: %.0f (%.2f times)", got[1], got[1]/got[0]), "more", got[0] > got[1],
	}}, nil
}
