import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { getSystemErrorMessage, getSystemErrorName } from 'node:util'
import { MeshError } from '#base'

/** What sys.cc exports: a number is the answer, or -errno when negative. */
type Addon = Readonly<{
  socket(netnsFd: number, isV6: number, isDatagram: number, flags: number, mark: number): number
  bind(fd: number, address: string, port: number): number
  listen(fd: number, backlog: number): number
  keepAddress(fd: number): number
  sockname(fd: number): number | readonly [address: string, port: number]
  originalDst(fd: number): number | readonly [address: string, port: number]
  keepAlive(
    fd: number,
    idleSeconds: number,
    intervalSeconds: number,
    probes: number,
    userTimeoutMs: number,
  ): number
  conntrackSocket(netnsFd: number): number
  conntrackOriginal(
    fd: number,
    local: string,
    localPort: number,
    peer: string,
    peerPort: number,
  ): number | readonly [address: string, port: number]
  writeSetting(netnsFd: number, path: string, text: string): number
  nsType(fd: number): number
  raiseFileLimit(): number
  dup(fd: number): number
  unixSocket(path: string, bindIt: number): number
  accept(fd: number): number
  send(fd: number, bytes: Uint8Array, fds: readonly number[]): number
  receive(fd: number, buffer: Uint8Array): number | readonly number[]
  pollOpen(fd: number, callback: (events: number) => void): unknown
  pollSet(handle: unknown, events: number): number
  pollClose(handle: unknown): number
}>

const path = fileURLToPath(new URL('../../.build/sys.node', import.meta.url))
let loaded: Addon | undefined

/** The addon, loaded at the first use, so that what needs no Linux call runs without it. */
export function addon(): Addon {
  if (loaded) return loaded
  if (!existsSync(path))
    throw new MeshError('bad-config', { message: `${path} is not built: run \`npm run setup\`` })
  try {
    // The addon's own table; the shape is fixed by sys.cc in this folder.
    loaded = createRequire(import.meta.url)(path) as Addon
  } catch (cause) {
    throw new MeshError('bad-config', {
      message: `${path} does not load: remove it and run \`npm run setup\``,
      cause,
    })
  }
  return loaded
}

/** The failure of the call named `what`, from the -errno that it returned. */
export const syscallFailed = (what: string, result: number): MeshError =>
  new MeshError('syscall-failed', {
    errno: -result,
    message: `${what}: ${getSystemErrorName(result)} (${getSystemErrorMessage(result)})`,
  })

/** Passes a result on, or throws what its negative value stands for. */
export function succeed<T>(what: string, result: number | T): T
export function succeed(what: string, result: number): number
export function succeed<T>(what: string, result: number | T): number | T {
  if (typeof result === 'number' && result < 0) throw syscallFailed(what, result)
  return result
}
