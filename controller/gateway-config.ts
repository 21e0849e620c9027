import { z } from 'zod'
import type { ClassOptions } from './gateways/index.ts'
import { flag } from './variables.ts'

const name = z.string().regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/)

/** Which GatewayClasses are looked after, and how; names and defaults are Istio's. */
export const gatewayVariables = {
  PILOT_GATEWAY_API_DEFAULT_GATEWAYCLASS_NAME: name.default('istio'),
  PILOT_GATEWAY_API_CONTROLLER_NAME: z
    .string()
    .regex(/^[a-z0-9.-]+\/[A-Za-z0-9/._~-]+$/)
    .default('istio.io/gateway-controller'),
  AMBIENT_ENABLE_MULTI_NETWORK: flag.default(false),
  PILOT_MULTI_NETWORK_DISCOVER_GATEWAY_API: flag.default(true),
  PILOT_ENABLE_GATEWAY_API_COPY_LABELS_ANNOTATIONS: flag.default(true),
}

const Variables = z.object(gatewayVariables)

export const classOptions = (e: z.infer<typeof Variables>): ClassOptions => ({
  ingressClass: e.PILOT_GATEWAY_API_DEFAULT_GATEWAYCLASS_NAME,
  ingressController: e.PILOT_GATEWAY_API_CONTROLLER_NAME,
  eastWest: e.AMBIENT_ENABLE_MULTI_NETWORK,
  remote: e.PILOT_MULTI_NETWORK_DISCOVER_GATEWAY_API,
})
