/* lwIP server over a TUN device, raw (callback) API: echo on PORT, sink on PORT+1, source on PORT+2.
 *
 *   cc -O2 -Wall $(pkg-config --cflags lwip) -o lwip lwip.c $(pkg-config --libs lwip) -lpthread
 *   ./lwip tun0 10.77.0.2 7000
 *
 * Debian's liblwip is built NO_SYS=0 with LWIP_TCPIP_CORE_LOCKING, TCP_MSS 1460, TCP_WND = TCP_SND_BUF = 65535,
 * window scaling 1, no SACK_OUT, no timestamps, malloc for every pool, LWIP_NOASSERT.  The reader thread takes the
 * core lock and calls ip4_input itself, so there is no mailbox hop per packet.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <pthread.h>

#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/tcp.h"
#include "lwip/tcpip.h"

/* <linux/if.h> and <linux/if_tun.h> by hand: they clash with lwIP's posix compat headers */
#define TUNSETIFF 0x400454ca
#define IFF_TUN 0x0001
#define IFF_NO_PI 0x1000
struct tun_req { char name[16]; short flags; char pad[22]; };

static int tun_fd, mtu = 1500;
static char zeros[16384];

/* ---- netif ---- */
static err_t tun_out(struct netif *nif, struct pbuf *p, const ip4_addr_t *dst) {
  static char b[65536];                       /* under the core lock */
  u16_t n = pbuf_copy_partial(p, b, sizeof b - 1, 0);
  ssize_t r = p->next ? write(tun_fd, b, n) : write(tun_fd, p->payload, p->len);
  return r < 0 ? ERR_BUF : ERR_OK;
}
static err_t tun_init(struct netif *nif) {
  nif->name[0] = 't'; nif->name[1] = 'n';
  nif->output = tun_out;
  nif->mtu = mtu;
  nif->flags = NETIF_FLAG_UP | NETIF_FLAG_LINK_UP;
  return ERR_OK;
}
static void *reader(void *arg) {
  struct netif *nif = arg;
  static char b[65536];
  struct pollfd pf = {.fd = tun_fd, .events = POLLIN};
  for (;;) {
    poll(&pf, 1, -1);
    LOCK_TCPIP_CORE();
    for (int i = 0; i < 64; i++) {             /* up to 64 packets per lock hold */
      ssize_t n = read(tun_fd, b, sizeof b);
      if (n <= 0) break;
      struct pbuf *p = pbuf_alloc(PBUF_RAW, n, PBUF_RAM);   /* not PBUF_POOL: Debian's has 616 bytes where the headers say 1536 */
      if (!p) break;
      pbuf_take(p, b, n);
      if (ip_input(p, nif) != ERR_OK) pbuf_free(p);
    }
    UNLOCK_TCPIP_CORE();
  }
  return 0;
}

/* ---- applications ---- */
static err_t closing(struct tcp_pcb *c) { tcp_arg(c, 0); tcp_recv(c, 0); tcp_sent(c, 0); tcp_close(c); return ERR_OK; }
static err_t echo_recv(void *a, struct tcp_pcb *c, struct pbuf *p, err_t e) {
  if (!p) return closing(c);
  for (struct pbuf *q = p; q; q = q->next) tcp_write(c, q->payload, q->len, TCP_WRITE_FLAG_COPY);
  tcp_recved(c, p->tot_len);
  pbuf_free(p);
  tcp_output(c);
  return ERR_OK;
}
static err_t sink_recv(void *a, struct tcp_pcb *c, struct pbuf *p, err_t e) {
  if (!p) return closing(c);
  tcp_recved(c, p->tot_len);
  pbuf_free(p);
  return ERR_OK;
}
static void fill(struct tcp_pcb *c) {
  for (;;) {
    u16_t n = tcp_sndbuf(c); if (n > sizeof zeros) n = sizeof zeros;
    if (!n || tcp_write(c, zeros, n, 0) != ERR_OK) break;   /* no copy: zeros is static */
  }
  tcp_output(c);
}
static err_t source_sent(void *a, struct tcp_pcb *c, u16_t n) { fill(c); return ERR_OK; }
static err_t source_recv(void *a, struct tcp_pcb *c, struct pbuf *p, err_t e) {
  if (!p) return closing(c);
  tcp_recved(c, p->tot_len); pbuf_free(p); return ERR_OK;
}
static err_t on_accept(void *a, struct tcp_pcb *c, err_t e) {
  long kind = (long)a;
  if (!c || e != ERR_OK) return ERR_VAL;
  tcp_nagle_disable(c);
  tcp_recv(c, kind == 0 ? echo_recv : kind == 1 ? sink_recv : source_recv);
  if (kind == 2) { tcp_sent(c, source_sent); fill(c); }
  return ERR_OK;
}
static void on_ready(void *sem) { *(volatile int *)sem = 1; }

int main(int argc, char **argv) {
  const char *dev = argc > 1 ? argv[1] : "tun0", *addr = argc > 2 ? argv[2] : "10.77.0.2";
  int port = argc > 3 ? atoi(argv[3]) : 7000;
  struct tun_req r = {.flags = IFF_TUN | IFF_NO_PI};
  strncpy(r.name, dev, 15);
  if ((tun_fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK)) < 0 || ioctl(tun_fd, TUNSETIFF, &r)) { perror("tun"); return 1; }

  volatile int up = 0;
  tcpip_init(on_ready, (void *)&up);
  while (!up) usleep(1000);
  static struct netif nif;
  ip4_addr_t ip, mask, gw;
  ip4addr_aton(addr, &ip); ip4addr_aton("255.255.255.0", &mask); gw.addr = 0;
  LOCK_TCPIP_CORE();
  netif_add(&nif, &ip, &mask, &gw, 0, tun_init, ip_input);
  netif_set_default(&nif);
  netif_set_up(&nif);
  for (long k = 0; k < 3; k++) {
    struct tcp_pcb *l = tcp_new();
    if (tcp_bind(l, IP_ADDR_ANY, port + k) != ERR_OK) { fprintf(stderr, "bind\n"); return 1; }
    l = tcp_listen_with_backlog(l, 255);
    tcp_arg(l, (void *)k);
    tcp_accept(l, on_accept);
  }
  UNLOCK_TCPIP_CORE();
  pthread_t t;
  pthread_create(&t, 0, reader, &nif);
  fprintf(stderr, "lwIP %s on %s %s ports %d..%d\n", LWIP_VERSION_STRING, dev, addr, port, port + 2);
  pthread_join(t, 0);
}
