// Package gateway is the one door through which every language-model call
// goes: it speaks the providers' own protocols, journals each call before it is
// sent and its answer before it is delivered, gives a program that was started
// again the answers it already paid for, and holds budgets, rate limits and
// keys.
//
// Gateway serves one run. Ledger is what the run's calls are: the fold of a
// chain of records beside the run's own. Upstream sends calls to providers.
package gateway
