import type { PathSpelling } from '#routes'

const unreserved = /^[A-Za-z0-9\-._~]$/

/**
 * Path and query with the path in its one spelling, as Istio's BASE has it (facts: l7.md §3.7): `\` is a slash, escapes
 * of plain characters are those characters, other escapes are in capitals, dot segments are walked, a fragment is cut
 * off. Slashes that are escaped stay so, and several in a row, unless `spelling` says otherwise. Undefined for what is no path.
 */
export function normalPath(target: string, spelling?: PathSpelling): string | undefined {
  const whole = cutAt(target, '#')
  const path = cutAt(whole, '?')
  const query = whole.slice(path.length)
  if (isPlain(path) && (spelling === undefined || !path.includes('//'))) return path + query
  if (!path.startsWith('/') && !path.startsWith('\\')) return undefined
  // A `%` that begins no escape stays: clients send what was typed (`/100%`). Of two another escape could become (`%2%45`).
  if (/%[0-9A-Fa-f]?%/.test(path)) return undefined
  const slashed = spelling === 'decode-and-merge-slashes' ? path.replaceAll(/%2[Ff]|%5[Cc]/g, '/') : path
  const spelled = slashed.replaceAll('\\', '/').replaceAll(/%([0-9A-Fa-f]{2})/g, (escape, hex: string) => {
    const char = String.fromCharCode(Number.parseInt(hex, 16))
    return unreserved.test(char) ? char : escape.toUpperCase()
  })
  // The byte that ends strings elsewhere.
  if (spelled.includes('%00')) return undefined
  const walked = withoutDots(spelled)
  return (spelling === undefined ? walked : walked.replaceAll(/\/{2,}/g, '/')) + query
}

/**
 * What a rule made of a path, in its one spelling too. A path in which dots would have to be walked now is none: its parts
 * came from the client, and were judged as names (`/a../admin`, of which a rewrite of `/a` makes `/../admin`).
 */
export function normalRewrite(target: string): string | undefined {
  const spelled = normalPath(target)
  if (spelled === undefined) return undefined
  return /(?:^|[/\\])(?:\.|%2[Ee]){1,2}(?:$|[/\\])/.test(cutAt(target, '?')) ? undefined : spelled
}

const cutAt = (text: string, mark: string): string => {
  const at = text.indexOf(mark)
  return at < 0 ? text : text.slice(0, at)
}

/** Most paths: nothing in them has two spellings. */
const isPlain = (path: string): boolean =>
  path.startsWith('/') && !path.includes('%') && !path.includes('\\') && !path.includes('/.')

function withoutDots(path: string): string {
  const kept: string[] = []
  const segments = path.split('/').slice(1)
  for (const [i, segment] of segments.entries()) {
    const isLast = i === segments.length - 1
    if (segment === '..') kept.pop()
    if (segment === '.' || segment === '..') {
      if (isLast) kept.push('')
    } else kept.push(segment)
  }
  return `/${kept.join('/')}`
}
