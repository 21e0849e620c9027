import type { Answer } from './admin-server.ts'
import type { LogControl } from './log.ts'

/**
 * Shows or changes the log filter: `?level=debug`, `?level=access=debug,info` and `?level=access:debug` add to it;
 * `&reset` starts from the filter of the configuration (ztunnel: admin.rs).
 */
export function answerLogging(query: URLSearchParams, logs: LogControl, configured: string): Answer {
  const level = query.get('level')
  const reset = query.has('reset')
  if (level === null && !reset) return { status: 200, body: `current log level is ${logs.filter()}\n` }
  try {
    logs.setFilter(merge(reset ? configured : logs.filter(), level ?? ''))
    return { status: 200, body: `New log level is ${logs.filter()}\n` }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return { status: 400, body: `${error.message}\n` }
  }
}

/** Rules of `added` replace those of `filter` for the same scope. */
function merge(filter: string, added: string): string {
  const rules = new Map<string, string>()
  for (const rule of `${filter},${added}`
    .split(',')
    .filter((part) => part.trim() !== '')
    .map(normal)) {
    const scope = rule.includes('=') ? (rule.split('=')[0] ?? '') : ''
    rules.set(scope, rule)
  }
  return [...rules.values()].join(',')
}

/** istioctl's words for two levels. */
const levels: Readonly<Record<string, string>> = { warning: 'warn', critical: 'error', none: 'off' }

/** `mod:level` is `mod=level`; the colons inside of a scope come in pairs. */
function normal(rule: string): string {
  const [, scope, level = ''] = /^(?:(.*[^:])[:=])?([^:=]*)$/.exec(rule.trim()) ?? []
  if (level === '') return rule.trim()
  const known = levels[level.toLowerCase()] ?? level.toLowerCase()
  return scope === undefined ? known : `${scope}=${known}`
}
