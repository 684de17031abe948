// gvisor netstack server: echo on PORT, sink on PORT+1, source on PORT+2.
//
//	gvisor -dev tun0 -addr 10.77.0.2 -port 7000 [-mode tun|packet] [-gso N]
//
// mode tun:    /dev/net/tun, L3, no vnet header (what wireguard-go and most Python stacks do)
// mode packet: AF_PACKET socket bound to -dev (one end of a veth), as runsc does; -gso 65536
//
//	turns on host GSO with virtio_net_hdr, and -queue 1000 runsc's FIFO, which sends by sendmmsg
package main

import (
	"encoding/binary"
	"flag"
	"io"
	"log"
	"net"
	"runtime"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/link/qdisc/fifo"
	"gvisor.dev/gvisor/pkg/tcpip/link/tun"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

var (
	dev    = flag.String("dev", "tun0", "interface")
	addr   = flag.String("addr", "10.77.0.2", "IPv4 address of the stack")
	port   = flag.Int("port", 7000, "base port")
	mode   = flag.String("mode", "tun", "tun or packet")
	gso    = flag.Uint("gso", 0, "GSOMaxSize (packet mode only)")
	cc     = flag.String("cc", "cubic", "congestion control: reno or cubic")
	queue  = flag.Int("queue", 0, "packets of the FIFO before the device, 0 for none")
	buffer = flag.Int("buffer", 1024, "KiB of a connection's send and receive buffer at first")

	lna = flag.String("lladdr", "02:00:00:00:77:02", "link address (packet mode)")
)

func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.LittleEndian.Uint16(b[:])
}

func openPacket(name string) int {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		log.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(htons(unix.ETH_P_ALL)))
	if err != nil {
		log.Fatal(err)
	}
	if *gso != 0 { // PACKET_VNET_HDR
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
			log.Fatal(err)
		}
	}
	for _, o := range []int{unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o, 4<<20)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifi.Index}); err != nil {
		log.Fatal(err)
	}
	return fd
}

func main() {
	flag.Parse()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	ifi, err := net.InterfaceByName(*dev)
	if err != nil {
		log.Fatal(err)
	}
	o := &fdbased.Options{MTU: uint32(ifi.MTU)}
	if *mode == "tun" {
		fd, err := tun.Open(*dev)
		if err != nil {
			log.Fatal(err)
		}
		o.FDs = []int{fd}
	} else {
		o.FDs = []int{openPacket(*dev)}
		o.EthernetHeader = true
		mac, _ := net.ParseMAC(*lna)
		o.Address = tcpip.LinkAddress(mac)
		o.PacketDispatchMode = fdbased.RecvMMsg
		o.GSOMaxSize = uint32(*gso)
		o.TXChecksumOffload = false // as runsc: GSO packets ask for NEEDS_CSUM themselves
		o.RXChecksumOffload = true
		tune(o)
	}
	ep, err := fdbased.New(o)
	if err != nil {
		log.Fatal(err)
	}
	// The options runsc sets (runsc/boot/loader.go) plus the buffer ranges most embedders set.
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	ccOpt := tcpip.CongestionControlOption(*cc)
	rcv := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: *buffer << 10, Max: 8 << 20}
	snd := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: *buffer << 10, Max: 8 << 20}
	for _, opt := range []tcpip.SettableTransportProtocolOption{&sack, &moderate, &ccOpt, &rcv, &snd} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, opt); err != nil {
			log.Fatalf("%T: %s", opt, err)
		}
	}
	options := stack.NICOptions{}
	if *queue > 0 {
		options.QDisc = fifo.New(ep, runtime.GOMAXPROCS(0), *queue)
	}
	if err := s.CreateNICWithOptions(1, ep, options); err != nil {
		log.Fatal(err)
	}
	ip := toAddress(net.ParseIP(*addr).To4())
	if err := s.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: ip, PrefixLen: 24}}, stack.AddressProperties{}); err != nil {
		log.Fatal(err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}})

	for i, h := range []func(net.Conn){echo, sink, source} {
		l := listen(s, tcpip.FullAddress{NIC: 1, Addr: ip, Port: uint16(*port + i)})
		h := h
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					log.Fatal(err)
				}
				go h(c)
			}
		}()
	}
	log.Printf("netstack on %s %s mtu %d ports %d..%d", *dev, *addr, ifi.MTU, *port, *port+2)
	select {}
}

func listen(s *stack.Stack, a tcpip.FullAddress) net.Listener { // gonet.ListenTCP, but with a backlog of 1024
	var wq waiter.Queue
	ep, err := s.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, &wq)
	if err != nil {
		log.Fatal(err)
	}
	if err := ep.Bind(a); err != nil {
		log.Fatal(err)
	}
	if err := ep.Listen(1024); err != nil {
		log.Fatal(err)
	}
	return gonet.NewTCPListener(s, &wq, ep)
}

func echo(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 512) // small: it is counted in the idle-memory figure
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func sink(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 256<<10)
	for {
		if _, err := c.Read(buf); err == io.EOF || err != nil {
			return
		}
	}
}

func source(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 256<<10)
	for {
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}
