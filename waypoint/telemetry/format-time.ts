const two = (n: number) => `${n}`.padStart(2, '0')
const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** Of strftime what access logs use, in UTC as a container has it. */
const specifiers: Readonly<Record<string, (time: Date) => string>> = {
  Y: (time) => `${time.getUTCFullYear()}`,
  y: (time) => two(time.getUTCFullYear() % 100),
  m: (time) => two(time.getUTCMonth() + 1),
  d: (time) => two(time.getUTCDate()),
  e: (time) => `${time.getUTCDate()}`.padStart(2, ' '),
  H: (time) => two(time.getUTCHours()),
  I: (time) => two(time.getUTCHours() % 12 || 12),
  M: (time) => two(time.getUTCMinutes()),
  S: (time) => two(time.getUTCSeconds()),
  p: (time) => (time.getUTCHours() < 12 ? 'AM' : 'PM'),
  a: (time) => days[time.getUTCDay()] ?? '',
  b: (time) => months[time.getUTCMonth()] ?? '',
  F: (time) => time.toISOString().slice(0, 10),
  T: (time) => time.toISOString().slice(11, 19),
  D: (time) => `${two(time.getUTCMonth() + 1)}/${two(time.getUTCDate())}/${two(time.getUTCFullYear() % 100)}`,
  s: (time) => `${Math.floor(time.getTime() / 1_000)}`,
  z: () => '+0000',
  Z: () => 'UTC',
  n: () => '\n',
  t: () => '\t',
}

let knownSecond = Number.NaN
let knownText = ''

/** As `toISOString`; all but the milliseconds is made once a second. */
function isoOf(time: Date): string {
  const now = time.getTime()
  const second = Math.floor(now / 1_000)
  if (second !== knownSecond) {
    knownText = time.toISOString().slice(0, -4)
    knownSecond = second
  }
  const ms = now - second * 1_000
  return `${knownText}${ms < 10 ? '00' : ms < 100 ? '0' : ''}${ms}Z`
}

/** Envoy's times: strftime's, `%3f` is milliseconds and `%6f` microseconds; `%s%3f` counts from 1970. ISO without a format. */
export function formatTime(time: Date, format: string): string {
  if (format === '') return isoOf(time)
  return format.replaceAll(
    /%(?:([1-9])?f|([A-Za-z])|(%))/g,
    (whole, digits: string | undefined, name?: string) => {
      if (name === undefined && whole.endsWith('f'))
        return `${time.getUTCMilliseconds()}`
          .padStart(3, '0')
          .padEnd(9, '0')
          .slice(0, Number(digits ?? 9))
      return name === undefined ? '%' : (specifiers[name]?.(time) ?? whole)
    },
  )
}
