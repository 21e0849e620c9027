import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type sendUnaryData,
  type ServerUnaryCall,
} from '@grpc/grpc-js'
import { grpcMethod, grpcMethods, plainHeaders } from '../kit/grpc.ts'

type Who = Readonly<{ app: string; pod: string }>

/** 9090: says what it saw; `x-echo-grpc-status` asks for another status, `x-echo-delay-ms` for patience. */
export function serveGrpc(who: Who): void {
  const server = new Server()
  const echo = (path: string, headers: Metadata, message: string) =>
    JSON.stringify({
      ...who,
      method: 'GRPC',
      path,
      host: '',
      version: '2.0',
      headers: plainHeaders(headers.getMap()),
      from: '',
      message,
    })
  const trailers = () => {
    const told = new Metadata()
    told.set('x-echo-trailer', who.app)
    return told
  }
  const once = (call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) => {
    const code = Number(call.metadata.get('x-echo-grpc-status')[0] ?? 0)
    const delayMs = Number(call.metadata.get('x-echo-delay-ms')[0] ?? 0)
    setTimeout(() => {
      if (code === 0) done(null, echo(call.getPath(), call.metadata, call.request), trailers())
      else done({ code, details: `asked for ${code}`, metadata: trailers() })
    }, delayMs)
  }
  const chat = (call: ServerDuplexStream<string, string>) => {
    call.on('data', (message: string) => call.write(echo(call.getPath(), call.metadata, message)))
    call.on('end', () => call.end(trailers()))
    call.on('error', () => undefined)
  }
  server.addService(
    Object.fromEntries(
      Object.entries(grpcMethods).map(([name, streams]) => [name, grpcMethod(`/echo.Echo/${name}`, streams)]),
    ),
    Object.fromEntries(Object.entries(grpcMethods).map(([name, streams]) => [name, streams ? chat : once])),
  )
  server.bindAsync('[::]:9090', ServerCredentials.createInsecure(), (error) => {
    if (error) throw error
  })
}
