// Package ledger is what a run's model calls are on record: each is journaled before
// it leaves and when it was answered, an attempt that asks again gets what is there,
// and reservations keep calls at the same time within their budgets.
package ledger
