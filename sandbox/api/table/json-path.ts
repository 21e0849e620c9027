import { isRecord } from '#base'

const maxMatches = 100

/** The values at a simple JSONPath of printer columns: `.a.b`, `.a['b/c']`, `.a[0]`, `.a[*].b`, `.a[?(@.t=="X")].s`. */
export function jsonPath(value: unknown, path: string): readonly unknown[] {
  const steps = parseSteps(path)
  if (steps === undefined) return []
  return steps.reduce<readonly unknown[]>(
    (here, step) => here.flatMap((v) => walk(v, step)).slice(0, maxMatches),
    [value],
  )
}

type Step =
  | Readonly<{ kind: 'field'; name: string }>
  | Readonly<{ kind: 'index'; index: number }>
  | Readonly<{ kind: 'all' }>
  | Readonly<{ kind: 'filter'; path: readonly string[]; value: string }>

const forms: readonly [RegExp, (a: string, b: string) => Step][] = [
  [/^\.?([A-Za-z0-9_$-]+)/, (name) => ({ kind: 'field', name })],
  [/^\[\s*['"]([^'"]*)['"]\s*\]/, (name) => ({ kind: 'field', name })],
  [/^\[\s*(-?\d+)\s*\]/, (index) => ({ kind: 'index', index: Number(index) })],
  [/^(?:\[\s*\*\s*\]|\.\*)/, () => ({ kind: 'all' })],
  [
    /^\[\?\(\s*@\.([A-Za-z0-9_.-]+)\s*==\s*["']([^"']*)["']\s*\)\]/,
    (path, value) => ({ kind: 'filter', path: path.split('.'), value }),
  ],
]

function parseSteps(path: string): readonly Step[] | undefined {
  const steps: Step[] = []
  // A backslash escapes a dot inside a field name; kubectl's docs use it for annotations.
  let rest = path
    .trim()
    .replace(/^\{|\}$/g, '')
    .replace(/^\$/, '')
  while (rest !== '' && rest !== '.') {
    const escaped = /^\.((?:[^.[\]\\]|\\.)+)/.exec(rest)
    if (escaped?.[1]?.includes('\\')) {
      steps.push({ kind: 'field', name: escaped[1].replaceAll('\\', '') })
      rest = rest.slice(escaped[0].length)
      continue
    }
    const found = forms
      .map(([form, make]) => ({ match: form.exec(rest), make }))
      .find(({ match }) => match !== null)
    if (!found?.match) return undefined
    steps.push(found.make(found.match[1] ?? '', found.match[2] ?? ''))
    rest = rest.slice(found.match[0].length)
  }
  return steps
}

function walk(value: unknown, step: Step): readonly unknown[] {
  switch (step.kind) {
    case 'field': {
      const found = isRecord(value) && Object.hasOwn(value, step.name) ? value[step.name] : undefined
      return found === undefined || found === null ? [] : [found]
    }
    case 'index': {
      const found: unknown = Array.isArray(value) ? value.at(step.index) : undefined
      return found === undefined ? [] : [found]
    }
    case 'all':
      if (Array.isArray(value)) return value
      return isRecord(value) ? Object.values(value) : []
    case 'filter':
      return Array.isArray(value)
        ? value.filter(
            (item) =>
              step.path.reduce<unknown>((v, f) => (isRecord(v) ? v[f] : undefined), item) === step.value,
          )
        : []
  }
}
