import t from 'tap'
import { sniff, type Sniffed } from '#http'

const rows: readonly (readonly [bytes: string, as: Sniffed])[] = [
  ['', 'more'],
  ['G', 'more'],
  ['GET', 'more'],
  ['GET ', 'http1'],
  ['GET / HTTP/1.1\r\n', 'http1'],
  ['GETX / HTTP/1.1\r\n', 'http1'],
  ['GETX / HTTP/1.1', 'other'],
  ['get / HTTP/1.1\r\n', 'http1'],
  ['get /key\r\n', 'other'],
  ['set key 0 0 5\r\nhello', 'other'],
  ['GET\t/\tHTTP/1.1\r\n', 'http1'],
  ['QUERY http://a/b HTTP/1.1\nhost: a\n\n', 'http1'],
  ['USER anna\r\n', 'other'],
  ['hello', 'other'],
  ['PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\n', 'other'],
  ['EHLO a\r\nX HTTP/1.1\r\n', 'other'],
  ['\n\nGET / HTTP/1.0\n', 'http1'],
  ['\r\n', 'other'],
  ['{"a": "GET / HTTP/1.1\r\n"}', 'other'],
  ['PROPFIND / HTTP/1.1\r\n', 'http1'],
  ['P', 'more'],
  ['PR', 'more'],
  ['PRI * HTTP/2.0\r\n', 'more'],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'http2'],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04', 'http2'],
  ['PRI * HTTP/1.1\r\n\r\n', 'http1'],
  ['\x16', 'more'],
  ['\x16\x03\x01\x02\0', 'tls'],
  ['\x16\x02', 'other'],
  ['SSH-2.0-OpenSSH_9.6\r\n', 'other'],
  ['\0\0\0\x2b', 'other'],
  ['*1\r\n$4\r\nPING\r\n', 'other'],
  ['\r\nGET / HTTP/1.1\r\n', 'http1'],
]

t.test('the first bytes of a client say what it speaks', (t) => {
  for (const [bytes, as] of rows) t.equal(sniff(Buffer.from(bytes, 'latin1')), as, JSON.stringify(bytes))
  t.end()
})

t.test('more bytes never change what was decided', (t) => {
  for (const [text, as] of rows) {
    const bytes = Buffer.from(text, 'latin1')
    for (let n = 0; n < bytes.length; n++) {
      const found = sniff(bytes.subarray(0, n))
      if (found !== 'more' && found !== 'other')
        t.equal(found, as, `${JSON.stringify(text)} after ${n} bytes`)
    }
  }
  t.end()
})

t.test('no line takes long to be looked at', (t) => {
  const lines = ['A', '\n', '\r\n', 'A '].flatMap((start) =>
    [' ', '\t', 'A', '\n', ' HTTP/1.1', ' HTTP/1 '].map((part) => Buffer.from(start + part.repeat(8_192))),
  )
  const { user } = process.cpuUsage()
  for (let n = 0; n < 20; n++) for (const line of lines) sniff(line)
  // Where it is quadratic they take more than two seconds.
  const tookMs = (process.cpuUsage().user - user) / 1_000
  t.ok(tookMs < 1_000, `${tookMs} ms`)
  t.end()
})
