import type { CelNode, HeaderMap } from './cel-parse.ts'

/** What an expression is made of, and comes to. */
export type CelValue = string | number | boolean

/** What an expression asks of the request that it is about; undefined for what is not there. */
export type CelFacts = Readonly<{
  attribute(name: string): CelValue | undefined
  header(of: HeaderMap, name: string): string | undefined
}>

/** The value of an expression; undefined where it has none, for what it asks for is not there or of another kind. */
export function evaluateCel(node: CelNode, facts: CelFacts): CelValue | undefined {
  switch (node.kind) {
    case 'literal':
      return node.value
    case 'attribute':
      return facts.attribute(node.name)
    case 'header': {
      const name = evaluateCel(node.name, facts)
      return typeof name === 'string' ? facts.header(node.of, name.toLowerCase()) : undefined
    }
    case 'has':
      return evaluateCel(node.of, facts) !== undefined
    case 'not': {
      const value = evaluateCel(node.of, facts)
      return typeof value === 'boolean' ? !value : undefined
    }
    case 'size': {
      const value = evaluateCel(node.of, facts)
      return typeof value === 'string' ? value.length : undefined
    }
    case 'test':
      return tested(node.by, evaluateCel(node.of, facts), evaluateCel(node.text, facts))
    case 'choice': {
      const when = evaluateCel(node.when, facts)
      if (typeof when !== 'boolean') return undefined
      return evaluateCel(when ? node.yes : node.no, facts)
    }
    case 'binary':
      return binary(node, facts)
    case 'list':
      return undefined
  }
}

function tested(by: 'contains' | 'startsWith' | 'endsWith', of: unknown, text: unknown): boolean | undefined {
  if (typeof of !== 'string' || typeof text !== 'string') return undefined
  return by === 'contains' ? of.includes(text) : by === 'startsWith' ? of.startsWith(text) : of.endsWith(text)
}

type Binary = Extract<CelNode, { kind: 'binary' }>

function binary({ operator, left, right }: Binary, facts: CelFacts): CelValue | undefined {
  const a = evaluateCel(left, facts)
  // One side may decide although the other has no value (CEL).
  if (operator === '||' || operator === '&&') {
    const decisive = operator === '||'
    if (a === decisive) return decisive
    const b = evaluateCel(right, facts)
    if (b === decisive) return decisive
    return a === undefined || b === undefined ? undefined : !decisive
  }
  if (operator === 'in')
    return right.kind === 'list' && a !== undefined
      ? right.items.some((item) => evaluateCel(item, facts) === a)
      : undefined
  return compared(operator, a, evaluateCel(right, facts))
}

function compared(operator: string, a: CelValue | undefined, b: CelValue | undefined): boolean | undefined {
  if (a === undefined || b === undefined || typeof a !== typeof b) return undefined
  switch (operator) {
    case '==':
      return a === b
    case '!=':
      return a !== b
    case '<':
      return a < b
    case '<=':
      return a <= b
    case '>':
      return a > b
    default:
      return a >= b
  }
}
