/** What operators on the pod's loopback may ask. */
export { type AdminParts, adminRoutes } from './routes.ts'
