// What main.go needs of gVisor's API as it was in 2024.
package main

import (
	"net"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
)

func toAddress(ip net.IP) tcpip.Address { return tcpip.AddrFromSlice(ip) }

func tune(o *fdbased.Options) { o.GRO = *gso != 0 }
