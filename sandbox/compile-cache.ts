import { resolve } from 'node:path'

/** Where Node keeps compiled code between starts: of every instance, and of the containers of our own image. */
export const compileCache = resolve(import.meta.dirname, '../.build/compile-cache')
