package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// leakError says that a request has a secret in it.
type leakError struct{ Kind string }

func (e *leakError) Error() string {
	return fmt.Sprintf("the request has a secret in it (%s), which must not leave this machine", e.Kind)
}

// leaks says what secret a request has in it, wherever it goes with it: in its
// body, as it is and as who reads JSON understands it, its path, its query and
// the headers that are sent.
func (g *Gateway) leaks(r *request) string {
	texts := []string{string(r.body), unescaped(r.body)}
	for _, part := range []string{r.path, r.query} {
		plain, err := url.QueryUnescape(part)
		if err != nil {
			plain = part
		}
		texts = append(texts, plain)
	}
	for name, values := range r.header {
		value := strings.Join(values, "\n")
		switch {
		case r.protocol == web:
			// A program may have a key of its own for a host; one of the engine's it
			// may not send.
			if known := g.Secrets.Known([]byte(value)); string(known) != value {
				return "secret of this process's environment"
			}
		case sent(name):
			texts = append(texts, value)
		}
	}
	for _, text := range texts {
		if text == "" {
			continue
		}
		if kind := g.Secrets.Has(text); kind != "" {
			return kind
		}
		for _, re := range g.Settings.Secrets {
			if re.MatchString(text) {
				return "of the form " + re.String()
			}
		}
	}
	return ""
}

// unescaped are the texts of a JSON document in which characters are escaped, one
// a line; "" where none are.
func unescaped(body []byte) string {
	if !bytes.ContainsRune(body, '\\') {
		return ""
	}
	var out strings.Builder
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	for {
		t, err := d.Token()
		if err != nil {
			return out.String() // its end, or no JSON from here on
		}
		if s, ok := t.(string); ok {
			out.WriteString(s)
			out.WriteByte('\n')
		}
	}
}
