// The floor: what fan-out costs at least. One thread, epoll, one send() per delivery, no CRDT, no storage, no limits.
//
// It speaks just enough of the y-websocket protocol for the load generator: it answers step 1 with an empty step 2 and
// sends each update frame to everybody else. One document for all. Not a server for anything but measuring.
//
//   cc -O2 -o floor floor.c && PORT=9000 ./floor
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_SOCKETS = 65536, BUFFER = 65536, EVENTS = 256 };

typedef struct {
  int upgraded;
  size_t held;
  unsigned char buffer[BUFFER + 1];
} Connection;

static Connection *connections[MAX_SOCKETS];
static int highest;

static uint32_t rotate(uint32_t value, int by) { return value << by | value >> (32 - by); }

// SHA-1 of a short text (FIPS 180-4), so that nothing but libc is needed.
static void sha1(const char *text, unsigned char digest[20]) {
  unsigned char block[256] = {0};
  size_t length = strlen(text), padded = (length + 8) / 64 * 64 + 64;
  memcpy(block, text, length);
  block[length] = 0x80;
  for (int i = 0; i < 8; i++) block[padded - 1 - i] = (unsigned char)((uint64_t)length * 8 >> 8 * i);
  uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
  for (size_t at = 0; at < padded; at += 64) {
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++) {
      const unsigned char *p = block + at + 4 * i;
      w[i] = (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
    }
    for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
      uint32_t f = i < 20 ? ((b & c) | (~b & d)) : i < 40 || i >= 60 ? (b ^ c ^ d) : ((b & c) | (b & d) | (c & d));
      uint32_t k = i < 20 ? 0x5A827999 : i < 40 ? 0x6ED9EBA1 : i < 60 ? 0x8F1BBCDC : 0xCA62C1D6;
      uint32_t next = rotate(a, 5) + f + e + k + w[i];
      e = d, d = c, c = rotate(b, 30), b = a, a = next;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
  }
  for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const unsigned char digest[20], char out[29]) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (int i = 0, o = 0; i < 20; i += 3) {
    uint32_t three = digest[i] << 16 | digest[i + 1] << 8 | (i + 2 < 20 ? digest[i + 2] : 0);
    for (int shift = 18; shift >= 0; shift -= 6) out[o++] = letters[three >> shift & 63];
  }
  out[27] = '=', out[28] = 0;
}

static void drop(int socket) {
  close(socket);
  free(connections[socket]);
  connections[socket] = NULL;
}

// Blocking sockets: a slow reader stops the floor, which the load generator is not.
static void put(int socket, const void *bytes, size_t size) {
  while (send(socket, bytes, size, MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

static void accept_one(int listener, int epoll) {
  int one = 1, socket = accept(listener, NULL, NULL);
  if (socket < 0) return;
  if (socket >= MAX_SOCKETS) {
    close(socket);
    return;
  }
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  connections[socket] = calloc(1, sizeof(Connection));
  if (socket > highest) highest = socket;
  struct epoll_event event = {.events = EPOLLIN, .data.fd = socket};
  epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event);
}

// Answer the handshake once its end has arrived.
static void upgrade(int socket, Connection *connection) {
  static const char name[] = "sec-websocket-key:";
  connection->buffer[connection->held] = 0;
  char *head = (char *)connection->buffer, *key = strcasestr(head, name);
  if (!key || !strstr(head, "\r\n\r\n")) return;
  char text[128], answer[256], accepted[29];
  unsigned char digest[20];
  if (sscanf(key + sizeof name - 1, " %40s", text) != 1) return;
  strcat(text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  sha1(text, digest);
  base64(digest, accepted);
  int size = snprintf(answer, sizeof answer,
                      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Accept: %s\r\n\r\n", accepted);
  put(socket, answer, (size_t)size);
  connection->upgraded = 1;
  connection->held = 0;
}

static void message(int from, const unsigned char *payload, size_t size) {
  static const unsigned char empty_step2[] = {0x82, 5, 0, 1, 2, 0, 0};
  unsigned char frame[BUFFER + 4];
  size_t head = 2;
  frame[0] = 0x82;
  if (size < 2 || payload[0] != 0) return;
  if (payload[1] == 0) put(from, empty_step2, sizeof empty_step2);
  if (payload[1] != 2) return;
  if (size < 126) {
    frame[1] = (unsigned char)size;
  } else {
    frame[1] = 126, frame[2] = (unsigned char)(size >> 8), frame[3] = (unsigned char)size, head = 4;
  }
  memcpy(frame + head, payload, size);
  for (int to = 0; to <= highest; to++)
    if (to != from && connections[to] && connections[to]->upgraded) put(to, frame, head + size);
}

static void read_some(int socket) {
  Connection *connection = connections[socket];
  ssize_t got = read(socket, connection->buffer + connection->held, BUFFER - connection->held);
  if (got <= 0) {
    drop(socket);
    return;
  }
  connection->held += (size_t)got;
  if (!connection->upgraded) {
    upgrade(socket, connection);
    return;
  }
  size_t at = 0;
  while (connection->held - at >= 6) {
    unsigned char *frame = connection->buffer + at;
    size_t size = frame[1] & 127, head = 2;
    if (size == 126) {
      if (connection->held - at < 8) break;
      size = (size_t)frame[2] << 8 | frame[3], head = 4;
    }
    if (connection->held - at < head + 4 + size) break;
    unsigned char *mask = frame + head, *payload = mask + 4;
    for (size_t i = 0; i < size; i++) payload[i] ^= mask[i & 3];
    if ((frame[0] & 15) == 2) message(socket, payload, size);
    at += head + 4 + size;
  }
  memmove(connection->buffer, connection->buffer + at, connection->held - at);
  connection->held -= at;
}

int main(void) {
  const char *port = getenv("PORT");
  int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  address.sin_port = htons((uint16_t)atoi(port ? port : "9000"));
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1024) < 0) {
    perror("floor");
    return 1;
  }
  int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int count = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
      int socket = events[i].data.fd;
      if (socket == listener) accept_one(listener, epoll);
      else if (connections[socket]) read_some(socket);
    }
  }
}
