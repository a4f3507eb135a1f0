package processes

import "golang.org/x/sys/unix"

// Own are the processors that this process may run on, by their numbers; nil: the
// kernel does not say.
func Own() (out []int) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil
	}
	for n := range len(set) * 64 {
		if set.IsSet(n) {
			out = append(out, n)
		}
	}
	return out
}
