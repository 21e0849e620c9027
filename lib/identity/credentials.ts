import { readFileSync } from 'node:fs'
import { getCACertificates } from 'node:tls'
import { MeshError, messageOf } from '#base'

/** What looks like a path is one; anything else is the thing itself (ztunnel: AUTH_TOKEN, CA_ROOT_CA). */
export const isPath = (text: string): boolean => text.includes('/')

function readText(what: string, path: string): string {
  try {
    const text = readFileSync(path, 'utf8').trim()
    if (text !== '') return text
  } catch (cause) {
    throw new MeshError('unavailable', { message: `no ${what}: ${messageOf(cause)}`, cause })
  }
  throw new MeshError('unavailable', { message: `no ${what}: ${path} is empty` })
}

/** The token itself or the file that holds it; read for every use, for the kubelet replaces it before it expires. */
export const tokenOf = (given: string): string => (isPath(given) ? readText('token', given) : given)

/** PEM, the file that holds it, or `SYSTEM` for the roots of the machine. */
export function rootsOf(given: string): string {
  if (given === 'SYSTEM') return getCACertificates('system').join('\n')
  return given.includes('-----BEGIN') ? given : readText('root certificate', given)
}

/** The file in which roots may change; undefined when they are given otherwise. */
export const rootFileOf = (given: string): string | undefined =>
  given === 'SYSTEM' || given.includes('-----BEGIN') ? undefined : given
