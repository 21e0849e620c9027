import { readFileSync } from 'node:fs'
import type { Test } from 'tap'
import { parse, stringify } from 'yaml'
import { setTimeout as delay } from 'node:timers/promises'
import { apply, remove } from './cluster.ts'
import { complaint, type Expected, isCounted } from './expect.ts'
import { statusComplaint } from './route-status.ts'
import type { Stage } from './stage.ts'

/** An object as a user wrote it, but for apiVersion and namespace, which `kubectl -n` and the kind tell. */
export type Given = Readonly<{
  kind: string
  apiVersion?: string
  metadata: Readonly<{ name: string; namespace?: string }>
}> &
  Readonly<Record<string, unknown>>

type Step = Readonly<{
  /** What is applied; the same name again changes it. */
  given?: readonly Given[]
  /** What the API server says where it takes nothing of what is given. */
  refused?: string
  /** What is deleted, as `Kind/name`. */
  gone?: readonly string[]
  asks?: readonly Expected[]
  /** A second after what was made before: times of creation are in seconds. */
  later?: boolean
  /** What `Kind/name` says of itself; where nothing else is told all is well. */
  status?: Readonly<Record<string, string | readonly string[]>>
}>

/** One step, or several one after the other. */
type Case = Step & Readonly<{ name: string; then?: readonly Step[] }>

const apiVersions: Readonly<Record<string, string>> = {
  HTTPRoute: 'gateway.networking.k8s.io/v1',
  GRPCRoute: 'gateway.networking.k8s.io/v1',
  TLSRoute: 'gateway.networking.k8s.io/v1',
  TCPRoute: 'gateway.networking.k8s.io/v1',
  ReferenceGrant: 'gateway.networking.k8s.io/v1beta1',
  VirtualService: 'networking.istio.io/v1',
  DestinationRule: 'networking.istio.io/v1',
  ServiceEntry: 'networking.istio.io/v1',
  Service: 'v1',
  EndpointSlice: 'discovery.k8s.io/v1',
}
const routeKinds = ['HTTPRoute', 'GRPCRoute', 'TLSRoute', 'TCPRoute']

/** How long the world may take to look as a case says. */
const patienceMs = 20_000
/** As the conformance suite asks for. */
const consecutive = 3
const pollMs = 50

export const readCases = (file: string, { fill }: Stage): readonly Case[] =>
  parse(fill(readFileSync(new URL(`../cases/${file}`, import.meta.url), 'utf8'))) as readonly Case[]

/** Plays every case: applies what is given, polls until all is as it says, takes away what was given. */
export async function play(t: Test, stage: Stage, cases: readonly Case[]): Promise<void> {
  for (const one of cases)
    await t.test(one.name, { timeout: 150_000 }, async (t) => {
      const made = new Map<string, Given>()
      t.teardown(() => removeAll([...made.values()]))
      for (const step of [one, ...(one.then ?? [])]) t.same(await playStep(stage, step, made), [])
    })
}

async function playStep(stage: Stage, step: Step, made: Map<string, Given>): Promise<readonly string[]> {
  if (step.later === true) await delay(1_100)
  const objects = (step.given ?? []).map((given) => inFull(given, stage))
  await removeAll((step.gone ?? []).map((key) => made.get(key) ?? fail(key)))
  for (const key of step.gone ?? []) made.delete(key)
  for (const object of objects) {
    const refusal = await apply(stringify(object)).then(() => '', refusalOf)
    const isAsSaid = step.refused === undefined ? refusal === '' : refusal.includes(step.refused)
    if (refusal === '') made.set(keyOf(object), object)
    if (!isAsSaid) return [`${keyOf(object)}: ${refusal === '' ? 'it was taken' : refusal}`]
  }
  const telling = [...made.values()].filter(({ kind }) => kind in usually)
  const wanted = {
    ...Object.fromEntries(telling.map((one) => [keyOf(one), usually[one.kind] ?? ''])),
    ...step.status,
  }
  const end = Date.now() + patienceMs
  for (let good = 0; ; ) {
    const complaints = await complaintsOf(stage, step.asks ?? [], wanted, made)
    good = complaints.length === 0 ? good + 1 : 0
    // Who counts has asked often enough.
    if (good >= consecutive || (good > 0 && step.asks?.every(([, expected]) => isCounted(expected))))
      return []
    if (Date.now() > end) return complaints
    if (good === 0) await delay(pollMs)
  }
}

/** What each kind says where all is well. */
const usually: Readonly<Record<string, string>> = {
  ...Object.fromEntries(routeKinds.map((kind) => [kind, 'Accepted ResolvedRefs ResolvedWaypoints'])),
  VirtualService: 'Accepted ResolvedRefs',
  DestinationRule: 'Accepted',
}
const keyOf = ({ kind, metadata }: Given) => `${kind}/${metadata.name}`
const fail = (key: string): never => {
  throw new RangeError(`no ${key} was given`)
}

async function complaintsOf(
  stage: Stage,
  asks: readonly Expected[],
  status: Readonly<Record<string, string | readonly string[]>>,
  made: ReadonlyMap<string, Given>,
): Promise<readonly string[]> {
  const quick = asks.filter(([, , more]) => !isSlow(more))
  const all = await Promise.all([
    ...quick.map((expected) => complaint(stage, expected)),
    ...Object.entries(status).map(([key, wanted]) => statusComplaint(made.get(key) ?? fail(key), wanted)),
  ])
  const complaints = all.filter((one) => one !== undefined)
  // What would wait for long before the rules have arrived is asked when the rest is as it should be.
  if (complaints.length > 0) return complaints
  const slow = await Promise.all(
    asks.filter(([, , more]) => isSlow(more)).map((one) => complaint(stage, one)),
  )
  return slow.filter((one) => one !== undefined)
}

const refusalOf = (error: { body?: string; message: string }) => error.body ?? error.message

const isSlow = (more: Expected[2]) => more?.afterMs !== undefined

const removeAll = async (objects: readonly Given[]) => {
  await Promise.all(objects.map((object) => remove(stringify(object))))
}

/** Routes are of service echo's port 80 where they do not say. */
function inFull(given: Given, { ns }: Stage): Given {
  const apiVersion = given.apiVersion ?? apiVersions[given.kind]
  if (apiVersion === undefined) throw new RangeError(`${given.kind} needs an apiVersion`)
  const parentRefs = [{ group: '', kind: 'Service', name: 'echo', port: 80 }]
  const spec = routeKinds.includes(given.kind) ? { parentRefs, ...(given['spec'] as object) } : given['spec']
  return {
    ...given,
    apiVersion,
    metadata: { namespace: ns, ...given.metadata },
    ...(spec === undefined ? {} : { spec }),
  }
}
