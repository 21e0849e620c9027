import { Ending } from '#base'
import type { Body, Response } from '#http'
import { type Destination, type DestinationPolicy, drawMirrors, splitAuthority } from '#routes'
import { usualCapacity } from '../capacity.ts'
import { Load } from '../load.ts'
import { defaultPolicy, endpointAddress, groupOf, type ReplayBody } from '../upstream/index.ts'
import { headLoad, sizeOf } from './admit.ts'
import type { Call } from './call.ts'
import { Deadline } from './deadline.ts'
import { tryOnce } from './try.ts'

/** A copy that nobody waits for must end all the same. */
const mirrorMs = 60_000
/** What of an answer is read so that its connection can be used again. */
const maxThrownAway = 64 << 10

/** Copies of this process by where they go: a place that does not answer holds each for a minute, and is sent no more than fits. */
export const copyLoad = new Load(usualCapacity.copies)

type Choice = Extract<Call['route'], { kind: 'forward' }>

/**
 * Sends copies to those that are drawn, once the request is here as a whole; whatever they answer is thrown away. A
 * request with more body than is kept, or for whose copy there is no room, is not copied, and that is counted.
 */
export function mirrorTo(call: Call, { action }: Choice, body: ReplayBody | undefined): void {
  const mirrors = drawMirrors(action, call.parts.random)
  if (mirrors.length === 0) return
  const send = () => {
    for (const to of mirrors) {
      const copy = body?.copy()
      if (body && !copy) call.parts.metrics.mirrorSkipped()
      else
        mirror(call, to, copy, action.timeoutMs).catch((error: unknown) => {
          call.parts.log.error('bug: a copy of a request could not be sent', { error })
        })
    }
  }
  if (body) body.onWhole(send)
  else send()
}

async function mirror(call: Call, to: Destination, body: Body | undefined, timeoutMs: number): Promise<void> {
  const policy = call.plan?.policyOf(to) ?? defaultPolicy(to.service, to.port)
  const place = groupOf(policy.destination)
  const bytes = sizeOf(call)
  if (!copyLoad.enter(place)) return skip(call, body)
  try {
    if (!headLoad.enter(place, bytes)) return skip(call, body)
    try {
      await sendCopy(call, { to, policy, body, timeoutMs })
    } finally {
      headLoad.leave(place, bytes)
    }
  } finally {
    copyLoad.leave(place)
  }
}

function skip({ parts }: Call, body: Body | undefined): void {
  parts.metrics.mirrorSkipped()
  body?.discard()
}

type Copy = Readonly<{
  to: Destination
  policy: DestinationPolicy
  body: Body | undefined
  timeoutMs: number
}>

async function sendCopy(call: Call, { to, policy, body, timeoutMs }: Copy): Promise<void> {
  const { parts, request } = call
  const cluster = parts.clusters.of(to, policy)
  const host = cluster?.choose()
  if (!cluster || !host) return body?.discard()
  const at = endpointAddress(host, cluster.service, parts.leaving.address)
  const { client: remote, peer, target } = call.facts
  const reached = at && { workload: host.workload, to: at, through: cluster }
  if (reached && parts.permits.refusalAt(reached, { asker: { peer, remote }, target }) !== undefined) {
    return skip(call, body)
  }
  const headers = request.headers.copy()
  headers.set('x-envoy-internal', 'true')
  const authority = shadowOf(request.authority)
  // Its client may go.
  const deadline = new Deadline(timeoutMs || mirrorMs, new Ending())
  deadline.start()
  const copied: Call = {
    ...call,
    request: { ...request, authority, headers },
    flags: [],
    cookies: [],
    tries: 1,
  }
  host.active++
  try {
    const { outcome } = await tryOnce({
      call: copied,
      host,
      to: at,
      cluster,
      policy,
      body,
      deadline,
      perTryMs: 0,
      quiet: true,
    })
    if (outcome.kind === 'response') await thrownAway(outcome.response)
  } finally {
    host.active--
    deadline.stop()
  }
}

/** The answer has the copy's time to end in, like the copy: one that never ends would keep its connection for good. */
const thrownAway = ({ body, reset }: Response): Promise<void> =>
  new Promise((resolve) => {
    body.read({
      bytes: () => {
        if (body.received > maxThrownAway) reset('local-reset')
        return true
      },
      end: () => resolve(),
      broken: () => resolve(),
    })
  })

/** The host gets `-shadow` before its port (facts: l7.md §3.7). */
export function shadowOf(authority: string): string {
  const { host, port } = splitAuthority(authority)
  return port === undefined ? `${host}-shadow` : `${host}-shadow:${port}`
}
