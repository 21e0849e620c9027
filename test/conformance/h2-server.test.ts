// RFC 9113 and RFC 7541 against our server, clause by clause, over TLS. The list is that of h2spec, adapted to a server
// that serves CONNECT alone: other methods are well-formed requests that are answered with 400.
import t from 'tap'
import { judgeServer, runRows } from './h2-kit.ts'
import { hpackRows } from './h2-rows/hpack.ts'
import { serverFrames } from './h2-rows/server-frames.ts'
import { serverHttp } from './h2-rows/server-http.ts'
import { serverSettings } from './h2-rows/server-settings.ts'
import { serverStreams } from './h2-rows/server-streams.ts'

t.jobs = 4
runRows(
  t,
  [...serverStreams, ...serverFrames, ...serverSettings, ...serverHttp, ...hpackRows],
  147,
  judgeServer,
)
