import { addon, succeed } from './addon.ts'

/** Raises the soft limit of open files to the hard one and returns it: a proxy needs two descriptors per tunnel. */
export const raiseFileLimit = (): number => succeed('setrlimit', addon().raiseFileLimit())
