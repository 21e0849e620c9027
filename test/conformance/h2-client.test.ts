// RFC 9113 and RFC 7541 against our client, clause by clause, over TLS: a hostile server in front of one tunnel.
import t from 'tap'
import { judgeClient, runRows } from './h2-kit.ts'
import { clientFrames } from './h2-rows/client-frames.ts'
import { clientStreams } from './h2-rows/client-streams.ts'

t.jobs = 4
runRows(t, [...clientStreams, ...clientFrames], 57, judgeClient)
