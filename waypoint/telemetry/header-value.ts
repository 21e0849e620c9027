import { parseFormat } from '#telemetry'
import type { AccessFacts } from './access-facts.ts'
import { type Evaluate, never, operators } from './operators.ts'

/** What a header's value is made of, as far as the request has gone; undefined: there is nothing to say. */
export type HeaderValue = (facts: AccessFacts) => string | undefined

const made = new Map<string, HeaderValue>()
/** Texts of routes; beyond it they are taken apart anew. */
const maxMade = 1_024

/** The value of a header with Envoy's operators in it; what is absent leaves no trace in it. */
export function headerValue(template: string): HeaderValue {
  const known = made.get(template)
  if (known) return known
  const value = valueOf(template)
  if (made.size === maxMade) made.clear()
  made.set(template, value)
  return value
}

function valueOf(template: string): HeaderValue {
  const read = parseFormat(template)
  if (read.kind === 'unreadable') return () => undefined
  const parts = read.parts.map((part): string | Evaluate => {
    if (typeof part === 'string') return part
    const evaluate = operators[part.name]?.(part.argument) ?? never
    // The one operator that has a word for nothing, as in logs.
    const empty = part.name.startsWith('RESPONSE_FLAGS') ? '-' : ''
    return (facts) => `${evaluate(facts) ?? ''}`.slice(0, part.maxLength) || empty
  })
  return (facts) => parts.map((part) => (typeof part === 'string' ? part : part(facts))).join('') || undefined
}
