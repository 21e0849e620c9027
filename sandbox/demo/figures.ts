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
  /** Tasks that wanted to run, per processor, in the last minute of the story. */
  loadPerProcessor: number
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
  /** From `istioctl waypoint apply` to the first request through it. */
  waypointMs: number
  /** Requests of the shop from before the waypoint came until it had gone, and those that failed. */
  requestsOfAct: number
  failuresOfAct: number
  /** Those of the shop that the waypoint answered itself because a fault said so. */
  faultsOfAct: number
  /** Answers by version, of `canaryAsked` questions while 90/10 stood. */
  canaryAsked: number
  canaryV1: number
  canaryV2: number
  /** Answers of v2 to `testerAsked` questions with the header. */
  testerAsked: number
  testerV2: number
  /** Access-log lines and requests counted that show the canary. */
  canaryLogged: number
  canaryCounted: number
  /** Answers of 503 to `priceAsked` questions while the fault stood, and access-log lines that say it was a fault. */
  priceAsked: number
  priceFaults: number
  faultsLogged: number
  /** Receipts asked for and given before the timeout; with it, those asked for and answered 504; lines that tell why. */
  receiptsAsked: number
  receiptsBefore: number
  receiptsTimedOut: number
  timeoutsLogged: number
  /** On the link, during the whole act. */
  plaintextFramesOfAct: number
  hboneFramesOfAct: number
  /** Answers by version, of `plainAsked` questions, after the waypoint was deleted. */
  plainAsked: number
  plainV1: number
  plainV2: number
  plaintextFramesAfterRelease: number
  /** Rules left in the network namespaces of the shop's pods after the label was removed. */
  rulesAfterRelease: number
  /** Namespaces, mounts, processes and files that `down` left; undefined when the sandbox was kept up. */
  leftoversAfterDown: number | undefined
}>

/** From the end of the set-up, the whole story is promised within this, on a machine that has nothing else to do. */
export const promisedMs = 60_000
/** With more than this, others have the processors. */
const busyLoad = 3

/** It took too long, but the machine was busy with other things: no untruth. */
export const wasHeldUp = ({ totalMs, loadPerProcessor }: Figures): boolean =>
  totalMs > promisedMs && loadPerProcessor > busyLoad

/** `share` of `of`, as chance would have it: four and a half standard deviations, one story in 100,000 is out of luck. */
const isAbout = (count: number, share: number, of: number): boolean =>
  of > 0 && Math.abs(count - share * of) <= 4.5 * Math.sqrt(of * share * (1 - share))

/** The sentences of the story that the figures do not bear out; empty when all of it was true. */
export function untruths(figures: Figures): string[] {
  const claims: Claim[] = [
    ...claimsOfL4(figures),
    ...claimsOfWaypoint(figures),
    [(figures.leftoversAfterDown ?? 0) === 0, 'nothing was left behind'],
    [figures.totalMs <= promisedMs || wasHeldUp(figures), `it took at most ${promisedMs / 1000} s`],
  ]
  return claims.filter(([holds]) => !holds).map(([, claim]) => claim)
}

type Claim = readonly [holds: boolean, sentence: string]

function claimsOfL4(figures: Figures): Claim[] {
  return [
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
  ]
}

function claimsOfWaypoint(figures: Figures): Claim[] {
  const { canaryAsked, canaryV1, canaryV2, testerAsked, priceAsked, receiptsAsked, plainAsked, plainV1 } =
    figures
  return [
    [figures.requestsOfAct > 0, 'there was traffic while the waypoint came and went'],
    [figures.faultsOfAct > 0, 'the fault hit the shop'],
    [figures.failuresOfAct === figures.faultsOfAct, 'no request failed but those that the fault asked for'],
    [canaryAsked >= 1_000 && canaryV1 + canaryV2 === canaryAsked, 'v1 and v2 answered all that was asked'],
    [isAbout(canaryV2, 0.1, canaryAsked), "a tenth of the answers was v2's"],
    [testerAsked > 0 && figures.testerV2 === testerAsked, 'who sent the header got v2'],
    [figures.canaryLogged > 0, 'the access log shows the canary'],
    [figures.canaryCounted >= canaryV2 + figures.testerV2, 'the metrics count the canary'],
    [isAbout(figures.priceFaults, 0.5, priceAsked), 'half of the prices failed'],
    [figures.faultsLogged > 0, 'the access log names the fault'],
    [receiptsAsked > 0 && figures.receiptsBefore === receiptsAsked, 'receipts came before the timeout'],
    [receiptsAsked > 0 && figures.receiptsTimedOut === receiptsAsked, 'receipts ran into the timeout'],
    [figures.timeoutsLogged > 0, 'the access log names the timeout'],
    [figures.plaintextFramesOfAct === 0, 'around the waypoint, no plaintext crossed the link'],
    [figures.hboneFramesOfAct > 0, 'around the waypoint, TLS crossed the link on port 15008'],
    [plainV1 + figures.plainV2 === plainAsked, 'without the waypoint, v1 and v2 answered all that was asked'],
    [isAbout(plainV1, 0.5, plainAsked), 'without the waypoint, nothing was left of its routes'],
  ]
}
