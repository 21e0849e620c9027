/** No object of Istio's is a tenth as deep. */
const maxDepth = 512
const [quote, backslash, openObject, openList, closeObject, closeList] = Buffer.from('"\\{[}]')

/** Is JSON nested so deeply that reading it takes far longer than its length would say? */
export function isTooDeep(json: Uint8Array): boolean {
  let depth = 0
  let isText = false
  for (let i = 0; i < json.length; i++) {
    const byte = json[i]
    if (isText) {
      if (byte === backslash) i++
      else if (byte === quote) isText = false
    } else if (byte === quote) isText = true
    else if (byte === openObject || byte === openList) {
      if (++depth > maxDepth) return true
    } else if (byte === closeObject || byte === closeList) depth--
  }
  return false
}
