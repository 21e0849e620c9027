/** The Linux calls that Node lacks. Every failed one throws `MeshError('syscall-failed', { errno })`. */
export { type Netns, netnsFromFd, openNetns } from './netns.ts'
export {
  bindSocket,
  boundAddress,
  closeFd,
  fdOf,
  keepAddress,
  type KeepAlive,
  keepAlive,
  listenSocket,
  originalDst,
  type SocketOptions,
  tcpSocket,
  udpSocket,
} from './socket.ts'
export { connectSeqpacket, listenSeqpacket, maxPacketBytes, type Seqpacket } from './seqpacket.ts'
export { type Conntrack, openConntrack } from './conntrack.ts'
export { raiseFileLimit } from './limits.ts'
export { migrateRequests } from './settings.ts'
