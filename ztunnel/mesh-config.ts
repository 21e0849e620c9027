import { parse } from 'yaml'
import { z } from 'zod'

/** What ztunnel heeds of Istio's MeshConfig; the rest is the control plane's. */
const MeshConfig = z.object({
  outboundTrafficPolicy: z.object({ mode: z.enum(['ALLOW_ANY', 'REGISTRY_ONLY']).optional() }).nullish(),
})

/** The `mesh` of ConfigMap istio. A mode that we do not know is an error: it was meant to restrict something. */
export const meshConfig = z.string().transform((text, context) => {
  const parsed = MeshConfig.safeParse(read(text) ?? {})
  if (parsed.success) return { registryOnly: parsed.data.outboundTrafficPolicy?.mode === 'REGISTRY_ONLY' }
  const [issue] = parsed.error.issues
  context.addIssue(`MeshConfig ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unreadable'}`)
  return z.NEVER
})

function read(text: string): unknown {
  try {
    return parse(text)
  } catch {
    return 'not YAML'
  }
}
