import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { ownCertificate } from '../../test/harness/own-certificate.ts';
import { SlipwayServer } from '../../test/harness/slipway-server.ts';
import { freePort } from '../../test/services/service.ts';

const run = promisify(execFile);
const program = resolve(import.meta.dirname, 'slipway.ts');

/** The client, its worker and its build engine all have to trust a certificate that is only this server's own. */
test('up --tls-cert: a build by the real engine, with everything over TLS', async ({ onTestFinished }) => {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-up-tls-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o711);
  const tls = await ownCertificate(folder);
  const port = String(await freePort());
  const server = await SlipwayServer.start([
    ...['--port', port, '--hostname', `localhost:${port}`],
    ...['--tls-cert', tls.certificate, '--tls-key', tls.key],
  ]);
  onTestFinished(() => server.dispose());
  expect(server.url).toBe(`https://localhost:${port}`);

  const context = join(folder, 'context');
  await mkdir(context);
  await copyFile('/bin/busybox', join(context, 'busybox'));
  await writeFile(
    join(context, 'Dockerfile'),
    'FROM scratch\nCOPY busybox /busybox\nRUN ["/busybox", "echo", "over TLS"]\n',
  );
  const { stdout } = await run(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', program, 'build', context, '--repo', 'admin/tls'],
    { env: { ...process.env, NODE_EXTRA_CA_CERTS: tls.certificate, SLIPWAY_PROFILE: server.profileFile } },
  );
  expect(stdout).toContain('over TLS');
  // The last one it prints is the image's.
  const digest = [...stdout.matchAll(/sha256:[0-9a-f]{64}/g)].at(-1)?.[0];
  const { stdout: served } = await run('skopeo', [
    ...['inspect', '--format', '{{.Digest}}', '--cert-dir', await certificates(folder, tls.certificate)],
    ...['--creds', `$oauthtoken:${server.token}`, `docker://localhost:${port}/admin/tls:latest`],
  ]);
  expect(served.trim()).toBe(digest);
});

/** skopeo takes authorities from a folder, by the ending of their names. */
async function certificates(folder: string, certificate: string): Promise<string> {
  const own = join(folder, 'authorities');
  await mkdir(own);
  await copyFile(certificate, join(own, 'own.crt'));
  return own;
}

test('up with a certificate and no key is refused', async () => {
  await expect(
    run(process.execPath, [program, 'up', '--tls-cert', '/nonexistent', '--data', '/nonexistent']),
  ).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('--tls-key') });
});
