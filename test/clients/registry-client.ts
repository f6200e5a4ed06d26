import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { ociLayout } from '../harness/oci-layout.ts';

const run = promisify(execFile);

/** A program that people use a registry with. Each has a folder of its own for logins and images; failures throw. */
export interface RegistryClient {
  login(host: string, username: string, secret: string): Promise<void>;
  logout(host: string): Promise<void>;
  /** Gets a whole image from the registry. */
  pull(image: string): Promise<void>;
  /** Puts a new image there. */
  push(image: string): Promise<void>;
}

export type ClientName = 'skopeo' | 'buildah' | 'podman';

export async function openClient(name: ClientName, parent: string): Promise<RegistryClient> {
  const folder = path.join(parent, name);
  await mkdir(folder, { recursive: true });
  const env = {
    ...process.env,
    HOME: folder,
    REGISTRY_AUTH_FILE: path.join(folder, 'auth.json'),
    XDG_RUNTIME_DIR: folder,
    TMPDIR: folder,
  };
  // Overlays leave a mount behind in a folder that is to go away.
  const storage = [
    '--storage-driver',
    'vfs',
    '--root',
    path.join(folder, 'root'),
    '--runroot',
    path.join(folder, 'run'),
  ];
  const before: Record<ClientName, readonly string[]> = {
    skopeo: ['--insecure-policy', '--tmpdir', folder],
    buildah: storage,
    podman: [...storage, '--cgroup-manager=cgroupfs', '--events-backend=none'],
  };
  const call = async (...args: string[]) =>
    await run(name, [...before[name], ...args], { env, timeout: 60_000 });
  const session = {
    login: async (host: string, username: string, secret: string) => {
      const asking = run(
        name,
        [...before[name], 'login', '--tls-verify=false', '-u', username, '--password-stdin', host],
        { env, timeout: 60_000 },
      );
      asking.child.stdin?.end(secret);
      await asking;
    },
    logout: async (host: string) => void (await call('logout', host)),
  };
  if (name === 'skopeo')
    return {
      ...session,
      pull: async (image) =>
        void (await call(
          'copy',
          '--src-tls-verify=false',
          `docker://${image}`,
          `dir:${path.join(folder, 'out')}`,
        )),
      push: async (image) =>
        void (await call(
          'copy',
          '--dest-tls-verify=false',
          `oci:${await ociLayout(folder)}`,
          `docker://${image}`,
        )),
    };
  return {
    ...session,
    pull: async (image) => {
      await call('pull', '--tls-verify=false', image);
      await call('rmi', '--force', image);
    },
    push: async (image) => {
      const { stdout } = await call('pull', `oci:${await ociLayout(folder)}`);
      const id = stdout.trim().split('\n').at(-1) ?? '';
      try {
        await call('push', '--tls-verify=false', id, `docker://${image}`);
      } finally {
        await call('rmi', '--force', id);
      }
    },
  };
}
