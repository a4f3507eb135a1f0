package failure

import (
	"regexp"
	"strconv"
	"sync"

	"ratchet/internal/research"
)

// pattern is text that tells what kind of failure it is from: a program's last
// words, or the body of an answer.
type pattern struct {
	id    string // for good: journals have it
	class research.Class
	// certain: the same happens again, whatever the luck.
	certain bool
	text    *regexp.Regexp
}

// What is found where the network is away, or closed.
const nameResolution, unreachable = "name-resolution", "network-unreachable"

// patterns are tried in this order; the first that is found counts. What is
// more particular comes first. Each has a sample of real text in
// testdata/patterns.txt. Compiled when first used: a shim never needs them, and
// its start is in every trial.
var patterns = sync.OnceValue(func() []pattern {
	return []pattern{
		// Memory of GPUs.
		{"cuda-out-of-memory", research.Resource, false, regexp.MustCompile(`CUDA out of memory|torch\.(?:cuda\.)?OutOfMemoryError|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation`)},
		{"cublas-alloc", research.Resource, false, regexp.MustCompile(`CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|CUSOLVER_STATUS_ALLOC_FAILED`)},
		{"hip-out-of-memory", research.Resource, false, regexp.MustCompile(`HIP out of memory|hipErrorOutOfMemory`)},
		{"mps-out-of-memory", research.Resource, false, regexp.MustCompile(`MPS backend out of memory`)},
		{"xla-out-of-memory", research.Resource, false, regexp.MustCompile(`RESOURCE_EXHAUSTED: (?:Out of memory|Failed to allocate)|ResourceExhaustedError: .*OOM when allocating`)},
		// Devices that fail.
		{"gpu-ecc", research.Transient, false, regexp.MustCompile(`uncorrectable ECC error`)},
		{"gpu-lost", research.Transient, false, regexp.MustCompile(`GPU is lost|GPU has fallen off the bus|CUDA-capable device\(s\) is/are busy or unavailable|Unable to determine the device handle`)},
		{"no-cuda-device", research.ProgramFault, true, regexp.MustCompile(`no CUDA-capable device is detected|Found no NVIDIA driver on your system|No CUDA GPUs are available`)},
		{"cuda-driver-too-old", research.ProgramFault, true, regexp.MustCompile(`CUDA driver version is insufficient for CUDA runtime version|driver on your system is too old`)},
		// Programs that talk to each other.
		{"nccl", research.Transient, false, regexp.MustCompile(`NCCL error|ncclSystemError|ncclRemoteError|ncclInternalError|Watchdog caught collective operation timeout|Socket Timeout.*TCPStore|DistStoreError`)},
		// Memory, processes and disk of the machine.
		{"shared-memory", research.Resource, false, regexp.MustCompile(`insufficient shared memory \(shm\)|unable to (?:open|write to) shared memory|torch_shm_manager`)},
		{"python-memory", research.Resource, false, regexp.MustCompile(`(?m)^(?:numpy\.[\w.]*_ArrayMemoryError|MemoryError)\b|Unable to allocate [\d.]+ [KMGT]?i?B for an array`)},
		{"no-memory", research.Resource, false, regexp.MustCompile(`std::bad_alloc|Cannot allocate memory|java\.lang\.OutOfMemoryError|JavaScript heap out of memory|fatal error: runtime: out of memory|memory allocation of \d+ bytes failed|virtual memory exhausted`)},
		{"killed-for-memory", research.Resource, false, regexp.MustCompile(`oom_kill event|oom-kill|Out of memory: Killed process|worker .* was sent SIGKILL! Perhaps out of memory|A worker process managed by the executor was unexpectedly terminated`)},
		{"disk-full", research.Resource, false, regexp.MustCompile(`No space left on device|\bENOSPC\b|database or disk is full`)},
		{"disk-quota", research.Resource, false, regexp.MustCompile(`Disk quota exceeded|\bEDQUOT\b`)},
		{"file-too-large", research.Resource, false, regexp.MustCompile(`File too large|File size limit exceeded`)},
		{"processes", research.Resource, false, regexp.MustCompile(`[Cc]annot fork|can't start new thread|fork: .*Resource temporarily unavailable|failed to create new OS thread|pthread_create.* (?:failed|Resource temporarily unavailable)|BlockingIOError: \[Errno 11\]|libgomp: Thread creation failed`)},
		{"open-files", research.Resource, false, regexp.MustCompile(`Too many open files`)},
		// Providers of models: the bodies of their answers, and what their clients
		// make of them.
		{"provider-quota", research.Quota, false, regexp.MustCompile(`insufficient_quota|exceeded your current quota|billing_hard_limit_reached|billing_not_active|credit balance is too low|"code": ?402|Error code: 402|Insufficient Balance|requires more credits`)},
		{"provider-auth", research.Auth, false, regexp.MustCompile(`invalid_api_key|Incorrect API key provided|authentication_error|invalid x-api-key|AuthenticationError: |API key not valid|API_KEY_INVALID|Error code: 401|PermissionDeniedError: |permission_error|Error code: 403|"status": ?"(?:UNAUTHENTICATED|PERMISSION_DENIED)"`)},
		{"provider-rate", research.RateLimited, false, regexp.MustCompile(`rate_limit_exceeded|rate_limit_error|RateLimitError|Rate limit reached|Too Many Requests|Error code: 429|"status": ?"RESOURCE_EXHAUSTED"`)},
		{"provider-overloaded", research.RateLimited, false, regexp.MustCompile(`overloaded_error|Overloaded\b|Error code: 529|currently overloaded|"status": ?"UNAVAILABLE"`)},
		{"provider-failed", research.Transient, false, regexp.MustCompile(`InternalServerError: |Error code: 50[0-4]|"type": ?"(?:server_error|api_error|timeout_error)"|50[234] (?:Server Error|Bad Gateway|Service (?:Temporarily )?Unavailable|Gateway Time-?out)`)},
		// The network.
		{nameResolution, research.Transient, false, regexp.MustCompile(`Temporary failure in name resolution|Name or service not known|Could not resolve host|getaddrinfo (?:EAI_AGAIN|ENOTFOUND)|no such host`)},
		{unreachable, research.Transient, false, regexp.MustCompile(`No route to host|Network is unreachable`)},
		{"connection", research.Transient, false, regexp.MustCompile(`Connection reset by peer|Connection refused|Connection timed out|Connection aborted|Read timed out|ReadTimeout|ConnectTimeout|APIConnectionError|Remote end closed connection|\bECONNRESET\b|\bETIMEDOUT\b|i/o timeout|TLS handshake timeout`)},
		{"stale-file", research.Transient, false, regexp.MustCompile(`Stale (?:NFS )?file handle|Transport endpoint is not connected|Remote I/O error|Input/output error`)},
		// What is so whenever it is tried.
		{"python-module-missing", research.ProgramFault, true, regexp.MustCompile(`(?m)^(?:ModuleNotFoundError|ImportError): `)},
		{"python-syntax", research.ProgramFault, true, regexp.MustCompile(`(?m)^(?:SyntaxError|IndentationError|TabError): `)},
		{"library-missing", research.ProgramFault, true, regexp.MustCompile(`error while loading shared libraries|version .GLIBC[\w.]*' not found`)},
		{"arguments", research.ProgramFault, true, regexp.MustCompile(`error: (?:unrecognized arguments|the following arguments are required|argument .*: (?:invalid|expected))|[Uu]nknown (?:option|flag)|unrecognized option|Error: No such option`)},
		{"command-not-found", research.ProgramFault, true, regexp.MustCompile(`(?m): (?:\d+: )?[\w./-]+: (?:command )?not found$`)},
		{"exec-format", research.ProgramFault, true, regexp.MustCompile(`Exec format error|cannot execute binary file|bad interpreter`)},
		// Anything else that Python says of itself.
		{"python-traceback", research.ProgramFault, false, regexp.MustCompile(`Traceback \(most recent call last\):`)},
		{"assertion", research.ProgramFault, false, regexp.MustCompile(`Assertion .* failed`)},
		{"panic", research.ProgramFault, false, regexp.MustCompile(`(?m)^panic: |^thread '.*' .*panicked at`)},
	}
})

// recognise finds the pattern of a text; an empty one if there is none.
func recognise(text string) pattern {
	for _, p := range patterns() {
		if p.text.MatchString(text) {
			return p
		}
	}
	return pattern{}
}

// asked is a server's wish to wait, in a header that a client printed, or in
// the words of a provider.
var asked = sync.OnceValue(func() []wished {
	return []wished{
		{regexp.MustCompile(`(?i)retry-after-ms["']?\s*[:=]\s*["']?(\d+(?:\.\d+)?)`), 1000},
		{regexp.MustCompile(`(?i)retry[-_ ]after["']?\s*[:=]\s*["']?(\d+(?:\.\d+)?)`), 1},
		{regexp.MustCompile(`[Pp]lease (?:try again|retry) (?:in|after) (\d+(?:\.\d+)?)\s*s`), 1},
		{regexp.MustCompile(`[Pp]lease (?:try again|retry) (?:in|after) (\d+(?:\.\d+)?)\s*ms`), 1000},
		{regexp.MustCompile(`"retryDelay": ?"(\d+(?:\.\d+)?)s"`), 1},
	}
})

type wished struct {
	text *regexp.Regexp
	per  float64 // of its unit in a second
}

// wish is how long a text asks to wait, in seconds; 0: it does not.
func wish(text string) float64 {
	for _, a := range asked() {
		if m := a.text.FindStringSubmatch(text); m != nil {
			if n, err := strconv.ParseFloat(m[1], 64); err == nil {
				return n / a.per
			}
		}
	}
	return 0
}

// Patterns are the ids of all patterns.
func Patterns() []string {
	var out []string
	for _, p := range patterns() {
		out = append(out, p.id)
	}
	return out
}
