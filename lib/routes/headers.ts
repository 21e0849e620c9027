import type { HeaderOps } from './model.ts'

/** The header fields of a message that may be changed. Names are in lower case. */
export type EditableHeaders = Readonly<{
  set(name: string, value: string): void
  add(name: string, value: string): void
  delete(name: string): void
}>

/** RFC 9110 token characters without capitals. */
const namePattern = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
/** Latin-1 without control characters, and no blanks at the ends. */
// oxlint-disable-next-line no-control-regex
const valuePattern = /^(?!\s)[^\x00-\x08\x0a-\x1f\x7f\u0100-\uffff]*(?<!\s)$/
/** They say where a message ends and whom it is for: not for routes to write. */
const framing: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Why a header (in lower case) cannot be changed by a route; undefined if it can. */
export function headerProblem(name: string, value = ''): string | undefined {
  if (!namePattern.test(name)) return `${JSON.stringify(name)} is not the name of a header`
  if (framing.has(name)) return `${name} is not for a route to change`
  return valuePattern.test(value) ? undefined : `the value of ${name} cannot stand in a header`
}

/** Why a text cannot be put in place of the host (and port) of a request; undefined if it can. */
export const authorityProblem = (text: string): string | undefined =>
  /^[\w.~!$&'()*+,;=:[\]%-]+$/.test(text) ? undefined : `${JSON.stringify(text.slice(0, 80))} is not a host`

/** Why a text cannot become part of the path of a request; undefined if it can. */
export const pathProblem = (text: string): string | undefined =>
  /^[\x21\x22\x24-\x7e]*$/.test(text)
    ? undefined
    : `${JSON.stringify(text.slice(0, 80))} cannot stand in a path (blanks, control characters, # and what is not ASCII have to be encoded)`

/**
 * Set, then add, then remove. `render` fills in a template; one that it makes nothing of (undefined) is left out, and
 * so is one of which it makes what cannot stand in a header.
 */
export function applyHeaderOps(
  headers: EditableHeaders,
  { set, add, remove }: HeaderOps,
  render: (template: string) => string | undefined,
): void {
  const valueOf = (name: string, value: string, template: boolean | undefined) => {
    const text = template === true ? render(value) : value
    return text === undefined || headerProblem(name, text) !== undefined ? undefined : text
  }
  for (const { name, value, template } of set) {
    const text = valueOf(name, value, template)
    if (text !== undefined) headers.set(name, text)
  }
  for (const { name, value, template } of add) {
    const text = valueOf(name, value, template)
    if (text !== undefined) headers.add(name, text)
  }
  for (const name of remove) headers.delete(name)
}
