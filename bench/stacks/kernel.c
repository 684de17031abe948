/* The kernel's own TCP: echo on PORT, sink on PORT+1, source on PORT+2.  One thread, epoll.
 * cc -O2 -o kernel kernel.c; ./kernel 7000 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
static char buf[262144];
static unsigned char kind[1 << 20];             /* fd -> 0..2 listener, 3..5 connection */
int main(int argc, char **argv) {
  int port = argc > 1 ? atoi(argv[1]) : 7000, ep = epoll_create1(0), one = 1;
  signal(SIGPIPE, SIG_IGN);
  struct rlimit rl; getrlimit(RLIMIT_NOFILE, &rl); rl.rlim_cur = rl.rlim_max; setrlimit(RLIMIT_NOFILE, &rl);
  for (int i = 0; i < 3; i++) {
    int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port + i)};
    if (bind(s, (void *)&a, sizeof a) || listen(s, 1024)) { perror("bind/listen"); return 1; }
    kind[s] = i;
    epoll_ctl(ep, EPOLL_CTL_ADD, s, &(struct epoll_event){.events = EPOLLIN, .data.fd = s});
  }
  for (;;) {
    struct epoll_event ev[256];
    int n = epoll_wait(ep, ev, 256, -1);
    for (int i = 0; i < n; i++) {
      int fd = ev[i].data.fd, k = kind[fd];
      if (k < 3) {
        int c = accept4(fd, 0, 0, SOCK_NONBLOCK);
        if (c < 0) continue;
        setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        kind[c] = k + 3;
        epoll_ctl(ep, EPOLL_CTL_ADD, c, &(struct epoll_event){.events = k == 2 ? EPOLLOUT : EPOLLIN, .data.fd = c});
        continue;
      }
      ssize_t r = k == 5 ? write(fd, buf, sizeof buf) : read(fd, buf, sizeof buf);
      if (k == 3 && r > 0) r = write(fd, buf, r);   /* echo: messages are small here */
      if (r == 0 || (r < 0 && errno != EAGAIN)) close(fd);
    }
  }
}
