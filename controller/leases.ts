/** The Lease of each job of a leader, by Istio's names. What names no revision is everybody's: one Lease for all of them. */
export const leasesOf = (revision: string) => ({
  bundles: 'istio-namespace-controller-election',
  gateways: `istio-gateway-deployment-${revision}`,
  status: 'istio-status-leader',
  ownStatus: `istio-status-leader-${revision}`,
  routes: 'istio-gateway-status-leader',
  ownRoutes: `istio-gateway-status-leader-${revision}`,
  addresses: 'istio-ip-autoallocate',
  ownAddresses: `istio-ip-autoallocate-${revision}`,
})
