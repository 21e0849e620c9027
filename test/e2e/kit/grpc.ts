/** The service that the tests call: `Echo`, `EchoTwo`, `EchoThree` answer once, `Chat` answers each message. Messages are text. */
export const grpcMethods = { Echo: false, EchoTwo: false, EchoThree: false, Chat: true } as const

export const grpcMethod = (path: string, streams: boolean) => ({
  path,
  requestStream: streams,
  responseStream: streams,
  requestSerialize: toBytes,
  requestDeserialize: toText,
  responseSerialize: toBytes,
  responseDeserialize: toText,
})

export const toBytes = (text: string): Buffer => Buffer.from(text)
export const toText = (bytes: Buffer): string => bytes.toString()

export const plainHeaders = (
  map: Readonly<Record<string, unknown>> | readonly (readonly [string, unknown])[],
): Record<string, string> =>
  Object.fromEntries(
    (Array.isArray(map) ? (map as [string, unknown][]) : Object.entries(map)).map(([name, value]) => [
      name,
      String(value),
    ]),
  )
