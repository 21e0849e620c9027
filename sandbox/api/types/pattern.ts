import { RE2JS } from 're2js'

/** Bounds for expressions that CRDs bring along; Kubernetes' own charts stay far below. */
const MAX_PATTERN = 4096
const MAX_COMPILED = 512

const compiled = new Map<string, RE2JS | undefined>()

/** Go's regular expressions, unanchored, in linear time. */
export function matchesPattern(pattern: string, text: string): boolean {
  const expression = compile(pattern)
  return expression === undefined || expression.matcher(text).find()
}

/** Why the expression is refused; undefined if it is good. */
export function patternError(pattern: string): string | undefined {
  if (pattern.length > MAX_PATTERN) return `must be at most ${MAX_PATTERN} characters`
  return compile(pattern) ? undefined : 'must be a valid regular expression (RE2)'
}

function compile(pattern: string): RE2JS | undefined {
  if (compiled.has(pattern)) return compiled.get(pattern)
  if (compiled.size >= MAX_COMPILED) compiled.clear()
  const expression = tryCompile(pattern)
  compiled.set(pattern, expression)
  return expression
}

function tryCompile(pattern: string): RE2JS | undefined {
  if (pattern.length > MAX_PATTERN) return undefined
  try {
    return RE2JS.compile(pattern)
  } catch {
    return undefined
  }
}
