/*
 * istio-cni: the CNI plugin that a container runtime starts for every pod, chained after the node's own plugins.
 *
 * ADD asks the agent over a unix socket whether the pod may start, and prints the result of the plugins before it as it
 * came. Whatever goes wrong, the pod does not start: no agent, no answer and a refusal all end in a CNI error. Only the
 * agent's own pods and excluded namespaces pass unasked, or the agent could never come up.
 *
 * One static file without dependencies: it runs on nodes that have nothing of ours. Everything read is bounded, nothing
 * read is ever a format string, and JSON is only scanned for the few values needed, never rebuilt.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
  MAX_INPUT = 1 << 20,        /* stdin: a configuration with its previous result */
  MAX_BODY = MAX_INPUT * 2,   /* the request: a part of stdin, escaped */
  MAX_ANSWER = 64 << 10,
  MAX_DEPTH = 64,
  ADD_DEADLINE_MS = 30000,    /* the agent itself gives up a little earlier, with a reason */
  DIAL_DEADLINE_MS = 5000,    /* for an agent that restarts; the runtime tries again by itself later */
  DEL_DEADLINE_MS = 3000,
  CODE_TRY_AGAIN = 11,
  CODE_PLUGIN = 999,
};

typedef struct {
  const char *at;
  size_t length;
} Span;

static char input[MAX_INPUT + 1];
static char request[MAX_BODY];
static char reply[MAX_ANSWER + 1];
static char cni_version[32] = "1.0.0";

/* ---- output ------------------------------------------------------------------------------------------------------ */

/* Appends `text` as the inside of a JSON string; false when it does not fit. */
static bool escape(char *out, size_t size, size_t *used, const char *text, size_t length) {
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    char piece[8];
    size_t n = 1;
    if (c == '"' || c == '\\') {
      piece[0] = '\\';
      piece[1] = (char)c;
      n = 2;
    } else if (c < 0x20 || c == 0x7f) {
      n = (size_t)snprintf(piece, sizeof piece, "\\u%04x", c);
    } else {
      piece[0] = (char)c;
    }
    if (*used + n >= size) return false;
    memcpy(out + *used, piece, n);
    *used += n;
  }
  out[*used] = 0;
  return true;
}

static void write_all(int fd, const char *text, size_t length) {
  while (length > 0) {
    ssize_t n = write(fd, text, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text += n;
    length -= (size_t)n;
  }
}

/* The CNI error on stdout, and the end. */
static _Noreturn void fail(int code, const char *message, const char *details) {
  static char text[8192];
  static char body[9000];
  size_t used = 0;
  size_t length = strlen(details);
  escape(text, sizeof text, &used, details, length > 1200 ? 1200 : length);
  int n = snprintf(body, sizeof body, "{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":\"%s\",\"details\":\"%s\"}\n", cni_version,
                   code, message, text);
  if (n > 0) write_all(STDOUT_FILENO, body, (size_t)n < sizeof body ? (size_t)n : sizeof body - 1);
  exit(1);
}

/* ---- a scanner for JSON: finds the extent of values, checks their shape, builds nothing ---------------------------- */

static const char *skip_space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
  return at;
}

static const char *scan_string(const char *at, const char *end) {
  for (at++; at < end; at++) {
    if (*at == '\\') at++;
    else if (*at == '"') return at + 1;
    else if ((unsigned char)*at < 0x20) return NULL;
  }
  return NULL;
}

/* The end of the value that begins at `at`; NULL when there is none. */
static const char *scan_value(const char *at, const char *end, int depth) {
  if (at >= end || depth > MAX_DEPTH) return NULL;
  if (*at == '"') return scan_string(at, end);
  if (*at == '{' || *at == '[') {
    bool object = *at == '{';
    char close = object ? '}' : ']';
    at = skip_space(at + 1, end);
    if (at < end && *at == close) return at + 1;
    for (;;) {
      if (object) {
        if (at >= end || *at != '"' || !(at = scan_string(at, end))) return NULL;
        at = skip_space(at, end);
        if (at >= end || *at != ':') return NULL;
        at = skip_space(at + 1, end);
      }
      if (!(at = scan_value(at, end, depth + 1))) return NULL;
      at = skip_space(at, end);
      if (at >= end) return NULL;
      if (*at == close) return at + 1;
      if (*at != ',') return NULL;
      at = skip_space(at + 1, end);
    }
  }
  const char *start = at;
  while (at < end && strchr("+-.0123456789Eabcdefghijklmnopqrstuvwxyz", *at) && *at) at++;
  return at > start ? at : NULL;
}

/* Calls `each` for every member of the object until it returns true. Names with escapes match nothing. */
typedef bool (*Each)(Span name, Span value, void *context);
static bool members(Span object, Each each, void *context) {
  const char *end = object.at + object.length;
  if (object.length < 2 || *object.at != '{') return false;
  const char *at = skip_space(object.at + 1, end);
  while (at < end && *at == '"') {
    const char *after = scan_string(at, end);
    if (!after) return false;
    Span name = {at + 1, (size_t)(after - at) - 2};
    at = skip_space(after, end);
    if (at >= end || *at != ':') return false;
    at = skip_space(at + 1, end);
    after = scan_value(at, end, 0);
    if (!after) return false;
    Span value = {at, (size_t)(after - at)};
    if (each(name, value, context)) return true;
    at = skip_space(after, end);
    if (at < end && *at == ',') at = skip_space(at + 1, end);
  }
  return false;
}

static bool same(Span span, const char *text) {
  return span.length == strlen(text) && memcmp(span.at, text, span.length) == 0;
}

typedef struct {
  const char *name;
  Span found;
} Wanted;
static bool match(Span name, Span value, void *context) {
  Wanted *wanted = context;
  if (!same(name, wanted->name)) return false;
  wanted->found = value;
  return true;
}
static Span member(Span object, const char *name) {
  Wanted wanted = {name, {NULL, 0}};
  members(object, match, &wanted);
  return wanted.found;
}

/* The text of a string without escapes into `out`; false for anything else. Names and paths have no escapes. */
static bool text_of(Span value, char *out, size_t size) {
  if (value.length < 2 || *value.at != '"') return false;
  Span inside = {value.at + 1, value.length - 2};
  if (inside.length >= size || memchr(inside.at, '\\', inside.length)) return false;
  memcpy(out, inside.at, inside.length);
  out[inside.length] = 0;
  return true;
}

/* ---- what the runtime says ---------------------------------------------------------------------------------------- */

/* The value of `key` in CNI_ARGS ("A=1;B=2"); empty when absent. */
static Span cni_arg(const char *key) {
  const char *at = getenv("CNI_ARGS");
  size_t length = strlen(key);
  while (at && *at) {
    size_t part = strcspn(at, ";");
    if (part > length && at[length] == '=' && memcmp(at, key, length) == 0)
      return (Span){at + length + 1, part - length - 1};
    at += part + (at[part] == ';');
  }
  return (Span){"", 0};
}

static Span environment(const char *name) {
  const char *value = getenv(name);
  return value ? (Span){value, strlen(value)} : (Span){"", 0};
}

static size_t read_input(void) {
  size_t used = 0;
  for (;;) {
    ssize_t n = read(STDIN_FILENO, input + used, sizeof input - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(5, "cannot read the configuration", strerror(errno));
    if (n == 0) return used;
    used += (size_t)n;
    if (used > MAX_INPUT) fail(6, "the configuration is too large", "more than 1 MiB on stdin");
  }
}

/* Is `name` in an array of strings? */
static bool contains(Span array, Span name) {
  const char *end = array.at + array.length;
  if (array.length < 2 || *array.at != '[') return false;
  for (const char *at = skip_space(array.at + 1, end); at < end && *at == '"';) {
    const char *after = scan_string(at, end);
    if (!after) return false;
    size_t length = (size_t)(after - at) - 2;
    if (length == name.length && memcmp(at + 1, name.at, length) == 0) return true;
    at = skip_space(after, end);
    if (at < end && *at == ',') at = skip_space(at + 1, end);
  }
  return false;
}

/* ---- what we tell the agent --------------------------------------------------------------------------------------- */

static size_t used_body;

static void put_raw(const char *text, size_t length) {
  if (used_body + length >= sizeof request) fail(CODE_PLUGIN, "the request to the agent is too large", "");
  memcpy(request + used_body, text, length);
  used_body += length;
  request[used_body] = 0;
}

static void put(const char *text) { put_raw(text, strlen(text)); }

static void put_member(const char *name, Span value) {
  put("\"");
  put(name);
  put("\":\"");
  if (!escape(request, sizeof request, &used_body, value.at, value.length))
    fail(CODE_PLUGIN, "the request to the agent is too large", "");
  put("\",");
}

/* The `address` of each entry of prevResult.ips, as the string that it is. */
static void put_addresses(Span ips) {
  put("\"IPs\":[");
  const char *end = ips.at ? ips.at + ips.length : NULL;
  bool first = true;
  if (ips.length >= 2 && *ips.at == '[')
    for (const char *at = skip_space(ips.at + 1, end); at < end && *at == '{';) {
      const char *after = scan_value(at, end, 0);
      if (!after) break;
      Span address = member((Span){at, (size_t)(after - at)}, "address");
      if (address.length >= 2 && *address.at == '"') {
        if (!first) put(",");
        put_raw(address.at, address.length);
        first = false;
      }
      at = skip_space(after, end);
      if (at < end && *at == ',') at = skip_space(at + 1, end);
    }
  put("]}");
}

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000L + t.tv_nsec / 1000000L;
}

static bool wait_for(int fd, short events, long deadline) {
  for (;;) {
    long left = deadline - now_ms();
    if (left <= 0) {
      errno = ETIMEDOUT;
      return false;
    }
    struct pollfd item = {fd, events, 0};
    int n = poll(&item, 1, (int)left);
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return false;
  }
}

/* Connects, and tries again while the socket is busy or not there yet: an agent that restarts is back within seconds. */
static int dial(const char *path, long deadline) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(address.sun_path, path);
  for (;;) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    if (why != EAGAIN && why != ECONNREFUSED && why != ENOENT) return -1;
    if (now_ms() + 100 >= deadline) return -1;
    usleep(100000);
  }
}

/* HTTP/1.0, so that the answer comes whole and ends with the connection.
 * POSTs the request body and returns the HTTP status, with the body of the answer in `reply`; -1 with errno. */
static int post(const char *run_dir, const char *path, long dial_ms, long total_ms) {
  char socket_path[512];
  char header[256];
  long deadline = now_ms() + total_ms;
  if (snprintf(socket_path, sizeof socket_path, "%s/pluginevent.sock", run_dir) >= (int)sizeof socket_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  int fd = dial(socket_path, now_ms() + dial_ms);
  if (fd < 0) return -1;
  int head = snprintf(header, sizeof header,
                      "POST %s HTTP/1.0\r\nHost: agent\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                      path, used_body);
  const char *parts[2] = {header, request};
  size_t lengths[2] = {(size_t)head, used_body};
  for (int i = 0; i < 2; i++)
    for (size_t sent = 0; sent < lengths[i];) {
      ssize_t n = send(fd, parts[i] + sent, lengths[i] - sent, MSG_NOSIGNAL);
      if (n > 0) sent += (size_t)n;
      else if (n < 0 && errno == EAGAIN) {
        if (!wait_for(fd, POLLOUT, deadline)) return -1;
      } else if (errno == EPIPE) break; /* it answered without reading everything: the answer says why */
      else if (errno != EINTR) return -1;
    }
  size_t used = 0;
  while (used < MAX_ANSWER) {
    if (!wait_for(fd, POLLIN, deadline)) return -1;
    ssize_t n = recv(fd, reply + used, MAX_ANSWER - used, 0);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return -1;
    if (n == 0) break;
    used += (size_t)n;
  }
  close(fd);
  reply[used] = 0;
  int status = 0;
  if (sscanf(reply, "HTTP/1.%*1d %3d", &status) != 1) {
    errno = EPROTO;
    return -1;
  }
  char *body = strstr(reply, "\r\n\r\n");
  body = body ? body + 4 : reply + used;
  memmove(reply, body, strlen(body) + 1);
  return status;
}

/* ---- commands ----------------------------------------------------------------------------------------------------- */

/* Prints what the plugins before us made of the pod. Byte for byte: it may hold what we know nothing of. */
static int pass_on(Span result) {
  if (result.length > 0 && *result.at == '{') write_all(STDOUT_FILENO, result.at, result.length);
  else {
    char empty[64];
    int n = snprintf(empty, sizeof empty, "{\"cniVersion\":\"%s\"}", cni_version);
    write_all(STDOUT_FILENO, empty, (size_t)n);
  }
  write_all(STDOUT_FILENO, "\n", 1);
  return 0;
}

static bool passes_unasked(Span config, Span name, Span namespace) {
  char agent_namespace[256];
  if (name.length == 0 || namespace.length == 0) return true; /* not Kubernetes */
  if (!text_of(member(config, "pod_namespace"), agent_namespace, sizeof agent_namespace))
    strcpy(agent_namespace, "istio-system");
  static const char agent[] = "istio-cni-node-";
  if (same(namespace, agent_namespace) && name.length >= sizeof agent - 1 && memcmp(name.at, agent, sizeof agent - 1) == 0)
    return true;
  Span excluded = member(config, "exclude_namespaces");
  return excluded.length > 0 ? contains(excluded, namespace) : same(namespace, "kube-system");
}

static int add(Span config, const char *run_dir) {
  Span name = cni_arg("K8S_POD_NAME");
  Span namespace = cni_arg("K8S_POD_NAMESPACE");
  Span result = member(config, "prevResult");
  if (passes_unasked(config, name, namespace)) return pass_on(result);
  put("{");
  put_member("Netns", environment("CNI_NETNS"));
  put_member("PodName", name);
  put_member("PodNamespace", namespace);
  put_member("PodUID", cni_arg("K8S_POD_UID"));
  put_member("ContainerID", environment("CNI_CONTAINERID"));
  put_addresses(result.length > 0 ? member(result, "ips") : (Span){NULL, 0});
  int status = post(run_dir, "/cmdadd", DIAL_DEADLINE_MS, ADD_DEADLINE_MS);
  if (status == 200) return pass_on(result);
  if (status < 0) fail(CODE_TRY_AGAIN, "the mesh's agent on this node does not answer", strerror(errno));
  fail(CODE_PLUGIN, "the mesh's agent could not capture the pod", reply);
}

static int del(const char *run_dir) {
  put("{");
  put_member("PodUID", cni_arg("K8S_POD_UID"));
  put_member("ContainerID", environment("CNI_CONTAINERID"));
  put("\"IPs\":[]}");
  (void)post(run_dir, "/cmddel", 0, DEL_DEADLINE_MS); /* best effort: a pod must always be able to go */
  return 0;
}

int main(void) {
  const char *command = getenv("CNI_COMMAND");
  char run_dir[256];
  if (!command) fail(4, "CNI_COMMAND is not set", "this program is started by a container runtime");
  size_t length = read_input();
  const char *end = input + length;
  const char *start = skip_space(input, end);
  const char *after = scan_value(start, end, 0);
  bool valid = after && *start == '{' && skip_space(after, end) == end;
  Span config = {start, valid ? (size_t)(after - start) : 0};
  char version[sizeof cni_version];
  if (valid && text_of(member(config, "cniVersion"), version, sizeof version) && strspn(version, "0123456789.") == strlen(version))
    strcpy(cni_version, version);
  if (strcmp(command, "VERSION") == 0) {
    static const char versions[] =
        "{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n";
    write_all(STDOUT_FILENO, versions, sizeof versions - 1);
    return 0;
  }
  if (!valid) {
    if (strcmp(command, "DEL") == 0) return 0;
    fail(6, "the configuration is not valid JSON", "");
  }
  if (!text_of(member(config, "cni_agent_run_dir"), run_dir, sizeof run_dir)) strcpy(run_dir, "/var/run/istio-cni");
  if (strcmp(command, "ADD") == 0) return add(config, run_dir);
  if (strcmp(command, "DEL") == 0) return del(run_dir);
  if (strcmp(command, "CHECK") == 0 || strcmp(command, "STATUS") == 0 || strcmp(command, "GC") == 0) return 0;
  fail(4, "unknown CNI_COMMAND", command);
}
