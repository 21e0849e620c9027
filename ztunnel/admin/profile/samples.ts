import { z } from 'zod'
import type { Frame, Sample } from './pprof.ts'

const callFrame = z.object({ functionName: z.string(), url: z.string(), lineNumber: z.number() })

/** V8's answer to `Profiler.stop`. */
const cpuAnswer = z.object({
  profile: z.object({
    nodes: z.array(z.object({ id: z.number(), callFrame, children: z.array(z.number()).optional() })),
    samples: z.array(z.number()).default([]),
    timeDeltas: z.array(z.number()).default([]),
  }),
})

/** V8's answer to `HeapProfiler.getSamplingProfile`. */
type HeapNode = { callFrame: Frame; selfSize: number; children: HeapNode[] }
const heapNode: z.ZodType<HeapNode> = z.lazy(() =>
  z.object({ callFrame, selfSize: z.number(), children: z.array(heapNode) }),
)
const heapAnswer = z.object({ profile: z.object({ head: heapNode }) })

/** Not a function: the top of every stack, and a loop that waits. */
const isNothing = ({ functionName }: Frame) => functionName === '(root)' || functionName === '(idle)'

/** A CPU profile as samples with their number and their nanoseconds. */
export function cpuSamples(thread: string, answer: unknown): Sample[] {
  const { nodes, samples, timeDeltas } = cpuAnswer.parse(answer).profile
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const parents = new Map(
    nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)),
  )
  const totals = new Map<number, [count: number, nanoseconds: number]>()
  for (const [i, id] of samples.entries()) {
    const total = totals.get(id) ?? [0, 0]
    total[0]++
    total[1] += Math.max(timeDeltas[i] ?? 0, 0) * 1_000
    totals.set(id, total)
  }
  return [...totals].flatMap(([id, values]) => {
    const frames: Frame[] = []
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const frame = byId.get(at)?.callFrame
      if (frame && !isNothing(frame)) frames.push(frame)
    }
    return frames.length === 0 ? [] : [{ thread, frames, values }]
  })
}

/** A heap profile as samples with their bytes. */
export function heapSamples(thread: string, answer: unknown): Sample[] {
  const samples: Sample[] = []
  const walk = (node: HeapNode, outer: readonly Frame[]) => {
    const frames = isNothing(node.callFrame) ? outer : [node.callFrame, ...outer]
    if (node.selfSize > 0 && frames.length > 0) samples.push({ thread, frames, values: [node.selfSize] })
    for (const child of node.children) walk(child, frames)
  }
  walk(heapAnswer.parse(answer).profile.head, [])
  return samples
}
