/** As `/version` and the metrics tell it. */
export const version = '0.1.0'
