// RFC 9113 and RFC 7541 against our server, clause by clause, over TLS. The list is that of h2spec, adapted to a server
// that serves CONNECT alone: other methods are well-formed requests that are answered with 400.
import t from 'tap'
import { errorCode } from '../../lib/hbone/frames.ts'
import { headers, hello, type } from '../lib/hbone/frames.ts'
import { dial, listen, never, serve } from '../lib/hbone/support.ts'
import { judgeServer, rawClient, runRows } from './h2-kit.ts'
import { hpackRows } from './h2-rows/hpack.ts'
import { serverFrames } from './h2-rows/server-frames.ts'
import { serverHttp } from './h2-rows/server-http.ts'
import { serverSettings } from './h2-rows/server-settings.ts'
import { serverStreams } from './h2-rows/server-streams.ts'
import { text } from './h2-rows/requests.ts'

t.jobs = 4
runRows(
  t,
  [...serverStreams, ...serverFrames, ...serverSettings, ...serverHttp, ...hpackRows],
  147,
  judgeServer,
)

t.test('9113 §8.5: a TCP reset of the target is a stream error', async (t) => {
  t.comment(
    'deviation: STREAM_CLOSED in place of CONNECT_ERROR, which Envoy would make a plain end (h2-error.ts)',
  )
  const target = await listen(t, (socket) => void socket.once('data', () => socket.resetAndDestroy()))
  const served = await serve(t, (tunnel) => {
    void dial(target).then((socket) => {
      tunnel.accept()
      return tunnel.forward(socket, never)
    })
  })
  const wire = await rawClient(t, served)
  wire.send([hello, headers(1), text(1, 'hi')])
  const { frames } = await wire.frames((all) => all.some((one) => one.type === type.rstStream))
  const reset = frames.find((one) => one.type === type.rstStream)
  t.strictSame([reset?.id, reset?.payload.readUInt32BE()], [1, errorCode.streamClosed])
})
