import t from 'tap'
import { evaluateCel, parseCel } from '#telemetry'

const attributes: Record<string, string | number | boolean> = {
  'response.code': 503,
  'request.method': 'GET',
  'request.url_path': '/a/b',
  'connection.mtls': true,
}
const headers: Record<string, string> = { 'request.headers x-a': '1', 'response.headers server': 'me' }
const facts = {
  attribute: (name: string) => attributes[name],
  header: (of: string, name: string) => headers[`${of} ${name}`],
}
const valueOf = (text: string) => {
  const read = parseCel(text)
  return read.kind === 'expression' ? evaluateCel(read.root, facts) : `unreadable: ${read.problem}`
}

const cases: readonly [string, string | number | boolean | undefined][] = [
  ['response.code >= 400', true],
  ['response.code == 503 && request.method == "POST"', false],
  ["request.method == 'GET' || response.code < 1", true],
  ['!(response.code >= 400)', false],
  ['!!connection.mtls', true],
  ["request.headers['X-A'] == '1'", true],
  ["request.headers['x-none'] == '1'", undefined],
  ["has(request.headers['x-none'])", false],
  ["'x-a' in request.headers", true],
  ["'x-none' in request.headers", false],
  ['response.code in [500, 502, 503]', true],
  ['response.code in []', false],
  ["request.url_path.startsWith('/a')", true],
  ["request.url_path.endsWith('/a')", false],
  ["!request.url_path.contains('health')", true],
  ["response.code >= 400 || request.headers['x-none'] == '1'", true],
  ["request.headers['x-none'] == '1' || response.code >= 400", true],
  ["request.headers['x-none'] == '1' && false", false],
  ["request.headers['x-none'] == '1' && true", undefined],
  ['response.code == "503"', undefined],
  ['size(request.method)', 3],
  ["has(request.headers['x-none']) ? request.headers['x-none'] : 'none'", 'none'],
  ['request.method', 'GET'],
  [`"it's"`, "it's"],
  ['"a\\"b"', 'a"b'],
  ['true || false && false', true],
]
for (const [text, want] of cases) t.test(text, async (t) => t.equal(valueOf(text), want))

t.test('what is not understood is told', async (t) => {
  for (const text of [
    '',
    'response.code >',
    'response.nothing == 1',
    'response.code + 1 == 2',
    'request.headers',
    "request.url_path.matches('x')",
    '(response.code == 1',
    'response.code == 1)',
    '[1, 2',
    "'unterminated",
    '1 2',
    'node.metadata == 1',
    `${'('.repeat(100)}true${')'.repeat(100)}`,
    `'${'x'.repeat(3_000)}'`,
    '{a: 1}',
    '"a\nb"',
  ])
    t.match(valueOf(text), /^unreadable: ./, text.slice(0, 40))
})
