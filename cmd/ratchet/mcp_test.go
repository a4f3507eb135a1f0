package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestMCP: a client of the Model Context Protocol asks and tells over standard input and output.
func TestMCP(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"study.yaml": openCrashStudy, "x.sh": strings.ReplaceAll(openCrashProgram, "sleep", ": ")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ratchet := func(args ...string) *exec.Cmd {
		cmd := exec.Command(self(t), append(args, "--home", filepath.Join(dir, "home"))...)
		cmd.Dir = dir
		return cmd
	}
	if out, err := ratchet("open", "study.yaml").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	steps := make(chan string, 1000)
	client := mcp.NewClient(&mcp.Implementation{Name: "tester", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { steps <- r.Params.Message },
	})
	server := ratchet("mcp")
	server.Stderr = os.Stderr
	session, err := client.Connect(ctx, &mcp.CommandTransport{Command: server}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	}()
	call := func(name string, args map[string]any) (text string, failed bool) {
		t.Helper()
		p := &mcp.CallToolParams{Name: name, Arguments: args}
		p.SetProgressToken(name)
		r, err := session.CallTool(ctx, p)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, c := range r.Content {
			text += c.(*mcp.TextContent).Text
		}
		return text, r.IsError
	}
	tools, err := session.ListTools(ctx, nil)
	if err != nil || len(tools.Tools) < 8 {
		t.Fatalf("the tools are %v (%v)", tools, err)
	}
	if text, failed := call("ask", nil); failed || !strings.Contains(text, "raise score") {
		t.Errorf("ask says %s", text)
	}
	const patch = "--- a/x.sh\n+++ b/x.sh\n@@ -1,2 +1,2 @@\n-base=1\n+base=5\n echo \"$RATCHET_ATTEMPT\" >> \"$RATCHET_CHECKPOINT/starts\"\n"
	text, failed := call("tell", map[string]any{"why": "a larger base", "patch": patch, "wait": true})
	var a answer
	if err := json.Unmarshal([]byte(text), &a); failed || err != nil || a.Experiment != "e0002" || a.Verdict != "kept" {
		t.Errorf("tell says %s", text)
	}
	if len(steps) == 0 {
		t.Error("there was no word of progress")
	}
	if text, failed = call("tell", map[string]any{"why": "w", "parameters": map[string]any{"a": 1}}); !failed || !strings.Contains(text, `"a" is not a parameter`) {
		t.Errorf("a parameter that there is not: %s", text)
	}
	if text, failed = call("note", map[string]any{"text": "try six", "experiment": "e0002"}); failed {
		t.Errorf("note says %s", text)
	}
	if text, failed = call("show", map[string]any{"experiment": "e0002"}); failed || !strings.Contains(text, "+base=5") || !strings.Contains(text, `"who": "tester"`) {
		t.Errorf("show says %s", text)
	}
	if text, failed = call("status", nil); failed || !strings.Contains(text, `"status": "running"`) {
		t.Errorf("status says %s", text)
	}
	if text, failed = call("validate_study", map[string]any{"file": filepath.Join(dir, "study.yaml")}); failed || !strings.Contains(text, `"valid": true`) {
		t.Errorf("validate_study says %s", text)
	}
	for _, args := range [][]string{{"ask"}, {"tell", "--parent", "e0001", "--why", "again", "--code", dir}} {
		var said, schema any
		for to, args := range map[*any][]string{&said: append(args, "--json"), &schema: {"schema", args[0]}} {
			out, err := ratchet(args...).Output()
			if err == nil {
				err = json.Unmarshal(out, to)
			}
			if err != nil {
				t.Fatalf("%v: %v", args, err)
			}
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource("it.json", schema); err != nil {
			t.Fatal(err)
		}
		if s, err := c.Compile("it.json"); err != nil || s.Validate(said) != nil {
			t.Errorf("what %s prints is not by its schema: %v, %v", args[0], err, s.Validate(said))
		}
	}
	if out, err := ratchet("close", "-q").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if text, failed = call("report", map[string]any{"run": "latest"}); failed || !strings.Contains(text, `"status": "completed"`) {
		t.Errorf("report says %.300s", text)
	}
}
