// The Linux calls that Node lacks, each as thin as it can be: numbers and strings in, a number >= 0 or -errno out.
// All meaning (errors, types, state machines) is in the TypeScript beside this file.
#define NAPI_VERSION 8
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <node_api.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

namespace {

constexpr int kOriginalDst = 80;           // SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST
constexpr int kIpv6Transparent = 75;       // IPV6_TRANSPARENT
constexpr int kIpv6Freebind = 78;          // IPV6_FREEBIND
constexpr int kBindAddressNoPort = 24;     // IP_BIND_ADDRESS_NO_PORT, of IPv6 sockets too
constexpr unsigned long kGetNsType = 0xb703;  // NS_GET_NSTYPE
constexpr size_t kMaxFds = 8;              // more in one packet than anybody sends; the kernel drops the rest and says so

// ---- values -------------------------------------------------------------------------------------------------------

napi_value Int(napi_env env, int64_t value) {
  napi_value out;
  napi_create_int64(env, value, &out);
  return out;
}

napi_value Result(napi_env env, int64_t value) { return Int(env, value < 0 ? -errno : value); }

struct Args {
  napi_value at[8];
  size_t count = 8;
  Args(napi_env env, napi_callback_info info) { napi_get_cb_info(env, info, &count, at, nullptr, nullptr); }
};

int32_t IntOf(napi_env env, napi_value value) {
  int32_t out = -1;
  napi_get_value_int32(env, value, &out);
  return out;
}

bool TextOf(napi_env env, napi_value value, char* out, size_t size) {
  size_t length = 0;
  return napi_get_value_string_utf8(env, value, out, size, &length) == napi_ok && length + 1 < size;
}

// ---- sockets in a network namespace -------------------------------------------------------------------------------

/** This thread's own namespace: setns is per thread, and workers have their own. */
struct OwnNetns {
  int fd = -1;
  int get() {
    if (fd < 0) fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    return fd;
  }
  ~OwnNetns() {
    if (fd >= 0) close(fd);
  }
};
thread_local OwnNetns own_netns;

/** Back from another namespace, if `netns` is one. */
void ReturnFrom(int netns) {
  if (netns < 0 || setns(own_netns.get(), CLONE_NEWNET) == 0) return;
  // Everything this thread does from now on would happen in somebody else's network. There is no safe way to go on.
  perror("lateen: cannot return to the own network namespace");
  abort();
}

enum Flag { kTransparent = 1, kFreebind = 2, kReusePort = 4, kReuseAddress = 8, kV6Only = 16, kLatePort = 32 };

bool On(int fd, int level, int name) {
  int one = 1;
  return setsockopt(fd, level, name, &one, sizeof one) == 0;
}

bool Configure(int fd, bool v6, int flags, int mark) {
  if (mark > 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0) return false;
  if (v6) {
    int only = (flags & kV6Only) ? 1 : 0;  // the default is a sysctl; never depend on it
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) != 0) return false;
  }
  // A dual-stack socket also carries IPv4, hence both levels, as ztunnel does.
  if ((flags & kTransparent) && !On(fd, SOL_IP, IP_TRANSPARENT)) return false;
  if ((flags & kTransparent) && v6 && !On(fd, IPPROTO_IPV6, kIpv6Transparent)) return false;
  if ((flags & kLatePort) && !On(fd, SOL_IP, kBindAddressNoPort)) return false;
  if ((flags & kFreebind) && !On(fd, SOL_IP, IP_FREEBIND)) return false;
  if ((flags & kFreebind) && v6 && !On(fd, IPPROTO_IPV6, kIpv6Freebind)) return false;
  if ((flags & kReusePort) && !On(fd, SOL_SOCKET, SO_REUSEPORT)) return false;
  if ((flags & kReuseAddress) && !On(fd, SOL_SOCKET, SO_REUSEADDR)) return false;
  return true;
}

/** socket(netnsFd | -1, isV6, isDatagram, flags, mark) -> fd. One native call, so no JavaScript ever runs in the other namespace. */
napi_value Socket(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int netns = IntOf(env, args.at[0]);
  bool v6 = IntOf(env, args.at[1]) == 1;
  int type = (IntOf(env, args.at[2]) == 1 ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  int flags = IntOf(env, args.at[3]);
  int mark = IntOf(env, args.at[4]);
  if (netns >= 0) {
    if (own_netns.get() < 0) return Int(env, -errno);
    if (setns(netns, CLONE_NEWNET) != 0) return Int(env, -errno);
  }
  int fd = socket(v6 ? AF_INET6 : AF_INET, type, 0);
  int failed = errno;
  ReturnFrom(netns);
  if (fd < 0) return Int(env, -failed);
  if (!Configure(fd, v6, flags, mark)) {
    failed = errno;
    close(fd);
    return Int(env, -failed);
  }
  return Int(env, fd);
}

/** writeSetting(netnsFd, path, text) -> bytes written. A path under /proc/sys/net names the setting of whoever opens it. */
napi_value WriteSetting(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int netns = IntOf(env, args.at[0]);
  char path[128], text[32];
  if (!TextOf(env, args.at[1], path, sizeof path) || !TextOf(env, args.at[2], text, sizeof text))
    return Int(env, -EINVAL);
  if (own_netns.get() < 0 || setns(netns, CLONE_NEWNET) != 0) return Int(env, -errno);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  ssize_t done = fd < 0 ? -1 : write(fd, text, strlen(text));
  int failed = errno;
  if (fd >= 0) close(fd);
  ReturnFrom(netns);
  return Int(env, done < 0 ? -failed : done);
}

union Address {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

/** Text -> socket address in the family of `fd`; an IPv4 address on an IPv6 socket becomes a mapped one. */
bool ParseAddress(int fd, const char* text, uint16_t port, Address* out, socklen_t* length) {
  int family = 0;
  socklen_t size = sizeof family;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0) return false;
  memset(out, 0, sizeof *out);
  if (family == AF_INET) {
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = htons(port);
    *length = sizeof out->v4;
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) return true;
  } else {
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(port);
    *length = sizeof out->v6;
    if (inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1) return true;
    char mapped[INET6_ADDRSTRLEN + 8];
    snprintf(mapped, sizeof mapped, "::ffff:%s", text);
    if (inet_pton(AF_INET6, mapped, &out->v6.sin6_addr) == 1) return true;
  }
  errno = EAFNOSUPPORT;
  return false;
}

/** -> [address, port]; mapped IPv4 is left to the TypeScript side, which knows the canonical form. */
napi_value AddressValue(napi_env env, const Address& address) {
  char text[INET6_ADDRSTRLEN] = "";
  bool v6 = address.any.sa_family == AF_INET6;
  inet_ntop(address.any.sa_family, v6 ? (const void*)&address.v6.sin6_addr : (const void*)&address.v4.sin_addr, text,
            sizeof text);
  napi_value out, host;
  napi_create_array_with_length(env, 2, &out);
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &host);
  napi_set_element(env, out, 0, host);
  napi_set_element(env, out, 1, Int(env, ntohs(v6 ? address.v6.sin6_port : address.v4.sin_port)));
  return out;
}

/** bind(fd, address, port) */
napi_value Bind(napi_env env, napi_callback_info info) {
  Args args(env, info);
  char text[INET6_ADDRSTRLEN];
  Address address;
  socklen_t length;
  int fd = IntOf(env, args.at[0]);
  if (!TextOf(env, args.at[1], text, sizeof text)) return Int(env, -EINVAL);
  if (!ParseAddress(fd, text, (uint16_t)IntOf(env, args.at[2]), &address, &length)) return Int(env, -errno);
  return Result(env, bind(fd, &address.any, length));
}

/** listen(fd, backlog) */
napi_value Listen(napi_env env, napi_callback_info info) {
  Args args(env, info);
  return Result(env, listen(IntOf(env, args.at[0]), IntOf(env, args.at[1])));
}

/** keepAlive(fd, idleSeconds, intervalSeconds, probes, userTimeoutMs); what a listener has its connections inherit. */
napi_value KeepAlive(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int fd = IntOf(env, args.at[0]);
  const struct {
    int level, name, value;
  } options[] = {{SOL_SOCKET, SO_KEEPALIVE, 1},
                 {IPPROTO_TCP, TCP_KEEPIDLE, IntOf(env, args.at[1])},
                 {IPPROTO_TCP, TCP_KEEPINTVL, IntOf(env, args.at[2])},
                 {IPPROTO_TCP, TCP_KEEPCNT, IntOf(env, args.at[3])},
                 {IPPROTO_TCP, TCP_USER_TIMEOUT, IntOf(env, args.at[4])}};  // 0: the system's own
  for (const auto& option : options)
    if (setsockopt(fd, option.level, option.name, &option.value, sizeof option.value) != 0) return Int(env, -errno);
  return Int(env, 0);
}

/** keepAddress(fd): no SO_REUSEADDR any more */
napi_value KeepAddress(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int off = 0;
  return Result(env, setsockopt(IntOf(env, args.at[0]), SOL_SOCKET, SO_REUSEADDR, &off, sizeof off));
}

/** sockname(fd) -> [address, port] */
napi_value Sockname(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Address address;
  socklen_t length = sizeof address;
  if (getsockname(IntOf(env, args.at[0]), &address.any, &length) != 0) return Int(env, -errno);
  return AddressValue(env, address);
}

/** originalDst(fd) -> [address, port]; -ENOENT when the connection is not tracked. IPv4 is asked first, as ztunnel does. */
napi_value OriginalDst(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int fd = IntOf(env, args.at[0]);
  Address address;
  socklen_t length = sizeof address.v4;
  if (getsockopt(fd, SOL_IP, kOriginalDst, &address.v4, &length) == 0) return AddressValue(env, address);
  if (errno == EBADF || errno == ENOTSOCK) return Int(env, -errno);
  length = sizeof address.v6;
  if (getsockopt(fd, SOL_IPV6, kOriginalDst, &address.v6, &length) == 0) return AddressValue(env, address);
  return Int(env, errno == EBADF || errno == ENOTSOCK ? -errno : -ENOENT);
}

// ---- the kernel's table of connections, for UDP, which has no SO_ORIGINAL_DST --------------------------------------

/** conntrackSocket(netnsFd | -1) -> fd of a netlink socket that sees the connections of that namespace. */
napi_value ConntrackSocket(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int netns = IntOf(env, args.at[0]);
  if (netns >= 0) {
    if (own_netns.get() < 0) return Int(env, -errno);
    if (setns(netns, CLONE_NEWNET) != 0) return Int(env, -errno);
  }
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
  int failed = errno;
  ReturnFrom(netns);
  return Int(env, fd < 0 ? -failed : fd);
}

/** Writes attributes one behind the other; the kernel wants each padded to 4 bytes. */
struct AttributeWriter {
  uint8_t* at;
  nlattr* Open(uint16_t type) {
    auto* attribute = reinterpret_cast<nlattr*>(at);
    attribute->nla_type = type | NLA_F_NESTED;
    at += NLA_HDRLEN;
    return attribute;
  }
  void Close(nlattr* attribute) { attribute->nla_len = (uint16_t)(at - reinterpret_cast<uint8_t*>(attribute)); }
  void Put(uint16_t type, const void* value, uint16_t length) {
    auto* attribute = reinterpret_cast<nlattr*>(at);
    attribute->nla_type = type;
    attribute->nla_len = NLA_HDRLEN + length;
    memcpy(at + NLA_HDRLEN, value, length);
    at += NLA_ALIGN(attribute->nla_len);
  }
};

/** The attribute of a type among those in [bytes, end); nullptr when it is not there or does not fit. */
const nlattr* FindAttribute(const uint8_t* bytes, const uint8_t* end, uint16_t type) {
  while (bytes + NLA_HDRLEN <= end) {
    auto* attribute = reinterpret_cast<const nlattr*>(bytes);
    if (attribute->nla_len < NLA_HDRLEN || bytes + attribute->nla_len > end) return nullptr;
    if ((attribute->nla_type & NLA_TYPE_MASK) == type) return attribute;
    bytes += NLA_ALIGN(attribute->nla_len);
  }
  return nullptr;
}

const uint8_t* Payload(const nlattr* attribute) { return reinterpret_cast<const uint8_t*>(attribute) + NLA_HDRLEN; }
const uint8_t* End(const nlattr* attribute) { return reinterpret_cast<const uint8_t*>(attribute) + attribute->nla_len; }

const nlattr* Inner(const nlattr* outer, uint16_t type, size_t length = 0) {
  if (!outer) return nullptr;
  const nlattr* found = FindAttribute(Payload(outer), End(outer), type);
  return found && (size_t)(End(found) - Payload(found)) >= length ? found : nullptr;
}

bool PlainAddress(const char* text, uint16_t port, Address* out) {
  memset(out, 0, sizeof *out);
  bool v6 = inet_pton(AF_INET, text, &out->v4.sin_addr) != 1;
  if (v6 && inet_pton(AF_INET6, text, &out->v6.sin6_addr) != 1) return false;
  out->any.sa_family = v6 ? AF_INET6 : AF_INET;
  (v6 ? out->v6.sin6_port : out->v4.sin_port) = htons(port);
  return true;
}

/** Asks for the connection of which replies go from `local` to `peer`. */
size_t WriteLookup(uint8_t* out, uint8_t protocol, const Address& local, const Address& peer) {
  bool v6 = local.any.sa_family == AF_INET6;
  auto* header = reinterpret_cast<nlmsghdr*>(out);
  auto* family = reinterpret_cast<nfgenmsg*>(out + NLMSG_HDRLEN);
  header->nlmsg_type = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET;
  header->nlmsg_flags = NLM_F_REQUEST;
  family->nfgen_family = local.any.sa_family;
  AttributeWriter writer = {out + NLMSG_HDRLEN + NLMSG_ALIGN(sizeof *family)};
  nlattr* tuple = writer.Open(CTA_TUPLE_REPLY);
  nlattr* addresses = writer.Open(CTA_TUPLE_IP);
  if (v6) {
    writer.Put(CTA_IP_V6_SRC, &local.v6.sin6_addr, 16);
    writer.Put(CTA_IP_V6_DST, &peer.v6.sin6_addr, 16);
  } else {
    writer.Put(CTA_IP_V4_SRC, &local.v4.sin_addr, 4);
    writer.Put(CTA_IP_V4_DST, &peer.v4.sin_addr, 4);
  }
  writer.Close(addresses);
  nlattr* ports = writer.Open(CTA_TUPLE_PROTO);
  writer.Put(CTA_PROTO_NUM, &protocol, 1);
  writer.Put(CTA_PROTO_SRC_PORT, v6 ? &local.v6.sin6_port : &local.v4.sin_port, 2);
  writer.Put(CTA_PROTO_DST_PORT, v6 ? &peer.v6.sin6_port : &peer.v4.sin_port, 2);
  writer.Close(ports);
  writer.Close(tuple);
  header->nlmsg_len = (uint32_t)(writer.at - out);
  return header->nlmsg_len;
}

/** Where the first packet of the connection in this answer was going; false when it does not say. */
bool ReadOriginal(const uint8_t* bytes, size_t length, Address* out) {
  if (length < NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg))) return false;
  const uint8_t* first = bytes + NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg));
  const nlattr* tuple = FindAttribute(first, bytes + length, CTA_TUPLE_ORIG);
  const nlattr* addresses = Inner(tuple, CTA_TUPLE_IP);
  const nlattr* v4 = Inner(addresses, CTA_IP_V4_DST, 4);
  const nlattr* v6 = Inner(addresses, CTA_IP_V6_DST, 16);
  const nlattr* port = Inner(Inner(tuple, CTA_TUPLE_PROTO), CTA_PROTO_DST_PORT, 2);
  if ((!v4 && !v6) || !port) return false;
  memset(out, 0, sizeof *out);
  out->any.sa_family = v4 ? AF_INET : AF_INET6;
  if (v4) memcpy(&out->v4.sin_addr, Payload(v4), 4);
  else memcpy(&out->v6.sin6_addr, Payload(v6), 16);
  memcpy(v4 ? &out->v4.sin_port : &out->v6.sin6_port, Payload(port), 2);
  return true;
}

/** conntrackOriginal(fd, local, localPort, peer, peerPort) -> [address, port] of a UDP exchange; -ENOENT: not tracked. */
napi_value ConntrackOriginal(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int fd = IntOf(env, args.at[0]);
  char local_text[INET6_ADDRSTRLEN], peer_text[INET6_ADDRSTRLEN];
  Address local, peer;
  if (!TextOf(env, args.at[1], local_text, sizeof local_text) ||
      !TextOf(env, args.at[3], peer_text, sizeof peer_text) ||
      !PlainAddress(local_text, (uint16_t)IntOf(env, args.at[2]), &local) ||
      !PlainAddress(peer_text, (uint16_t)IntOf(env, args.at[4]), &peer) ||
      local.any.sa_family != peer.any.sa_family)
    return Int(env, -EINVAL);
  alignas(nlmsghdr) uint8_t request[256] = {};
  alignas(nlmsghdr) uint8_t answer[4096];
  thread_local uint32_t sequence = 0;
  size_t length = WriteLookup(request, IPPROTO_UDP, local, peer);
  uint32_t mine = reinterpret_cast<nlmsghdr*>(request)->nlmsg_seq = ++sequence;
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  if (sendto(fd, request, length, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) < 0)
    return Int(env, -errno);
  // The kernel has answered by the time sendto returns; what is left of an earlier question is read over.
  for (;;) {
    ssize_t got = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
    if (got < (ssize_t)sizeof(nlmsghdr)) return Int(env, got < 0 ? -errno : -EBADMSG);
    auto* header = reinterpret_cast<nlmsghdr*>(answer);
    if (header->nlmsg_seq != mine) continue;
    if (header->nlmsg_type == NLMSG_ERROR) return Int(env, reinterpret_cast<nlmsgerr*>(NLMSG_DATA(header))->error);
    Address original;
    return ReadOriginal(answer, (size_t)got, &original) ? AddressValue(env, original) : Int(env, -EBADMSG);
  }
}

/** nsType(fd) -> CLONE_NEW* of a namespace file */
napi_value NsType(napi_env env, napi_callback_info info) {
  Args args(env, info);
  return Result(env, ioctl(IntOf(env, args.at[0]), kGetNsType));
}

/** raiseFileLimit() -> the new soft limit */
napi_value RaiseFileLimit(napi_env env, napi_callback_info) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return Int(env, -errno);
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return Int(env, -errno);
  return Int(env, limit.rlim_cur == RLIM_INFINITY ? INT32_MAX : (int64_t)limit.rlim_cur);
}

/** dup(fd) -> fd, close-on-exec */
napi_value Dup(napi_env env, napi_callback_info info) {
  Args args(env, info);
  return Result(env, fcntl(IntOf(env, args.at[0]), F_DUPFD_CLOEXEC, 0));
}

// ---- SOCK_SEQPACKET -----------------------------------------------------------------------------------------------

/** unixSocket(path, bindIt) -> fd: bound (not yet listening) or connected. */
napi_value UnixSocket(napi_env env, napi_callback_info info) {
  Args args(env, info);
  sockaddr_un address;
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  if (!TextOf(env, args.at[0], address.sun_path, sizeof address.sun_path)) return Int(env, -ENAMETOOLONG);
  bool bind_it = IntOf(env, args.at[1]) == 1;
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return Int(env, -errno);
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if ((bind_it ? bind(fd, any, sizeof address) : connect(fd, any, sizeof address)) != 0) {
    int failed = errno;
    close(fd);
    return Int(env, -failed);
  }
  return Int(env, fd);
}

/** accept(fd) -> fd */
napi_value Accept(napi_env env, napi_callback_info info) {
  Args args(env, info);
  return Result(env, accept4(IntOf(env, args.at[0]), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

/** send(fd, bytes, fds) -> bytes sent */
napi_value Send(napi_env env, napi_callback_info info) {
  Args args(env, info);
  void* bytes = nullptr;
  size_t length = 0;
  uint32_t count = 0;
  if (napi_get_typedarray_info(env, args.at[1], nullptr, &length, &bytes, nullptr, nullptr) != napi_ok)
    return Int(env, -EINVAL);
  napi_get_array_length(env, args.at[2], &count);
  if (count > kMaxFds) return Int(env, -E2BIG);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)] = {};
  iovec part = {bytes, length};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    for (uint32_t i = 0; i < count; i++) {
      napi_value element;
      napi_get_element(env, args.at[2], i, &element);
      int fd = IntOf(env, element);
      memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
    }
  }
  return Result(env, sendmsg(IntOf(env, args.at[0]), &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

/** receive(fd, buffer) -> [length, ...fds]; -EMSGSIZE when the packet or its descriptors did not fit (none is kept). */
napi_value Receive(napi_env env, napi_callback_info info) {
  Args args(env, info);
  void* bytes = nullptr;
  size_t length = 0;
  if (napi_get_typedarray_info(env, args.at[1], nullptr, &length, &bytes, nullptr, nullptr) != napi_ok)
    return Int(env, -EINVAL);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)];
  iovec part = {bytes, length};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got = recvmsg(IntOf(env, args.at[0]), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (got < 0) return Int(env, -errno);
  bool truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  napi_value out;
  napi_create_array(env, &out);
  napi_set_element(env, out, 0, Int(env, got));
  uint32_t index = 1;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      if (truncated) close(fd);
      else napi_set_element(env, out, index++, Int(env, fd));
    }
  }
  return truncated ? Int(env, -EMSGSIZE) : out;
}

// ---- readiness: libuv can poll any descriptor, Node only does not say so ------------------------------------------

struct Poll {
  uv_poll_t handle;
  napi_env env;
  napi_ref callback;
  napi_async_context context;
  napi_async_cleanup_hook_handle cleanup;
  bool closing;
  bool released;  // by JavaScript, so that the environment is still good for the two calls below
};

/** The context may be in use while its own callback closes the handle, so it is freed only here, a turn later. */
void OnClosed(uv_handle_t* handle) {
  auto* poll = static_cast<Poll*>(handle->data);
  if (poll->released) {
    napi_handle_scope scope;
    napi_open_handle_scope(poll->env, &scope);
    napi_delete_reference(poll->env, poll->callback);
    napi_async_destroy(poll->env, poll->context);
    napi_close_handle_scope(poll->env, scope);
  }
  if (poll->cleanup) napi_remove_async_cleanup_hook(poll->cleanup);
  delete poll;
}

void ClosePoll(Poll* poll) {
  if (poll->closing) return;
  poll->closing = true;
  uv_close(reinterpret_cast<uv_handle_t*>(&poll->handle), OnClosed);
}

/** A worker that ends takes its handles along. */
void OnEnvironmentEnd(napi_async_cleanup_hook_handle, void* data) { ClosePoll(static_cast<Poll*>(data)); }

void OnReady(uv_poll_t* handle, int status, int events) {
  auto* poll = static_cast<Poll*>(handle->data);
  napi_env env = poll->env;
  napi_handle_scope scope;
  napi_open_handle_scope(env, &scope);
  napi_value callback, receiver, argument = Int(env, status < 0 ? status : events);
  napi_get_reference_value(env, poll->callback, &callback);
  napi_get_global(env, &receiver);
  if (napi_make_callback(env, poll->context, receiver, callback, 1, &argument, nullptr) == napi_pending_exception) {
    napi_value error;
    napi_get_and_clear_last_exception(env, &error);
    napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

/** pollOpen(fd, callback(events | -errno)) -> handle. The descriptor stays the caller's. */
napi_value PollOpen(napi_env env, napi_callback_info info) {
  Args args(env, info);
  uv_loop_t* loop;
  napi_get_uv_event_loop(env, &loop);
  auto* poll = new Poll();
  poll->env = env;
  poll->handle.data = poll;
  int failed = uv_poll_init(loop, &poll->handle, IntOf(env, args.at[0]));
  if (failed < 0) {
    delete poll;
    return Int(env, failed);
  }
  napi_value name, out;
  napi_create_string_utf8(env, "lateen:poll", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, nullptr, name, &poll->context);
  napi_create_reference(env, args.at[1], 1, &poll->callback);
  napi_add_async_cleanup_hook(env, OnEnvironmentEnd, poll, &poll->cleanup);
  napi_create_external(env, poll, nullptr, nullptr, &out);
  return out;
}

Poll* PollOf(napi_env env, napi_value value) {
  void* out = nullptr;
  napi_get_value_external(env, value, &out);
  return static_cast<Poll*>(out);
}

/** pollSet(handle, events): 1 readable, 2 writable; 0 stops. */
napi_value PollSet(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Poll* poll = PollOf(env, args.at[0]);
  int events = IntOf(env, args.at[1]);
  if (!poll || poll->closing) return Int(env, -EBADF);
  return Int(env, events == 0 ? uv_poll_stop(&poll->handle) : uv_poll_start(&poll->handle, events, OnReady));
}

/** pollClose(handle): must be called once, before the descriptor is closed; the handle is invalid afterwards. */
napi_value PollClose(napi_env env, napi_callback_info info) {
  Args args(env, info);
  Poll* poll = PollOf(env, args.at[0]);
  if (!poll || poll->closing) return Int(env, -EBADF);
  poll->released = true;
  ClosePoll(poll);
  return Int(env, 0);
}

}  // namespace

NAPI_MODULE_INIT() {
  const struct {
    const char* name;
    napi_callback function;
  } table[] = {{"socket", Socket},         {"bind", Bind},
               {"listen", Listen},         {"sockname", Sockname},
               {"originalDst", OriginalDst}, {"nsType", NsType},
               {"raiseFileLimit", RaiseFileLimit}, {"dup", Dup},
               {"unixSocket", UnixSocket}, {"accept", Accept},
               {"send", Send},             {"receive", Receive},
               {"pollOpen", PollOpen},     {"pollSet", PollSet},
               {"pollClose", PollClose},   {"keepAlive", KeepAlive},
               {"conntrackSocket", ConntrackSocket}, {"conntrackOriginal", ConntrackOriginal},
               {"keepAddress", KeepAddress}, {"writeSetting", WriteSetting}};
  for (const auto& entry : table) {
    napi_value function;
    napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.function, nullptr, &function);
    napi_set_named_property(env, exports, entry.name, function);
  }
  return exports;
}
