/** What the story measured. Durations in ms; frames are those on the link between the nodes. */
export type Figures = Readonly<{
  /** From nothing to a cluster whose nodes are ready. */
  upMs: number
  /** From the first manifest to a mesh whose every pod is ready. */
  meshMs: number
  /** From the label to the last pod captured. */
  enrolMs: number
  /** The whole story, set-up left out. */
  totalMs: number
  /** Requests of the shop from just before the label until its traffic was seen to be all TLS. */
  requests: number
  failedRequests: number
  /** Frames that show the card number, in a capture of the same length before and after. */
  plaintextFramesBefore: number
  plaintextFramesAfter: number
  hboneFramesAfter: number
  /** Complete access-log lines with the SPIFFE identities of both ends. */
  identitiesLogged: number
  /** Requests of inventory → payment that were refused while the policy stood, of `askedAfterPolicy`. */
  deniedAfterPolicy: number
  askedAfterPolicy: number
  /** Requests of order → payment that failed in the same time. */
  orderFailuresAfterPolicy: number
  /** Access-log lines that name the policy. */
  policyNamed: number
  plaintextFramesAfterRelease: number
  /** Rules left in the network namespaces of the shop's pods after the label was removed. */
  rulesAfterRelease: number
  /** Namespaces, mounts, processes and files that `down` left; undefined when the sandbox was kept up. */
  leftoversAfterDown: number | undefined
}>

/** From the end of the set-up, the whole story is promised within this. */
export const promisedMs = 60_000

/** The sentences of the story that the figures do not bear out; empty when all of it was true. */
export function untruths(figures: Figures): string[] {
  const claims: [boolean, string][] = [
    [figures.requests > 0, 'there was traffic during the enrolment'],
    [figures.failedRequests === 0, 'no request failed during the enrolment'],
    [figures.plaintextFramesBefore > 0, 'before the label, plaintext crossed the link'],
    [figures.plaintextFramesAfter === 0, 'after the label, no plaintext crossed the link'],
    [figures.hboneFramesAfter > 0, 'after the label, TLS crossed the link on port 15008'],
    [figures.identitiesLogged > 0, 'the access log shows both identities'],
    [figures.askedAfterPolicy > 0, 'the inventory went on asking'],
    [figures.deniedAfterPolicy === figures.askedAfterPolicy, 'the policy refused the inventory'],
    [figures.orderFailuresAfterPolicy === 0, 'the policy left the order service alone'],
    [figures.policyNamed > 0, 'the access log names the policy'],
    [figures.plaintextFramesAfterRelease > 0, 'without the label, plaintext crossed the link again'],
    [figures.rulesAfterRelease === 0, 'without the label, no rule was left in the pods'],
    [(figures.leftoversAfterDown ?? 0) === 0, 'nothing was left behind'],
    [figures.totalMs <= promisedMs, `it took at most ${promisedMs / 1000} s`],
  ]
  return claims.filter(([holds]) => !holds).map(([, claim]) => claim)
}
