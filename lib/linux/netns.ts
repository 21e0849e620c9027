import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { codeOf, MeshError } from '#base'
import { addon, syscallFailed } from './addon.ts'
import { errnoOf } from './errno.ts'

/** An open network namespace. It lives at least as long as this descriptor; dispose closes it. */
export type Netns = Disposable & { readonly fd: number; readonly inode: bigint }

/** CLONE_NEWNET, what NS_GET_NSTYPE answers for a network namespace. */
const networkNamespace = 0x40000000

/** Opens the namespace file at `path`, such as `/run/netns/x` or `/proc/1/ns/net`; anything else there is an error. */
export function openNetns(path: string): Netns {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY)
  } catch (cause) {
    const errno = errnoOf(cause)
    throw new MeshError('syscall-failed', {
      message: `open ${path}: ${codeOf(cause)}`,
      cause,
      ...(errno === undefined ? {} : { errno }),
    })
  }
  try {
    return netnsFromFd(fd)
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** Takes over a descriptor, such as one received over a socket. Throws, and leaves it open, unless it is a network namespace. */
export function netnsFromFd(fd: number): Netns {
  const type = addon().nsType(fd)
  if (type < 0) throw syscallFailed('not a namespace', type)
  if (type !== networkNamespace)
    throw new MeshError('syscall-failed', { errno: 22, message: 'not a network namespace' })
  const { ino } = fstatSync(fd, { bigint: true })
  let open = true
  return {
    /** Checked, because the number of a closed descriptor is soon somebody else's, such as another pod's namespace. */
    get fd() {
      if (open) return fd
      throw new MeshError('syscall-failed', { errno: 9, message: 'the network namespace is closed' })
    },
    inode: ino,
    [Symbol.dispose]: () => {
      if (open) closeSync(fd)
      open = false
    },
  }
}
