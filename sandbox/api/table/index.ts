import type { KubeObject } from '../rest/object.ts'
import { resourceOf } from '../rest/kinds.ts'
import type { KindType, PrinterColumn } from '../types/index.ts'
import { ageOf } from './age.ts'
import { type Column, plainPrinter, type Printer, printers } from './columns.ts'
import { jsonPath } from './json-path.ts'

/** A table as kubectl prints it. */
export type Rows = Readonly<{
  columns: readonly Column[]
  rows: readonly Readonly<Record<string, unknown>>[]
}>

/** What a row carries beside its cells. */
export type IncludeObject = 'None' | 'Metadata' | 'Object'

/** The columns that a kind is shown with. */
export function printerOf(kind: KindType): Printer {
  if (kind.custom) return customPrinter(kind.printerColumns ?? [])
  return printers[resourceOf(kind)] ?? plainPrinter
}

/** A table of some objects; `version` is meta.k8s.io's. */
export function tableOf(
  kind: KindType,
  objects: readonly KubeObject[],
  o: Readonly<{
    now: number
    include: IncludeObject
    metadata: Readonly<Record<string, unknown>>
    version: string
    columns?: boolean
  }>,
): Readonly<Record<string, unknown>> {
  const { columns, cells } = printerOf(kind)
  return {
    apiVersion: `meta.k8s.io/${o.version}`,
    kind: 'Table',
    metadata: o.metadata,
    columnDefinitions: o.columns === false ? [] : columns,
    rows: objects.map((object) => ({
      cells: cells(object, o.now),
      ...carried(object, o.include, o.version),
    })),
  }
}

function carried(
  object: KubeObject,
  include: IncludeObject,
  version: string,
): Readonly<Record<string, unknown>> {
  if (include === 'None') return {}
  return { object: include === 'Object' ? object : metadataOf(object, version) }
}

/** PartialObjectMetadata: an object without its content. */
export const metadataOf = (object: KubeObject, version: string): Readonly<Record<string, unknown>> => ({
  apiVersion: `meta.k8s.io/${version}`,
  kind: 'PartialObjectMetadata',
  metadata: object.metadata,
})

function customPrinter(given: readonly PrinterColumn[]): Printer {
  // Kubernetes adds the age when a CRD says nothing about columns.
  if (given.length === 0) return plainPrinter
  const columns = given.map(
    ({ name, type, format = '', description = '', priority = 0 }): Column => ({
      name,
      type,
      format,
      description,
      priority,
    }),
  )
  const [nameColumn] = plainPrinter.columns
  return {
    columns: nameColumn === undefined ? columns : [nameColumn, ...columns],
    cells: (object, now) => [object.metadata.name, ...given.map((column) => customCell(object, column, now))],
  }
}

function customCell(object: KubeObject, { jsonPath: path, type }: PrinterColumn, now: number): unknown {
  const found = jsonPath(object, path)
  const [first] = found
  if (first === undefined) return type === 'date' ? '<unknown>' : null
  switch (type) {
    case 'date':
      return ageOf(first, now)
    case 'integer':
    case 'number':
      return typeof first === 'number' ? first : null
    case 'boolean':
      return typeof first === 'boolean' ? first : null
    default:
      return found.length === 1 ? cellText(first) : found.map(cellText).join(',')
  }
}

const cellText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))
