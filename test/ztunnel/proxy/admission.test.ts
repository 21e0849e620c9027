import t from 'tap'
import { Admission, forgetWorker, shareAdmission } from '../../../ztunnel/proxy/index.ts'

/** A limit that leaves 100 descriptors to connections. */
const limit = 164

t.test(
  'room is taken and given back once; without room the refusal is counted with its reason',
  async (t) => {
    const shed: string[] = []
    const admission = new Admission(limit, (reason) => shed.push(reason))
    t.equal(admission.most, 100)
    const all = Array.from({ length: 100 }, (_, i) => admission.take(1, `pod-${i % 3}`))
    t.ok(all.every((room) => room !== undefined))
    t.equal(admission.take(1, 'pod-9'), undefined)
    t.same(shed, ['node'])
    all[0]?.[Symbol.dispose]()
    all[0]?.[Symbol.dispose]()
    t.equal(admission.taken, 99)
    t.equal(admission.take(2, 'pod-9'), undefined)
    t.ok(admission.take(1, 'pod-9'))
  },
)

t.test('one pod may fill half of the node and leaves the rest to the others', async (t) => {
  const shed: string[] = []
  const admission = new Admission(limit, (reason) => shed.push(reason))
  const mine = Array.from({ length: 60 }, () => admission.take(1, 'greedy'))
  t.equal(mine.filter((room) => room !== undefined).length, 50)
  t.equal(shed[0], 'pod')
  t.ok(admission.take(50, 'other'))
  mine[0]?.[Symbol.dispose]()
  t.ok(admission.take(1, 'greedy'))
  t.equal(admission.take(1, 'greedy'), undefined)
})

t.test('a socket whose number is close to the limit is refused, whoever opened the others', async (t) => {
  const shed: string[] = []
  const admission = new Admission(1000, (reason) => shed.push(reason))
  t.ok(admission.take(1, 'pod', 967))
  t.equal(admission.take(1, 'pod', 968), undefined)
  t.same(shed, ['descriptors'])
})

t.test('a small limit leaves a fixed part to what is not a connection', async (t) => {
  t.equal(new Admission(256).most, 192)
  t.equal(new Admission(1_048_576).most, 943_718)
  t.equal(new Admission(10).take(1, 'pod'), undefined, 'and less than that takes nobody')
})

t.test("workers see each other's connections, of the node and of a pod", async (t) => {
  const shared = shareAdmission(2)
  const [a, b] = [0, 1].map((worker) => new Admission(limit, undefined, shared, worker))
  if (!a || !b) throw new Error('two')
  for (let i = 0; i < 25; i++) t.ok(a.take(1, 'pod') && b.take(1, 'pod'))
  t.equal(a.take(1, 'pod'), undefined, 'half of the node is reached together')
  t.equal(b.take(1, 'pod'), undefined)
  t.ok(a.take(49, 'other'))
  t.ok(b.take(1, 'third'))
  t.equal(a.take(1, 'fourth'), undefined, 'and so is the node')
  t.equal(a.takenHere + b.takenHere, 100)

  forgetWorker(shared, 0)
  t.equal(b.taken, 26, 'what a dead worker held is free again')
  t.ok(b.take(24, 'pod'))
})

t.test('thousands of pods come and go, and each has its own limit', async (t) => {
  const admission = new Admission(limit)
  for (let i = 0; i < 20_000; i++) {
    const room = admission.take(50, `uid-${i}`)
    if (!room) return t.fail(`no room for pod ${i}`)
    room[Symbol.dispose]()
  }
  const many = new Admission(100_000)
  for (let i = 0; i < 250; i++) many.take(40, `uid-${i}`)
  t.equal(many.taken, 10_000)
  const whole = Math.floor(many.most / 2)
  let crowded = 0
  for (let i = 0; i < 250; i++) {
    const room = many.take(whole - 40, `uid-${i}`)
    if (!room) crowded++
    room?.[Symbol.dispose]()
  }
  t.equal(crowded, 0, 'nobody of 250 pods shares a limit with another')
})
