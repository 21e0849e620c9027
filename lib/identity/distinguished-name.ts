import { readAll, readSequence, tags } from './der.ts'

/** UTF8String, PrintableString, T61String and IA5String: the kinds of text that names are written in. */
const texts = [0x0c, 0x13, 0x14, 0x16]

const written = (tag: number, value: Buffer) =>
  texts.includes(tag)
    ? JSON.stringify(value.toString('utf8').trim().replace(/\s+/g, ' ').toLowerCase())
    : `${tag}#${value.toString('hex')}`

/**
 * A DER name in the form in which two spellings of one name are equal (RFC 5280 §7.1: case, blanks and the kind of
 * string do not count); undefined when it is malformed.
 */
export function canonicalName(der: Buffer): string | undefined {
  const steps = readSequence(der)?.map((step) => {
    const attributes = readAll(step.value)?.map((attribute) => {
      const [id, value] = readSequence(attribute.raw) ?? []
      return id?.tag === tags.oid && value
        ? `${id.value.toString('hex')}=${written(value.tag, value.value)}`
        : undefined
    })
    return attributes?.includes(undefined) === false ? attributes.join('+') : undefined
  })
  return steps?.includes(undefined) === false ? steps.join(',') : undefined
}
