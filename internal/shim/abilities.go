package shim

// Ability is one thing that this machine can or cannot do for isolation.
type Ability struct {
	Name   string `json:"name"`
	Has    bool   `json:"has"`
	Detail string `json:"detail"` // what it gives, or why it is missing and what to do
}
