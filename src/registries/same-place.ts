const dockerHub = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

/** One text for all the ways to write where a registry is, so that two of them can be compared. */
export function placeOf({ host, insecure }: { readonly host: string; readonly insecure: boolean }): string {
  const usual = insecure ? ':80' : ':443';
  const written = host.toLowerCase();
  const short = written.endsWith(usual) ? written.slice(0, -usual.length) : written;
  const [, name = short, port = ''] = /^(.*?)\.?(:\d+)?$/.exec(short) ?? [];
  return dockerHub.has(name) && port === '' ? 'docker.io' : `${name}${port}`;
}
