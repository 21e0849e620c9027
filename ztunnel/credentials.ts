/** `XDS_HEADER_x=y` and `CA_HEADER_x=y` as metadata of the requests to each. */
export const headersOf = (
  env: Readonly<Record<string, string | undefined>>,
  prefix: 'XDS_HEADER_' | 'CA_HEADER_',
): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) =>
      name.startsWith(prefix) && name.length > prefix.length && value
        ? [[name.slice(prefix.length).toLowerCase(), value]]
        : [],
    ),
  )
