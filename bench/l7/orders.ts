import type { WorkloadCertificate } from '#identity'

/** Ports of the application: what is spoken there tells them apart. */
export const httpPort = 8080
export const grpcPort = 9090

/** What the application's process is told. */
export type Orders = Readonly<{ address: string; certificate: WorkloadCertificate }>
