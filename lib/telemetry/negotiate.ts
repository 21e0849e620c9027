/** What a client says it takes, best first for us when it likes several the same. */
export function preferred<T extends string>(header: string | undefined, offers: readonly T[]): T | undefined {
  const wanted = new Map((header ?? '').split(',').slice(0, maxListed).map(parseItem))
  const qualityOf = (offer: T) => wanted.get(offer) ?? wanted.get('*') ?? 0
  const best = Math.max(0, ...offers.map(qualityOf))
  return best === 0 ? undefined : offers.find((offer) => qualityOf(offer) === best)
}

/** Items of a header that are looked at; a browser lists about five. */
const maxListed = 32

function parseItem(item: string): readonly [name: string, quality: number] {
  const [name = '', ...parameters] = item.split(';').map((part) => part.trim().toLowerCase())
  const q = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2)
  const quality = q === undefined ? 1 : Number(q)
  return [name, quality >= 0 && quality <= 1 ? quality : 0]
}
