import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { boundCommand, freePort, ServerProcess, serviceFolder, type TestService } from './service.ts';

/** A docker-registry of its own on the loopback, with no authentication. `port` is for one that comes back. */
export async function startRegistry({
  port,
}: {
  port?: number;
} = {}): Promise<TestService & { host: string }> {
  const folder = await serviceFolder('registry');
  await mkdir(join(folder, 'storage'));
  for (let tries = 1; ; tries += 1) {
    const host = `127.0.0.1:${port ?? (await freePort())}`;
    const config = {
      version: '0.1',
      log: { level: 'warn', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(folder, 'storage') } },
      http: { addr: host },
    };
    await writeFile(join(folder, 'config.json'), JSON.stringify(config));
    const command = ['docker-registry', 'serve', join(folder, 'config.json')];
    const server = new ServerProcess(boundCommand(undefined, 'TERM', command), folder);
    const answers = async () => (await fetch(`http://${host}/v2/`).catch(() => undefined))?.ok === true;
    if (await server.ready(answers)) {
      return {
        url: `http://${host}`,
        host,
        [Symbol.asyncDispose]: async () => {
          await server.stop('SIGTERM');
          await rm(folder, { recursive: true, force: true });
        },
      };
    }
    if (tries === 5) throw new Error(`docker-registry does not start: ${server.output}`);
  }
}
