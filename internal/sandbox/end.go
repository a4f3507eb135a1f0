package sandbox

// End is what the sandbox's first process reports of the command.
type End struct {
	SetUp   string `json:",omitempty"`
	Missing bool   `json:",omitempty"`
	Exit    int
	Signal  string `json:",omitempty"`
	CPU     float64
	Memory  int64
	// Refused waits until everything is gone and gives the alarming calls.
	Refused func() []string `json:"-"`
}
