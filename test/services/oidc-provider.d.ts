/** As much of the package as the tests' provider uses; it brings no types of its own. */
declare module 'oidc-provider' {
  import type { Server } from 'node:http';

  // biome-ignore lint/style/noDefaultExport: it is the package's
  export default class Provider {
    constructor(issuer: string, configuration: Readonly<Record<string, unknown>>);
    listen(port: number, host: string, listening: () => void): Server;
  }
}
