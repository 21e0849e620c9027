/**
 * The largest ring that a waypoint makes, and the largest table: Envoy's are of 8,388,608 and 5,000,011 places. They are made
 * again with every endpoint that comes or goes, and who makes them serves nobody meanwhile.
 */
export const maxRingSize = 1 << 18
/** The largest prime below that. */
export const maxTableSize = 262_139
