import { messageOf } from '#base'
import { RE2JS } from 're2js'
import type { PresenceMatch, TextMatch } from './model.ts'

/** Users' expressions are short; a longer one costs memory on every waypoint. */
const maxPatternLength = 4_096
/** Instructions of a compiled expression, each of which may be looked at per character. */
const maxProgramSize = 4_096

type TextTest = (text: string) => boolean

/** Why an expression cannot be used; undefined if it can. */
export function patternProblem(pattern: string): string | undefined {
  if (pattern.length > maxPatternLength) return `longer than ${maxPatternLength} characters`
  try {
    const size = RE2JS.compile(pattern).programSize()
    return size > maxProgramSize ? `too big (${size} instructions, at most ${maxProgramSize})` : undefined
  } catch (error) {
    return messageOf(error)
  }
}

/** RE2, of the whole text. */
function patternTest(pattern: string): TextTest {
  const expression = RE2JS.compile(pattern)
  return (text) => expression.testExact(text)
}

export function textTest({ kind, value }: TextMatch, ignoreCase = false): TextTest {
  if (kind === 'regex') return patternTest(value)
  if (ignoreCase) {
    const test = textTest({ kind, value: value.toLowerCase() })
    return (text) => test(text.toLowerCase())
  }
  if (kind === 'exact') return (text) => text === value
  return kind === 'prefix' ? (text) => text.startsWith(value) : (text) => text.endsWith(value)
}

/** Of a text that is there. */
export const presenceTest = (match: PresenceMatch): TextTest =>
  match.kind === 'present' ? () => true : textTest(match)

/** For people. */
export const shownMatch = (match: PresenceMatch): string =>
  match.kind === 'present' ? 'present' : `${match.kind} ${JSON.stringify(match.value)}`
