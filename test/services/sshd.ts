import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { appendFile, chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { boundCommand, freePort, ServerProcess, serviceFolder, type TestService } from './service.ts';

const run = promisify(execFile);
const sshd = '/usr/sbin/sshd';

export type KeyType = 'ed25519' | 'rsa' | 'ecdsa';

export interface TestKey {
  readonly privateKey: string;
  /** One line, as in `authorized_keys`. */
  readonly publicKey: string;
  readonly file: string;
}

export interface TestSshd extends TestService {
  readonly port: number;
  /** Who logs in: this process's own account. */
  readonly user: string;
  /** Where bare repositories lie. */
  readonly repositories: string;
  /** The public key it shows, as `type base64`. */
  hostKey(): Promise<string>;
  /** A new key pair, which nobody lets in yet. `comment` tells keys apart. */
  makeKey(
    type: KeyType,
    options?: { readonly passphrase?: string; readonly pem?: boolean },
  ): Promise<TestKey>;
  /** Lets a key in. */
  authorize(key: TestKey): Promise<void>;
  /** Starts it again on the same port with a new host key. */
  changeHostKey(type: KeyType): Promise<void>;
  /** An empty bare repository; gives its folder. */
  makeRepository(name: string): Promise<string>;
  /** What `git-lfs-authenticate` answers; without it the command is unknown. */
  answerLfs(answer: unknown): Promise<void>;
  /** The commands that clients asked for. */
  commands(): Promise<string>;
  /** `ssh://user@HOST:port/path/of/name` */
  urlOf(host: string, name: string): string;
}

/**
 * An OpenSSH server on an ephemeral loopback port that serves git repositories and nothing else, with keys and settings of
 * its own in a folder that goes away. It runs as whoever runs the tests, and lets only that account in.
 */
export async function startSshd(hostKeyType: KeyType = 'ed25519'): Promise<TestSshd> {
  if (!existsSync(sshd)) throw new Error(`no ${sshd}; install it: apt-get install openssh-server`);
  // What Debian's unit file makes; a server that root starts does not begin without it.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const folder = await serviceFolder('sshd');
  const user = userInfo().username;
  const file = (name: string) => join(folder, name);
  const repositories = file('repositories');
  let server: ServerProcess | undefined;
  let keys = 0;
  const makeKey: TestSshd['makeKey'] = async (type, { passphrase = '', pem = false } = {}) => {
    const path = file(`key-${++keys}`);
    const bits = type === 'rsa' ? ['-b', '2048'] : [];
    await run('ssh-keygen', [
      '-q',
      '-t',
      type,
      ...bits,
      ...(pem ? ['-m', 'PEM'] : []),
      '-N',
      passphrase,
      '-C',
      `key-${keys}`,
      '-f',
      path,
    ]);
    const [privateKey, publicKey] = await Promise.all(
      [path, `${path}.pub`].map((each) => readFile(each, 'utf8')),
    );
    return { privateKey: privateKey ?? '', publicKey: (publicKey ?? '').trim(), file: path };
  };
  const makeHostKey = async (type: KeyType): Promise<void> => {
    await rm(file('host-key'), { force: true });
    await rm(file('host-key.pub'), { force: true });
    await run('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', 'host', '-f', file('host-key')]);
  };
  const launch = async (port: number): Promise<boolean> => {
    const settings = {
      Port: port,
      ListenAddress: '127.0.0.1',
      HostKey: file('host-key'),
      PidFile: 'none',
      AuthorizedKeysFile: file('authorized_keys'),
      // The folder lies in /tmp, which everybody may write.
      StrictModes: 'no',
      UsePAM: 'no',
      PermitRootLogin: 'prohibit-password',
      PasswordAuthentication: 'no',
      KbdInteractiveAuthentication: 'no',
      AllowUsers: user,
      X11Forwarding: 'no',
      PrintMotd: 'no',
      MaxStartups: '100:30:200',
      ForceCommand: file('serve'),
    };
    await writeFile(
      file('config'),
      Object.entries(settings)
        .map(([name, value]) => `${name} ${value}\n`)
        .join(''),
    );
    server = new ServerProcess(
      boundCommand(undefined, 'TERM', [sshd, '-D', '-e', '-f', file('config')]),
      folder,
    );
    return await server.ready(() => speaks(port));
  };
  try {
    await mkdir(repositories);
    await writeFile(file('authorized_keys'), '', { mode: 0o600 });
    await writeFile(file('commands'), '');
    await writeFile(
      file('serve'),
      `#!/bin/sh
printf '%s\\n' "$SSH_ORIGINAL_COMMAND" >> '${file('commands')}'
case "$SSH_ORIGINAL_COMMAND" in
  git-lfs-authenticate*) exec cat '${file('lfs-answer')}' ;;
  git-upload-pack*|git-receive-pack*) HOME='${folder}' GIT_CONFIG_NOSYSTEM=1 exec git-shell -c "$SSH_ORIGINAL_COMMAND" ;;
  *) echo 'only git' >&2; exit 1 ;;
esac
`,
    );
    await chmod(file('serve'), 0o755);
    await makeHostKey(hostKeyType);
    for (let attempt = 1; ; attempt += 1) {
      const port = await freePort();
      if (await launch(port)) {
        return {
          url: `ssh://${user}@127.0.0.1:${port}`,
          port,
          user,
          repositories,
          makeKey,
          hostKey: async () =>
            (await readFile(file('host-key.pub'), 'utf8')).trim().split(' ').slice(0, 2).join(' '),
          authorize: async ({ publicKey }) => await appendFile(file('authorized_keys'), `${publicKey}\n`),
          changeHostKey: async (type) => {
            await server?.stop('SIGTERM');
            await makeHostKey(type);
            if (!(await launch(port))) throw new Error(`sshd did not start again: ${server?.output}`);
          },
          makeRepository: async (name) => {
            const path = join(repositories, name);
            execFileSync('git', ['init', '-q', '--bare', '-b', 'main', path]);
            return path;
          },
          answerLfs: async (answer) => await writeFile(file('lfs-answer'), JSON.stringify(answer)),
          commands: async () => await readFile(file('commands'), 'utf8'),
          urlOf: (host, name) => `ssh://${user}@${host}:${port}${repositories}/${name}`,
          [Symbol.asyncDispose]: async () => {
            await server?.stop('SIGTERM');
            await rm(folder, { recursive: true, force: true });
          },
        };
      }
      if (attempt === 5) throw new Error(`sshd did not start: ${server?.output}`);
    }
  } catch (thrown) {
    await server?.stop('SIGTERM');
    await rm(folder, { recursive: true, force: true });
    throw thrown;
  }
}

/** Whether what listens there is an SSH server. */
async function speaks(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    return await new Promise<boolean>((resolve) => {
      socket.once('data', (bytes) => resolve(bytes.toString('latin1').startsWith('SSH-2.0-')));
      socket.once('error', () => resolve(false));
      socket.setTimeout(1000, () => resolve(false));
    });
  } finally {
    socket.destroy();
  }
}
