import t from 'tap'
import { type Figures, untruths } from '../../../sandbox/demo/figures.ts'

const good: Figures = {
  upMs: 5_000,
  meshMs: 5_000,
  enrolMs: 500,
  totalMs: 40_000,
  loadPerProcessor: 1.5,
  requests: 300,
  failedRequests: 0,
  plaintextFramesBefore: 20,
  plaintextFramesAfter: 0,
  hboneFramesAfter: 90,
  identitiesLogged: 12,
  deniedAfterPolicy: 30,
  askedAfterPolicy: 30,
  orderFailuresAfterPolicy: 0,
  policyNamed: 30,
  waypointMs: 3_000,
  requestsOfAct: 1_600,
  failuresOfAct: 11,
  faultsOfAct: 11,
  canaryAsked: 2_000,
  canaryV1: 1_790,
  canaryV2: 210,
  testerAsked: 100,
  testerV2: 100,
  canaryLogged: 310,
  canaryCounted: 400,
  priceAsked: 200,
  priceFaults: 104,
  faultsLogged: 115,
  receiptsAsked: 4,
  receiptsBefore: 4,
  receiptsTimedOut: 4,
  timeoutsLogged: 4,
  plaintextFramesOfAct: 0,
  hboneFramesOfAct: 8_000,
  plainAsked: 200,
  plainV1: 95,
  plainV2: 105,
  plaintextFramesAfterRelease: 15,
  rulesAfterRelease: 0,
  leftoversAfterDown: 0,
}

t.test('a true story has no untruths, kept up or taken down', async (t) => {
  t.same(untruths(good), [])
  t.same(untruths({ ...good, leftoversAfterDown: undefined }), [])
})

t.test('on a busy machine it may take longer', async (t) => {
  t.same(untruths({ ...good, totalMs: 90_000, loadPerProcessor: 6 }), [])
})

const lies: [Partial<Figures>, RegExp][] = [
  [{ requests: 0 }, /traffic/],
  [{ failedRequests: 1 }, /no request failed/],
  [{ plaintextFramesBefore: 0 }, /before the label/],
  [{ plaintextFramesAfter: 1 }, /no plaintext/],
  [{ hboneFramesAfter: 0 }, /15008/],
  [{ identitiesLogged: 0 }, /identities/],
  [{ askedAfterPolicy: 0, deniedAfterPolicy: 0 }, /went on asking/],
  [{ deniedAfterPolicy: 29 }, /refused the inventory/],
  [{ orderFailuresAfterPolicy: 1 }, /order service/],
  [{ policyNamed: 0 }, /names the policy/],
  [{ requestsOfAct: 0 }, /while the waypoint came and went/],
  [{ failuresOfAct: 0, faultsOfAct: 0 }, /the fault hit/],
  [{ failuresOfAct: 12 }, /but those that the fault asked for/],
  [{ faultsOfAct: 12 }, /but those that the fault asked for/],
  [{ canaryV1: 1_789 }, /answered all that was asked/],
  [{ canaryAsked: 900, canaryV1: 810, canaryV2: 90 }, /answered all that was asked/],
  [{ canaryV1: 1_729, canaryV2: 271 }, /a tenth/],
  [{ canaryV1: 1_861, canaryV2: 139 }, /a tenth/],
  [{ testerV2: 99 }, /header/],
  [{ testerAsked: 0, testerV2: 0 }, /header/],
  [{ canaryLogged: 0 }, /log shows the canary/],
  [{ canaryCounted: 309 }, /count the canary/],
  [{ priceFaults: 140 }, /half of the prices/],
  [{ priceAsked: 0, priceFaults: 0 }, /half of the prices/],
  [{ faultsLogged: 0 }, /names the fault/],
  [{ receiptsBefore: 3 }, /before the timeout/],
  [{ receiptsTimedOut: 3 }, /ran into the timeout/],
  [{ timeoutsLogged: 0 }, /names the timeout/],
  [{ plaintextFramesOfAct: 1 }, /around the waypoint, no plaintext/],
  [{ hboneFramesOfAct: 0 }, /around the waypoint, TLS/],
  [{ plainV2: 104 }, /without the waypoint, v1 and v2/],
  [{ plainV1: 180, plainV2: 20 }, /its routes/],
  [{ plaintextFramesAfterRelease: 0 }, /plaintext crossed the link again/],
  [{ rulesAfterRelease: 1 }, /no rule/],
  [{ leftoversAfterDown: 1 }, /left behind/],
  [{ totalMs: 60_001 }, /60 s/],
]
for (const [change, sentence] of lies)
  t.test(`${JSON.stringify(change)} makes the story untrue`, async (t) => {
    const found = untruths({ ...good, ...change })
    t.equal(found.length, 1)
    t.match(found[0], sentence)
  })
