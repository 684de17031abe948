/* The ceiling for any TUN-based stack: two TUN devices in two namespaces, one thread copying packets between them,
 * kernel TCP at both ends.  cc -O2 -o bounce bounce.c; ./bounce nsA devA nsB devB [vnet] opens each TUN in its namespace.
 * With "vnet": IFF_VNET_HDR + TUNSETOFFLOAD(CSUM|TSO4), so 64 KiB super-segments cross. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
static int open_tun(const char *ns, const char *dev, int vnet) {
  char path[128]; snprintf(path, sizeof path, "/var/run/netns/%s", ns);
  int n = open(path, O_RDONLY);
  if (n < 0 || setns(n, CLONE_NEWNET)) { perror(path); _exit(1); }
  close(n);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  struct ifreq r = {0};
  r.ifr_flags = IFF_TUN | IFF_NO_PI | (vnet ? IFF_VNET_HDR : 0);
  strncpy(r.ifr_name, dev, IFNAMSIZ - 1);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &r)) { perror(dev); _exit(1); }
  if (vnet && ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)) { perror("offload"); _exit(1); }
  return fd;
}
int main(int c, char **v) {
  if (c < 5) return 2;
  static char b[1 << 17];
  int a = open_tun(v[1], v[2], c > 5), z = open_tun(v[3], v[4], c > 5);
  struct pollfd p[2] = {{.fd = a, .events = POLLIN}, {.fd = z, .events = POLLIN}};
  for (;;) {
    poll(p, 2, -1);
    for (int i = 0; i < 64; i++) { ssize_t n = read(a, b, sizeof b); if (n <= 0) break; if (write(z, b, n) < 0) {} }
    for (int i = 0; i < 64; i++) { ssize_t n = read(z, b, sizeof b); if (n <= 0) break; if (write(a, b, n) < 0) {} }
  }
}
