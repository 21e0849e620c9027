/** `npm run demo [-- --json --keep --name X]`: tells the story of the mesh on this machine and says whether it was true. */
import { parseArgs } from 'node:util'
import { describeError } from '#telemetry'
import { sandboxConfig } from '../config.ts'
import { promisedMs, untruths, wasHeldUp } from './figures.ts'
import { stageOf } from './stage.ts'
import type { Narrator } from './scene.ts'
import { tellStory } from './story.ts'

/** Nothing in the story may wait longer, whatever goes wrong. */
const storyTimeoutMs = 180_000

const { values } = parseArgs({
  options: {
    json: { type: 'boolean' },
    keep: { type: 'boolean' },
    name: { type: 'string', default: 'demo' },
  },
})
const say = (line: string) => process.stdout.write(`${line}\n`)
const started = Date.now()
let steps = 0
const tell: Narrator = {
  step: (text) => say(`\n[${((Date.now() - started) / 1000).toFixed(1).padStart(5)} s] ${++steps}. ${text}`),
  detail: (text) => say(text.replaceAll(/^/gm, '          ')),
}

const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => stop.abort(new Error(`stopped by ${name}`)))

try {
  const config = sandboxConfig(values.name)
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(storyTimeoutMs)])
  const figures = await tellStory(stageOf(config), tell, { keep: values.keep ?? false, signal })
  const wrong = untruths(figures)
  say(wrong.length === 0 ? '\nThe story was true.' : `\nNot true: ${wrong.join('; ')}.`)
  if (wasHeldUp(figures)) say(`It took more than ${promisedMs / 1000} s, but others had the processors.`)
  say(
    values.keep
      ? `\nThe cluster stays up:\n  export KUBECONFIG=${config.kubeconfig}\n  kubectl -n coffee-shop get pods -o wide\n  npm run sandbox -- down --name ${config.name}`
      : '\nTo go on by hand:\n  npm run demo -- --keep     # the same, and the cluster stays up\n  npm run sandbox up         # an empty cluster; prints its KUBECONFIG and kubectl lines',
  )
  if (values.json) say(JSON.stringify(figures))
  process.exitCode = wrong.length === 0 ? 0 : 1
} catch (error) {
  process.stderr.write(`demo: ${describeError(error)}\n`)
  process.exitCode = 1
}
