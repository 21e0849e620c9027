/** What routes are chosen by. The head of a request, and whoever sent it. */
export type RouteRequest = Readonly<{
  method: string
  scheme: string
  /** With the port that the client wrote, if any. */
  authority: string
  /** With the query. */
  path: string
  /** `joined`: all values of a name in lower case, joined by commas. */
  headers: Readonly<{ joined(name: string): string | undefined }>
  /** `websocket`, where that is asked for. */
  upgrade?: string | undefined
}>

/**
 * All values of a header, whose name is in lower case. What versions of HTTP have elsewhere reads as HTTP/1.1 writes it
 * (Envoy): whom a request is for, and what it wants to become.
 */
export function headerOf(
  { authority, upgrade, headers }: Pick<RouteRequest, 'authority' | 'upgrade' | 'headers'>,
  name: string,
): string | undefined {
  if (name === 'host' || name === ':authority') return authority
  return name === 'upgrade' ? upgrade : headers.joined(name)
}

/** The caller, as its certificate proves it and as the mesh knows it. What is not known matches nothing. */
export type Caller = Readonly<{
  namespace?: string | undefined
  principal?: string | undefined
  /** Of its pod; '' where it has none of that name. */
  label?: ((key: string) => string) | undefined
  /** Of the JWT that was verified. */
  claims?: Readonly<Record<string, unknown>> | undefined
}>

/** A request taken apart once, for all rules to look at. */
export type Question = Readonly<{
  request: RouteRequest
  caller: Caller
  /** Without query and fragment. */
  path: string
  /** Without `?`. */
  query: string
}>

export function questionOf(request: RouteRequest, caller: Caller): Question {
  const { path, query } = splitPath(request.path)
  return { request, caller, path, query }
}

/** Path and query; a fragment is nobody's business here. */
export function splitPath(target: string): Readonly<{ path: string; query: string }> {
  const hash = target.indexOf('#')
  const whole = hash < 0 ? target : target.slice(0, hash)
  const mark = whole.indexOf('?')
  return mark < 0 ? { path: whole, query: '' } : { path: whole.slice(0, mark), query: whole.slice(mark + 1) }
}

/** The first value of a parameter, as it is on the wire (Envoy does not decode it either); a bare key is empty. */
export function queryValue(query: string, name: string): string | undefined {
  for (let from = 0; from < query.length; ) {
    const amp = query.indexOf('&', from)
    const to = amp < 0 ? query.length : amp
    const equals = query.indexOf('=', from)
    const end = equals < 0 || equals > to ? to : equals
    if (end - from === name.length && query.startsWith(name, from))
      return query.slice(Math.min(end + 1, to), to)
    from = to + 1
  }
  return undefined
}
