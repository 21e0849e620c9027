import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'

/** A directory of the machine that belongs to an image. */
export type Bind = Readonly<{ source: string; target: string; readOnly: boolean }>

/** How a container of an image is run: always on a copy-on-write view of the machine's own file system. */
type Image = Readonly<{
  name: string
  env: Readonly<Record<string, string>>
  /** What runs when the pod gives no command; empty when it must give one. */
  entrypoint: readonly string[]
  binds: readonly Bind[]
}>

type ImageLookup = Readonly<{ kind: 'image'; image: Image }> | Readonly<{ kind: 'unknown'; message: string }>

const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
/** This repository, whichever way the sandbox was started. */
const repository = resolve(import.meta.dirname, '../..')
const compileCache = '/var/cache/lateen/compile'

/** Names that stand for "a Linux with a shell": what the pod then really sees is the machine's own programs. */
const linuxNames = ['busybox', 'alpine', 'debian', 'ubuntu', 'curlimages/curl']

/**
 * The image of a reference such as `docker.io/library/busybox:1.37`; registry, tag and digest do not matter.
 * `cacheDir` is where containers of our own image keep compiled code between starts.
 */
export function findImage(reference: string, cacheDir: string): ImageLookup {
  const name = imageName(reference)
  if (name === 'lateen') return { kind: 'image', image: lateen(cacheDir) }
  if (linuxNames.includes(name))
    return { kind: 'image', image: { name, env: { PATH: systemPath }, entrypoint: ['/bin/sh'], binds: [] } }
  return {
    kind: 'unknown',
    message: `no image "${reference}" in the sandbox, which pulls nothing; it knows ${['lateen', ...linuxNames].join(', ')}`,
  }
}

/** `docker.io/library/busybox:1@sha256:…` → `busybox`. */
export function imageName(reference: string): string {
  const [untagged = ''] = (reference.split('@')[0] ?? '').split(/:(?=[^/]*$)/)
  const [head = '', ...rest] = untagged.split('/')
  const isRegistry = rest.length > 0 && (/[.:]/.test(head) || head === 'localhost')
  return (isRegistry ? rest.join('/') : untagged).replace(/^library\//, '')
}

function lateen(cacheDir: string): Image {
  mkdirSync(cacheDir, { recursive: true, mode: 0o1777 })
  return {
    name: 'lateen',
    // The repository's own Node comes first: the machine's may be older.
    env: { PATH: `/opt/lateen/node_modules/.bin:${systemPath}`, NODE_COMPILE_CACHE: compileCache },
    entrypoint: ['node'],
    binds: [
      { source: repository, target: '/opt/lateen', readOnly: true },
      { source: cacheDir, target: compileCache, readOnly: false },
    ],
  }
}
