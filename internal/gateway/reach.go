package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/net/http/httpproxy"
)

// allows reports whether programs may reach a port of a host. An entry of Hosts
// without a port means 80 and 443.
func (t Tools) allows(host, port string) bool {
	if strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" && !isAddress(host) {
		return false
	}
	return slices.ContainsFunc(t.Hosts, func(entry string) bool {
		pattern, ports := splitEntry(entry)
		if ok, err := path.Match(pattern, strings.ToLower(host)); !ok || err != nil {
			return false
		}
		switch ports {
		case "*", port:
			return true
		case "":
			return port == "80" || port == "443"
		}
		return false
	})
}

func splitEntry(entry string) (pattern, port string) {
	entry = strings.ToLower(entry)
	if isAddress(entry) {
		return entry, ""
	}
	if host, port, err := net.SplitHostPort(entry); err == nil {
		return host, port
	}
	return entry, ""
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// NamesPrivate reports whether an entry of Hosts opens what is not on the
// internet: this machine, or its network.
func NamesPrivate(entry string) bool {
	pattern, _ := splitEntry(entry)
	if p, err := netip.ParsePrefix(entry); err == nil {
		return !onInternet(p.Addr().Unmap()) || p.Bits() < 8
	}
	a, err := netip.ParseAddr(pattern)
	return pattern == "localhost" || err == nil && !onInternet(a.Unmap())
}

// closedError says that a name leads to where programs may not get.
type closedError struct{ Address netip.Addr }

func (e *closedError) Error() string {
	return fmt.Sprintf("this leads to %s, which is this machine, or not on the internet; name the address itself, with its port, in tools.hosts, or with --allow-network, to open it", e.Address)
}

// mayReach reports whether programs may be connected to an address. What is not
// on the internet must be named as an address, or as a range of such:
// otherwise the owner of an allowed name could lead it anywhere.
func (t Tools) mayReach(a netip.Addr) bool {
	a = a.Unmap()
	if onInternet(a) {
		return true
	}
	return slices.ContainsFunc(t.Hosts, func(entry string) bool {
		pattern, _ := splitEntry(entry)
		if p, err := netip.ParsePrefix(entry); err == nil {
			return p.Contains(a)
		}
		if named, err := netip.ParseAddr(pattern); err == nil {
			return named.Unmap() == a
		}
		return pattern == "localhost" && a.IsLoopback()
	})
}

// special are the ranges of addresses that are not of the internet, or lead to
// others that may not be (IANA's registries of special-purpose addresses,
// RFC 6890), besides those that package netip knows.
var special = func() (out []netip.Prefix) {
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10",
	} {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}()

// onInternet reports whether an address is one on the internet, and not of this
// machine.
func onInternet(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" || slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return false
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(own, func(o net.Addr) bool {
		p, err := netip.ParsePrefix(o.String())
		return err == nil && p.Addr().Unmap() == a
	})
}

// dialer connects programs to hosts. It looks at the address that is connected
// to, since a name can lead elsewhere at every look-up.
func (t Tools) dialer() *net.Dialer {
	return &net.Dialer{Timeout: dialTime, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err == nil && !t.mayReach(at.Addr()) {
			return &closedError{at.Addr()}
		}
		return err
	}}
}

// transport is one for what programs fetch.
func (t Tools) transport() *http.Transport {
	out := http.DefaultTransport.(*http.Transport).Clone()
	out.DisableCompression = true // bytes are passed on as they come
	guarded, plain := t.dialer(), &net.Dialer{Timeout: dialTime}
	set := httpproxy.FromEnvironment()
	out.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		// The proxy that this machine needs is often an address of its own network.
		for _, proxy := range []string{set.HTTPProxy, set.HTTPSProxy} {
			if proxy != "" && strings.Contains(proxy, address) {
				return plain.DialContext(ctx, network, address)
			}
		}
		return guarded.DialContext(ctx, network, address)
	}
	return out
}
