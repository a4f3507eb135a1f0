package failure

import "testing"

// TestWords: what a failure's message quotes is the error, whatever a language prints
// around it and wherever.
func TestWords(t *testing.T) {
	for name, c := range map[string][3]string{
		"Node.js": {"file:///ratchet/work/agent.mjs:3\nthrow new Error('no key')\n      ^\n\nError: no key\n    at file:///ratchet/work/agent.mjs:3:7\n    at ModuleJob.run (node:internal/modules/esm/module_job:343:25)\n\nNode.js v20.20.2\n", "", "Error: no key"},
		"a package of Node.js": {"node:internal/modules/package_json_reader:256\n  throw new ERR_MODULE_NOT_FOUND(packageName, fileURLToPath(base), null);\n        ^\n\nError [ERR_MODULE_NOT_FOUND]: Cannot find package 'openai' imported from /ratchet/work/agent.mjs\n    at Object.getPackageJSONURL (node:internal/modules/package_json_reader:256:9) {\n  code: 'ERR_MODULE_NOT_FOUND'\n}\n\nNode.js v22.1.0\n", "",
			"Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'openai' imported from /ratchet/work/agent.mjs"},
		"Python":              {"Traceback (most recent call last):\n  File \"t.py\", line 1, in <module>\n    x\nValueError: bad value\nsys:1: ResourceWarning: unclosed file\n", "", "ValueError: bad value"},
		"torch":               {"Traceback (most recent call last):\n  ...\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n", "", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"},
		"Go":                  {"panic: runtime error: index out of range [3] with length 2\n\ngoroutine 1 [running]:\nmain.main()\n\t/tmp/x.go:5 +0x1d\nexit status 2\n", "", "panic: runtime error: index out of range [3] with length 2"},
		"Rust":                {"thread 'main' panicked at src/main.rs:2:5:\nthe data is empty\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n", "", "the data is empty"},
		"Julia":               {"ERROR: LoadError: UndefVarError: `x` not defined\nStacktrace:\n [1] top-level scope\n   @ /tmp/x.jl:1\nin expression starting at /tmp/x.jl:1\n", "", "ERROR: LoadError: UndefVarError: `x` not defined"},
		"R":                   {"Error in read.csv(\"x.csv\") : cannot open the connection\nCalls: read.csv -> file\nExecution halted\n", "", "Error in read.csv(\"x.csv\") : cannot open the connection"},
		"Java":                {"Exception in thread \"main\" java.lang.IllegalStateException: no model\n\tat Main.main(Main.java:3)\n", "", "Exception in thread \"main\" java.lang.IllegalStateException: no model"},
		"C++":                 {"terminate called after throwing an instance of 'std::runtime_error'\n  what():  no data\n", "", "terminate called after throwing an instance of 'std::runtime_error'"},
		"on stdout":           {"warming up\n", "epoch 1\nRuntimeError: diverged\n", "RuntimeError: diverged"},
		"in no form":          {"loading\nno such device\n\n", "fine\n", "no such device"},
		"behind what is none": {"no such device\nNode.js v20.1.0\n", "", "no such device"},
		"nothing":             {"", "", ""},
	} {
		if got := words(c[0], c[1]); got != c[2] {
			t.Errorf("%s: %q", name, got)
		}
	}
}
