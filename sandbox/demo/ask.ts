import { z } from 'zod'
import { MeshError } from '#base'
import { execIn } from './exec.ts'
import { type Context, namespace } from './scene.ts'
import { podsOf } from './traffic.ts'

const Answers = z.object({ answers: z.record(z.string(), z.number()), slowestMs: z.number() })
/** How many answers of each kind a question got, as in `200 v1`, and how long the slowest took. */
type Answers = z.infer<typeof Answers>

const script = '/opt/lateen/sandbox/images/coffee-shop/ask.ts'

/** Asks from an order pod, as `kubectl exec deploy/order -- node …/ask.ts` would. */
export async function ask(
  { stage, client, signal }: Context,
  { times, url, header }: Readonly<{ times: number; url: string; header?: string }>,
): Promise<Answers> {
  const [order] = await podsOf(client, namespace, 'order', signal)
  if (!order) throw new MeshError('unavailable', { message: 'the shop has no order pod' })
  const command = ['node', script, String(times), url, ...(header === undefined ? [] : [header])]
  return Answers.parse(JSON.parse(await execIn(stage.config.kubeconfig, order, command, signal)))
}

/** `1790 × 200 v1, 210 × 200 v2`. */
export const told = ({ answers }: Answers): string =>
  Object.entries(answers)
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([kind, count]) => `${count} × ${kind}`)
    .join(', ')
