import t from 'tap'
import type { Body, BodyReader } from '#http'
import { ReplayBody } from '../../../waypoint/upstream/index.ts'
import { replayUse } from '../../../waypoint/upstream/kept-bytes.ts'

/** A client that sends when it is told to. */
function client() {
  let reader: BodyReader | undefined
  const source = { resumed: 0, discarded: 0 }
  const body: Body = {
    length: undefined,
    received: 0,
    read: (one) => void (reader = one),
    resume: () => void source.resumed++,
    discard: () => void source.discarded++,
  }
  const send = (text: string | Buffer) => {
    const bytes = Buffer.from(text)
    return reader?.bytes(bytes, 0, bytes.length)
  }
  return { body, source, send, end: () => reader?.end(undefined) }
}

/** What a try has got; `takes` of false: it is full at once. */
function upstream(body: Body, takes = true) {
  const got = { text: '', over: '', takes }
  const reader: BodyReader = {
    bytes: (buffer, start, end) => {
      got.text += buffer.toString('latin1', start, end)
      return got.takes
    },
    end: () => void (got.over = 'whole'),
    broken: (reason) => void (got.over = reason),
  }
  body.read(reader)
  return got
}

t.test('what comes while another try is on its way is not taken for all there was', async (t) => {
  const { body, send, end, source } = client()
  const replay = new ReplayBody(body, true)
  const first = replay.next()
  upstream(first)
  t.equal(send('one '), true)
  first.discard()
  const second = replay.next()
  t.equal(send('two '), false, 'nobody reads: it is kept, and the client waits')
  const got = upstream(second)
  t.equal(got.text, 'one two ')
  t.equal(source.resumed, 1)
  t.equal(send('three'), true)
  end()
  t.same(got, { text: 'one two three', over: 'whole', takes: true })
  replay.finish()
})

t.test(
  'who wants to know that the whole body is here hears of it once, also afterwards; of one that broke never',
  async (t) => {
    const { body, send, end } = client()
    const replay = new ReplayBody(body, true)
    let told = 0
    replay.onWhole(() => told++)
    upstream(replay.next())
    send('all')
    t.equal(told, 0)
    end()
    t.equal(told, 1)
    replay.onWhole(() => told++)
    t.equal(told, 2)
    replay.finish()
    const unread = new ReplayBody(client().body, true)
    unread.onWhole(() => t.fail('nothing has come'))
    unread.finish()
  },
)

t.test('the end that comes while another try is on its way is told to it', async (t) => {
  const { body, send, end } = client()
  const replay = new ReplayBody(body, true)
  upstream(replay.next())
  send('all')
  const second = replay.next()
  end()
  t.match(upstream(second), { text: 'all', over: 'whole' })
  replay.finish()
})

t.test('what grows too large between two tries still goes to the second as a whole', async (t) => {
  const { body, send, end } = client()
  const replay = new ReplayBody(body, true)
  const first = replay.next()
  upstream(first)
  send(Buffer.alloc(1 << 20, 'a'))
  first.discard()
  t.equal(replay.replayable, true)
  const second = replay.next()
  t.equal(send('b'), false)
  t.equal(replay.replayable, false, 'a third would not get it all')
  const got = upstream(second, false)
  for (let n = 0; n < 1_000 && got.text.length <= 1 << 20; n++) second.resume()
  second.resume()
  send('c')
  end()
  t.equal(got.text.length, (1 << 20) + 2)
  t.match(got.text, /^a+bc$/)
  t.equal(got.over, 'whole')
  replay.finish()
  t.equal(replayUse(), 0)
})

t.test('a million pieces of one byte are kept as a megabyte', async (t) => {
  const { body, send } = client()
  const replay = new ReplayBody(body, true)
  upstream(replay.next())
  for (let n = 0; n < 1 << 20; n++) send('x')
  t.ok(replay.replayable)
  t.ok(replayUse() < 1.5 * (1 << 20), `${replayUse()} bytes`)
  replay.settle()
  t.equal(replayUse(), 0, 'an answer is here: nobody will ask again')
  replay.finish()
  t.equal(replayUse(), 0)
})

t.test('what all requests together keep is bounded, and is given back', async (t) => {
  const many = Array.from({ length: 200 }, () => {
    const { body, send } = client()
    const replay = new ReplayBody(body, true)
    const got = upstream(replay.next())
    send(Buffer.alloc(1 << 20, 'a'))
    return { replay, got }
  })
  t.ok(replayUse() <= 128 << 20)
  t.equal(many.filter(({ replay }) => replay.replayable).length, 128)
  t.ok(
    many.every(({ got }) => got.text.length === 1 << 20),
    'the try at hand gets it all the same',
  )
  for (const { replay } of many) replay.finish()
  t.equal(replayUse(), 0)
})

t.test('copies have the bytes until the last of them is over', async (t) => {
  const { body, send, end } = client()
  const replay = new ReplayBody(body, true)
  upstream(replay.next())
  send('all')
  end()
  const [one, two] = [replay.copy(), replay.copy()]
  replay.finish()
  t.ok(replayUse() > 0)
  t.match(one && upstream(one), { text: 'all', over: 'whole' })
  two?.discard()
  t.equal(replayUse(), 0)
  t.equal(replay.copy(), undefined)
})

t.test('a try that has not read everything when the request is over gets no false end', async (t) => {
  const { body, send, end } = client()
  const replay = new ReplayBody(body, true)
  const got = upstream(replay.next(), false)
  send('one ')
  const second = replay.next()
  end()
  replay.finish()
  t.equal(got.over, '')
  t.match(upstream(second), { text: '', over: 'local-reset' })
})
