import t from 'tap'
import { type Figures, untruths } from '../../../sandbox/demo/figures.ts'

const good: Figures = {
  upMs: 5_000,
  meshMs: 5_000,
  enrolMs: 500,
  totalMs: 40_000,
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
  plaintextFramesAfterRelease: 15,
  rulesAfterRelease: 0,
  leftoversAfterDown: 0,
}

t.test('a true story has no untruths, kept up or taken down', async (t) => {
  t.same(untruths(good), [])
  t.same(untruths({ ...good, leftoversAfterDown: undefined }), [])
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
