package gateway

import (
	"context"
	"time"

	"ratchet/internal/research"
)

// hedged sends a call and, where no answer has begun within models.hedge, sends
// it once more beside; the first that answers counts, the other is broken off.
// A stream is never hedged: what was delivered of it could be of one only.
func (u *upstream) hedged(ctx context.Context, r *request, targets []target, f *flight) answer {
	if u.settings.Hedge <= 0 || r.Stream {
		return u.send(ctx, r, targets, f)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, 2)
	send := func(targets []target) { answers <- u.send(ctx, r, targets, f) }
	under, beside := 1, false
	go send(targets)
	second := time.NewTimer(u.settings.Hedge)
	defer second.Stop()
	for {
		select {
		case <-second.C:
			other := targets
			if len(targets) > 1 {
				other = targets[1:] // what is slow is not asked again
			}
			under++
			beside = true
			go send(other)
		case a := <-answers:
			under--
			if a.class == research.Succeeded || under == 0 {
				a.beside = beside
				cancel()
				for ; under > 0; under-- {
					<-answers
				}
				return a
			}
		}
	}
}
