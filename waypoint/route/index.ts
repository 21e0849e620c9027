/** What is said about the requests to a service's port. */
export { type Lookup, type PortPlan, Routes } from './routes.ts'
export { plainPlan } from './plain-plan.ts'
