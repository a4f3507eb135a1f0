package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/spf13/cobra"
)

func (a *app) metricsCommand() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:   "metrics [RUN...]",
		Short: "Print runs as Prometheus metrics, or serve them with --listen",
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			e, err := a.open(true)
			if err != nil {
				return err
			}
			defer e.Close()
			ctx, stop := a.interruptible(c.Context())
			defer stop()
			var runs []string
			for _, name := range args {
				run, err := e.Find(ctx, name, nil)
				if err != nil {
					return err
				}
				runs = append(runs, run)
			}
			registry := e.Metrics(ctx, runs...)
			if listen != "" {
				return a.serveMetrics(ctx, listen, registry)
			}
			return writeMetrics(a.out, registry)
		},
	}
	c.Flags().StringVar(&listen, "listen", "", "serve them at http://ADDRESS/metrics until interrupted, 127.0.0.1:9478 say")
	return c
}

// writeMetrics writes what was gathered in Prometheus's text format.
func writeMetrics(w io.Writer, from prometheus.Gatherer) error {
	families, err := from.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return err
		}
	}
	return nil
}

// serveMetrics answers scrapes until ctx ends.
func (a *app) serveMetrics(ctx context.Context, address string, from prometheus.Gatherer) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return usageError{fmt.Errorf("--listen: %w", err)}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		if err := writeMetrics(&b, from); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
		_, _ = b.WriteTo(w) // ignore write errors: the client may be gone
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })() // clients scrape again
	a.printf("metrics at http://%s/metrics; Ctrl-C ends it\n", l.Addr())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
