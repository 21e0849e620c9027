/**
 * An app that leaves as apps should: when it is told to end it goes on serving until everybody may have heard, then
 * ends its connections in peace. 8080 HTTP/1.1 · 8081 HTTP/2 · 9090 gRPC
 */
import http from 'node:http'
import http2 from 'node:http2'
import { hostname } from 'node:os'
import { Server, ServerCredentials, type ServiceDefinition } from '@grpc/grpc-js'

/** As a preStop hook would wait. */
const lingerMs = 4_000
/** Then nobody is waited for. */
const lastMs = 8_000

function answer(request: http.IncomingMessage, response: http.ServerResponse): void {
  let bytes = 0
  request.on('data', (part: Buffer) => (bytes += part.length))
  request.on('end', () => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ pod: hostname(), bytes }))
  })
}

/** With a certain answer to everything, on either version. */
const plain = http.createServer(answer)
plain.listen(8080, '::')

const sessions = new Set<http2.ServerHttp2Session>()
const multiplexed = http2.createServer()
multiplexed.on('session', (session) => {
  sessions.add(session)
  session.on('close', () => sessions.delete(session))
})
multiplexed.on('stream', (stream: http2.ServerHttp2Stream) => {
  stream.on('error', () => undefined)
  stream.resume().on('end', () => {
    stream.respond({ ':status': 200 })
    stream.end(hostname())
  })
})
multiplexed.listen(8081, '::')

const asIs = (bytes: Buffer) => bytes
const service: ServiceDefinition = {
  Echo: {
    path: '/e2e.Origin/Echo',
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  },
}
const grpc = new Server()
grpc.addService(service, {
  Echo: (call: { request: Buffer }, done: (error: null, answer: Buffer) => void) => done(null, call.request),
})
grpc.bindAsync('[::]:9090', ServerCredentials.createInsecure(), () => undefined)

process.on('SIGTERM', () => {
  setTimeout(() => {
    plain.close()
    plain.closeIdleConnections()
    multiplexed.close()
    for (const session of sessions) session.close()
    grpc.tryShutdown(() => process.exit(0))
  }, lingerMs)
  setTimeout(() => process.exit(0), lastMs)
})
