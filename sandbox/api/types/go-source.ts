/**
 * Reads the Go type declarations of a Kubernetes API package as far as schemas need: structs with tags and markers,
 * string aliases with their constants. Used by generate.ts only, never at run time.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export type GoField = Readonly<{
  name: string
  type: string
  embedded: boolean
  tags: ReadonlyMap<string, string>
  doc: GoDoc
}>
type GoDoc = Readonly<{ text: string; markers: ReadonlyMap<string, readonly string[]> }>
export type GoType = Readonly<{
  name: string
  doc: GoDoc
  /** Of a struct; undefined for anything declared as another type. */
  fields?: readonly GoField[]
  underlying?: string
  constants: string[]
}>
export type GoPackage = Readonly<{
  path: string
  types: ReadonlyMap<string, GoType>
  imports: ReadonlyMap<string, string>
}>

/** Parses all type files of one Go package below the GOPATH-like `root`. */
export function readGoPackage(root: string, path: string): GoPackage {
  const types = new Map<string, GoType>()
  const imports = new Map<string, string>()
  const constants: [type: string, value: string][] = []
  const folder = join(root, path)
  for (const file of readdirSync(folder).toSorted()) {
    if (!file.endsWith('.go') || file.includes('generated') || file.endsWith('_test.go')) continue
    const source = readFileSync(join(folder, file), 'utf8')
    for (const [, alias, target] of source.matchAll(/^\s+(\w+) "([^"]+)"$/gm))
      imports.set(alias ?? '', target ?? '')
    for (const [, target] of source.matchAll(/^\s+"(k8s\.io[^"]+)"$/gm))
      imports.set(target?.split('/').at(-1) ?? '', target ?? '')
    for (const [, type, value] of source.matchAll(/^\s+\w+\s+(\w+)\s+= "([^"]*)"/gm))
      constants.push([type ?? '', value ?? ''])
    for (const [, type, value] of source.matchAll(/^const \w+ (\w+) = "([^"]*)"/gm))
      constants.push([type ?? '', value ?? ''])
    for (const [, type, value] of source.matchAll(/^\s+\w+\s+= (\w+)\("([^"]*)"\)/gm))
      constants.push([type ?? '', value ?? ''])
    readTypes(source.split('\n'), types)
  }
  for (const [type, value] of constants) types.get(type)?.constants.push(value)
  return { path, types, imports }
}

function readTypes(lines: readonly string[], types: Map<string, GoType>): void {
  let comment: string[] = []
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? ''
    if (line.startsWith('//')) {
      comment.push(line)
      continue
    }
    const struct = /^type (\w+) struct ?\{(\})?/.exec(line)
    const alias = /^type (\w+) =? ?([^\s{]+)$/.exec(line)
    if (struct?.[1]) {
      const end = struct[2] ? i : lines.indexOf('}', i)
      types.set(struct[1], {
        name: struct[1],
        doc: readDoc(comment),
        fields: readFields(lines.slice(i + 1, end)),
        constants: [],
      })
      i = Math.max(i, end)
    } else if (alias?.[1] && alias[2]) {
      types.set(alias[1], { name: alias[1], doc: readDoc(comment), underlying: alias[2], constants: [] })
    }
    // Markers may be separated from the type by one empty line.
    if (line !== '' || !comment.some((l) => l.includes('+'))) comment = []
  }
}

function readFields(lines: readonly string[]): GoField[] {
  const fields: GoField[] = []
  let comment: string[] = []
  for (const raw of lines) {
    const line = raw.trim()
    if (line.startsWith('//')) {
      comment.push(line)
      continue
    }
    const field = /^([\w.]+)(?:\s+([^\s`]+))?\s+`([^`]*)`/.exec(line)
    if (field?.[1]) {
      const tags = new Map<string, string>()
      for (const [, key, value] of (field[3] ?? '').matchAll(/(\w+):"([^"]*)"/g))
        tags.set(key ?? '', value ?? '')
      fields.push({
        name: field[1],
        type: field[2] ?? field[1],
        embedded: field[2] === undefined,
        tags,
        doc: readDoc(comment),
      })
    }
    if (line !== '') comment = []
  }
  return fields
}

/** Splits a comment into its first sentence and its markers. */
function readDoc(comment: readonly string[]): GoDoc {
  const markers = new Map<string, string[]>()
  const text: string[] = []
  let ended = false
  for (const raw of comment) {
    const line = raw.replace(/^\/\/ ?/, '').trim()
    const marker = /^\+([\w:]+)(?:=(.*))?$/.exec(line)
    if (marker?.[1]) markers.set(marker[1], [...(markers.get(marker[1]) ?? []), marker[2] ?? ''])
    else if (line === '---' || line === '') ended ||= text.length > 0
    else if (!ended && !line.startsWith('TODO') && !line.startsWith('+')) text.push(line)
  }
  return { text: firstSentence(text.join(' ')), markers }
}

function firstSentence(text: string): string {
  const end = /[.!?](?=\s+[A-Z"'`(])/.exec(text.replaceAll(/e\.g\.|i\.e\./g, 'e_g_'))
  return (end ? text.slice(0, end.index + 1) : text).slice(0, 300)
}
