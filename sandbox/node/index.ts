export { type NodeAgentOptions, startNodeAgent } from './agent.ts'
