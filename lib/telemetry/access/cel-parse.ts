/** What of Istio's expressions can be said to a waypoint: a part of CEL without loops, so that each costs what it says. */
export type CelNode =
  | Readonly<{ kind: 'literal'; value: string | number | boolean }>
  | Readonly<{ kind: 'attribute'; name: string }>
  | Readonly<{ kind: 'header'; of: HeaderMap; name: CelNode }>
  | Readonly<{ kind: 'list'; items: readonly CelNode[] }>
  | Readonly<{ kind: 'not' | 'size'; of: CelNode }>
  /** Is it there? */
  | Readonly<{ kind: 'has'; of: CelNode }>
  | Readonly<{ kind: 'binary'; operator: string; left: CelNode; right: CelNode }>
  | Readonly<{ kind: 'choice'; when: CelNode; yes: CelNode; no: CelNode }>
  | Readonly<{ kind: 'test'; by: 'contains' | 'startsWith' | 'endsWith'; of: CelNode; text: CelNode }>

/** Maps of names to values: their entries are asked for one by one. */
export type HeaderMap = 'request.headers' | 'response.headers' | 'response.trailers'
const maps: readonly string[] = ['request.headers', 'response.headers', 'response.trailers']
const isMap = (name: string): name is HeaderMap => maps.includes(name)

/** What an expression may ask for. */
const celAttributes: ReadonlySet<string> = new Set(
  [
    'request.path request.url_path request.query request.host request.scheme request.method request.referer',
    'request.useragent request.id request.protocol request.size request.total_size',
    'response.code response.code_details response.grpc_status response.size response.total_size',
    'source.address source.port destination.address destination.port upstream.address upstream.port',
    'connection.mtls connection.tls_version connection.uri_san_peer_certificate',
    'connection.uri_san_local_certificate xds.route_name xds.cluster_name',
  ]
    .join(' ')
    .split(' '),
)

/** An expression, ready to be evaluated, or why it is none. */
export type ParsedCel =
  | Readonly<{ kind: 'expression'; root: CelNode }>
  | Readonly<{ kind: 'unreadable'; problem: string }>

const maxLength = 2_048
const maxDepth = 40
const token =
  /\s*(?:(\d+(?:\.\d+)?)|("(?:[^"\\\n]|\\["\\nrt])*"|'(?:[^'\\\n]|\\['\\nrt])*')|([A-Za-z_]\w*)|(&&|\|\||[=!<>]=|[!<>?:.,()[\]]))/y

/** Reads an expression; what is not understood is told rather than guessed. */
export function parseCel(text: string): ParsedCel {
  if (text.length > maxLength) return { kind: 'unreadable', problem: `longer than ${maxLength} characters` }
  try {
    return { kind: 'expression', root: new Parser(tokensOf(text)).whole() }
  } catch (error) {
    if (error instanceof CelProblem) return { kind: 'unreadable', problem: error.message }
    throw error
  }
}

class CelProblem extends Error {}
const no = (why: string) => new CelProblem(why)

type Token = Readonly<{ kind: 'number' | 'string' | 'name' | 'sign' | 'end'; text: string }>

function tokensOf(text: string): readonly Token[] {
  const found: Token[] = []
  const end = text.trimEnd().length
  token.lastIndex = 0
  while (token.lastIndex < end) {
    const at = token.lastIndex
    const [, number, string, name, sign] = token.exec(text) ?? []
    if (number !== undefined) found.push({ kind: 'number', text: number })
    else if (string !== undefined) found.push({ kind: 'string', text: unquoted(string) })
    else if (name !== undefined) found.push({ kind: 'name', text: name })
    else if (sign !== undefined) found.push({ kind: 'sign', text: sign })
    else throw no(`cannot be read at ${text.slice(at, at + 20)}`)
  }
  return found
}

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' }
const unquoted = (text: string) =>
  text.slice(1, -1).replaceAll(/\\(.)/g, (_, char: string) => escapes[char] ?? char)

const end: Token = { kind: 'end', text: 'the end' }
const comparisons = new Set(['==', '!=', '<', '<=', '>', '>=', 'in'])

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0
  #depth = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  whole(): CelNode {
    const root = this.#choice()
    if (this.#next.kind !== 'end') throw no(`${this.#next.text} is unexpected`)
    return root
  }

  get #next(): Token {
    return this.#tokens[this.#at] ?? end
  }

  #take(text: string): boolean {
    const { kind } = this.#next
    if ((kind !== 'sign' && kind !== 'name') || this.#next.text !== text) return false
    this.#at++
    return true
  }

  #want(text: string): void {
    if (!this.#take(text)) throw no(`${text} is expected where ${this.#next.text} is`)
  }

  #choice(): CelNode {
    if (++this.#depth > maxDepth) throw no('nested too deeply')
    const when = this.#chain('||', () => this.#chain('&&', () => this.#comparison()))
    this.#depth--
    if (!this.#take('?')) return when
    const yes = this.#choice()
    this.#want(':')
    return { kind: 'choice', when, yes, no: this.#choice() }
  }

  #chain(operator: string, part: () => CelNode): CelNode {
    let left = part()
    while (this.#take(operator)) left = { kind: 'binary', operator, left, right: part() }
    return left
  }

  #comparison(): CelNode {
    const left = this.#unary()
    const operator = this.#next.text
    if (this.#next.kind === 'string' || !comparisons.has(operator)) return left
    this.#at++
    if (operator === 'in' && this.#next.kind === 'name') return this.#inMap(left)
    return { kind: 'binary', operator, left, right: this.#unary() }
  }

  /** `'x' in request.headers` */
  #inMap(name: CelNode): CelNode {
    const path = this.#path()
    if (!isMap(path)) throw no(`${path} is no list and no map`)
    return { kind: 'has', of: { kind: 'header', of: path, name } }
  }

  #unary(): CelNode {
    let nots = 0
    while (this.#take('!')) nots++
    const of = this.#primary()
    return nots % 2 === 0 ? of : { kind: 'not', of }
  }

  #primary(): CelNode {
    const { kind, text } = this.#next
    if (kind === 'number' || kind === 'string') {
      this.#at++
      const value = kind === 'number' ? Number(text) : text
      return this.#tests({ kind: 'literal', value })
    }
    if (this.#take('(')) {
      const inner = this.#choice()
      this.#want(')')
      return this.#tests(inner)
    }
    if (this.#take('[')) return this.#list()
    if (kind !== 'name') throw no(`${text} is unexpected`)
    if (text === 'true' || text === 'false') {
      this.#at++
      return { kind: 'literal', value: text === 'true' }
    }
    if (text === 'has' || text === 'size') return this.#call(text)
    return this.#tests(this.#attribute())
  }

  #list(): CelNode {
    const items: CelNode[] = []
    while (!this.#take(']')) {
      items.push(this.#choice())
      if (!this.#take(',') && this.#next.text !== ']') throw no(`, is expected where ${this.#next.text} is`)
    }
    return { kind: 'list', items }
  }

  #call(kind: 'has' | 'size'): CelNode {
    this.#at++
    this.#want('(')
    const of = this.#choice()
    this.#want(')')
    return { kind, of }
  }

  #path(): string {
    const names: string[] = []
    do {
      const { kind, text } = this.#next
      if (kind !== 'name') throw no(`${text} is unexpected`)
      // A test of what came so far.
      if (names.length > 1 && celAttributes.has(names.join('.'))) break
      names.push(text)
      this.#at++
    } while (names.length < 2 && this.#take('.'))
    return names.join('.')
  }

  #attribute(): CelNode {
    const name = this.#path()
    if (isMap(name)) {
      this.#want('[')
      const key = this.#choice()
      this.#want(']')
      return { kind: 'header', of: name, name: key }
    }
    if (!celAttributes.has(name)) throw no(`${name} is no attribute that a waypoint knows`)
    return { kind: 'attribute', name }
  }

  #tests(of: CelNode): CelNode {
    let made = of
    while (this.#take('.')) {
      const by = this.#next.text
      if (by !== 'contains' && by !== 'startsWith' && by !== 'endsWith') throw no(`.${by} is not known`)
      this.#at++
      this.#want('(')
      made = { kind: 'test', by, of: made, text: this.#choice() }
      this.#want(')')
    }
    return made
  }
}
