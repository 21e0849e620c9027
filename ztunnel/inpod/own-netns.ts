import type { Netns } from '#linux'

/** The namespace that we are in ourselves. To make a socket here nothing has to be entered, and no privilege is needed. */
export const ownNetns = (): Netns => ({ fd: -1, inode: 0n, [Symbol.dispose]: () => undefined })
