/** The admin server, on loopback. */
export { type AdminParts, adminRoutes } from './routes.ts'
export { Profiler } from './profile/index.ts'
