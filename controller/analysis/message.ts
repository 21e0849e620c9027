/** Istio's numbers of the messages that we have too. */
const codes = {
  ReferencedResourceNotFound: ['IST0101', 'Error'],
  SchemaValidationError: ['IST0106', 'Error'],
  MisplacedAnnotation: ['IST0107', 'Warning'],
  UnknownAnnotation: ['IST0108', 'Warning'],
  // Here they are merged, the oldest first; where it is an error nobody knows what they come to.
  ConflictingMeshGatewayVirtualServiceHosts: ['IST0109', 'Warning'],
  PortNameIsNotUnderNamingConvention: ['IST0118', 'Info'],
  NoMatchingWorkloadsFound: ['IST0127', 'Warning'],
  VirtualServiceUnreachableRule: ['IST0130', 'Warning'],
  VirtualServiceIneffectiveMatch: ['IST0131', 'Info'],
  SchemaWarning: ['IST0133', 'Warning'],
  IneffectivePolicy: ['IST0167', 'Warning'],
  NegativeConditionStatus: ['IST0171', 'Warning'],
  DestinationRuleSubsetsNotSelectPods: ['IST0173', 'Error'],
} as const satisfies Record<string, readonly [string, Level]>

/** How bad it is, in istioctl's words. */
export type Level = 'Error' | 'Warning' | 'Info'

/** Istio's name of a message, which has one code. */
export type MessageName = keyof typeof codes

/** Something about one object that does not come to what one may think. */
export type Message = Readonly<{
  code: string
  level: Level
  name: MessageName
  /** `Kind namespace/name`. */
  resource: string
  text: string
}>

export function message(name: MessageName, resource: string, text: string): Message {
  const [code, level] = codes[name]
  return { code, level, name, resource, text }
}
