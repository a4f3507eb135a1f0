package research

// Code is where the content of a folder came from: what its git repository says when
// the run is made.
type Code struct {
	Folder    string `json:"folder"` // of the study, ".", or an input's name
	Commit    string `json:"commit,omitempty"`
	Branch    string `json:"branch,omitempty"` // "": none is checked out
	Remote    string `json:"remote,omitempty"` // of origin, without credentials
	Dirty     bool   `json:"dirty,omitempty"`  // files that git knows differ from the commit
	Untracked int    `json:"untracked,omitempty"`
	// Diff is how they differ, without secrets, cut where Cut says so.
	Diff string `json:"diff,omitempty"`
	Cut  bool   `json:"diff_cut,omitempty"`
	// Unknown says why nothing is known.
	Unknown string `json:"unknown,omitempty"`
}

// Text is one line on where a folder came from.
func (c Code) Text() string {
	if c.Unknown != "" {
		return c.Unknown
	}
	text := c.Commit[:min(len(c.Commit), 12)]
	if c.Branch != "" {
		text += " on " + c.Branch
	}
	if c.Dirty {
		text += ", changed since"
	}
	if c.Untracked > 0 {
		text += ", " + Counted(c.Untracked, "file") + " not in git"
	}
	if c.Remote != "" {
		text += ", " + c.Remote
	}
	return text
}
