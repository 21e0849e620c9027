import type { Subscription } from './delta.ts'
import type { View } from './snapshot.ts'

/** What a client has of one type, as far as we have told it. */
export type Holdings = Readonly<{
  typeUrl: string
  /** Everything of the type; else what is asked for by name. */
  wildcard: boolean
  asked: readonly string[]
  /** Name and version as they are now. */
  resources: readonly Readonly<{ name: string; version: string }>[]
  /** Of these, what it has not been told of yet. */
  pending: readonly string[]
}>

/** Costs a look through all that the client has: for people, not for programs. */
export function holdingsOf(
  typeUrl: string,
  { wildcard, asked, held, dirty }: Subscription,
  view: View,
  waiting: Iterable<string>,
): Holdings {
  const names = [...(wildcard ? view.names() : held)].sort()
  return {
    typeUrl,
    wildcard,
    asked: [...asked].sort(),
    resources: names.map((name) => ({ name, version: view.get(name)?.version ?? '' })),
    pending: [...new Set([...dirty, ...waiting])].sort(),
  }
}
