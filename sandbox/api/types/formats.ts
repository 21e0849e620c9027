import { isIP, isIPv4, isIPv6 } from 'node:net'

const DATE_TIME = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/
const DURATION =
  /^-?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w))*$/
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/
const QUANTITY = /^[+-]?(\d+(\.\d*)?|\.\d+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?\d+))?$/
const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i
const HOSTNAME = /^([a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?\.?$/i

/** Formats that the API server enforces; unknown ones are ignored, as Kubernetes does. */
const formats: Readonly<Record<string, (text: string) => boolean>> = {
  'date-time': (text) => DATE_TIME.test(text) && !Number.isNaN(Date.parse(text)),
  datetime: (text) => DATE_TIME.test(text) && !Number.isNaN(Date.parse(text)),
  date: (text) => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text)),
  duration: (text) => text === '0' || DURATION.test(text),
  byte: (text) => text.length % 4 === 0 && BASE64.test(text),
  quantity: isQuantity,
  uuid: (text) => UUID.test(text),
  uri: isUri,
  email: (text) => /^[^\s@]+@[^\s@]+$/.test(text),
  hostname: (text) => text.length <= 255 && HOSTNAME.test(text),
  ipv4: isIPv4,
  ipv6: isIPv6,
  ip: (text) => isIP(text) !== 0,
  cidr: isCidr,
  mac: (text) => /^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i.test(text),
}

/** Kubernetes' number with a unit: `250m`, `1Gi`, `1e3`. */
function isQuantity(text: string): boolean {
  return QUANTITY.test(text)
}

/** The name of the format that the text breaks. */
export function formatError(format: string | undefined, text: string): string | undefined {
  if (format === undefined || !Object.hasOwn(formats, format)) return undefined
  return formats[format]?.(text) === false ? format : undefined
}

function isUri(text: string): boolean {
  return URL.canParse(text) || (text.startsWith('/') && URL.canParse(text, 'http://localhost'))
}

function isCidr(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/')
  if (bits === undefined || rest.length > 0 || !/^\d{1,3}$/.test(bits)) return false
  return isIPv4(address) ? Number(bits) <= 32 : isIPv6(address) && Number(bits) <= 128
}
