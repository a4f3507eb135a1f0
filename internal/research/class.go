package research

// Class says how an attempt or a trial ended: Succeeded, or why it failed.
type Class string

// The classes of the design, with Succeeded as the absence of failure.
const (
	Succeeded     Class = "succeeded"
	Transient     Class = "transient"
	RateLimited   Class = "rate_limited"
	Quota         Class = "quota"
	Auth          Class = "auth"
	Resource      Class = "resource"
	Timeout       Class = "timeout"
	ProgramFault  Class = "program"
	InvalidOutput Class = "invalid_output"
	Security      Class = "security"
	InvalidStudy  Class = "invalid_study"
	Internal      Class = "internal"
)
