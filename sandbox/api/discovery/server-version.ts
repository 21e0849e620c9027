/** GET /version: the release of Kubernetes whose behaviour this server follows. */
export const serverVersion = {
  major: '1',
  minor: '34',
  gitVersion: 'v1.34.0-lateen',
  gitCommit: '',
  gitTreeState: 'clean',
  buildDate: '1970-01-01T00:00:00Z',
  goVersion: '',
  compiler: 'typescript',
  platform: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
}
