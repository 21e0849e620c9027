/**
 * `node ask.ts <times> <url> [<header>: <value>]`: asks so often on a few connections that it keeps, and prints one
 * JSON object: how many answers there were of each kind (`200 v1`, `504`), and how long the slowest took.
 */
import { Agent, request } from 'node:http'

const connections = 16
const [times = '1', url = '', header] = process.argv.slice(2)
const [name, value] = header?.split(': ') ?? []
const agent = new Agent({ keepAlive: true, maxSockets: connections })

const ask = () =>
  new Promise<string>((resolve) => {
    const outgoing = request(
      url,
      { agent, headers: name !== undefined && value !== undefined ? { [name]: value } : {} },
      (answer) => {
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (chunk: string) => (text += chunk))
        answer.on('error', (error) => resolve(error.message))
        answer.on('end', () => resolve(`${answer.statusCode} ${versionOf(text)}`.trim()))
      },
    )
    outgoing.on('error', (error) => resolve(error.message))
    outgoing.end()
  })

/** The version that an answer of the shop names, if it is one and does. */
function versionOf(text: string): string {
  try {
    const { version }: { version?: unknown } = Object(JSON.parse(text))
    return typeof version === 'string' ? version : ''
  } catch {
    return ''
  }
}

const answers: Record<string, number> = {}
let left = Number(times)
let slowestMs = 0
await Promise.all(
  Array.from({ length: connections }, async () => {
    while (left-- > 0) {
      const since = performance.now()
      const kind = await ask()
      answers[kind] = (answers[kind] ?? 0) + 1
      slowestMs = Math.max(slowestMs, Math.round(performance.now() - since))
    }
  }),
)
process.stdout.write(`${JSON.stringify({ answers, slowestMs })}\n`)
agent.destroy()
