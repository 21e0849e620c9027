import { openApiV3, openApiV3Index } from '../types/index.ts'
import type { Kinds } from '../rest/kinds.ts'

/** The OpenAPI documents, made once for each set of kinds. */
export type Documents = Readonly<{
  index: () => object
  /** Undefined for a group version that is not served. */
  groupVersion: (group: string, version: string) => string | undefined
}>

/** Documents of the kinds as they are when asked; kept as text until a CRD comes or goes. */
export function documents(kinds: Kinds): Documents {
  let revision = -1
  let index: object = {}
  const texts = new Map<string, string>()
  const refresh = () => {
    if (revision === kinds.revision) return
    revision = kinds.revision
    texts.clear()
    index = openApiV3Index(kinds.all())
  }
  return {
    index: () => {
      refresh()
      return index
    },
    groupVersion: (group, version) => {
      refresh()
      const key = `${group}/${version}`
      if (!kinds.all().some((kind) => kind.group === group && kind.version === version)) return undefined
      const text = texts.get(key) ?? JSON.stringify(openApiV3(group, version, kinds.all()))
      texts.set(key, text)
      return text
    },
  }
}
